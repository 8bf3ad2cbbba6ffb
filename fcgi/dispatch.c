/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/dispatch.h"

#include "core/base/clock.h"
#include "core/base/network.h"
#include "core/protocol/studio_request.h"
#include "fcgi/api.h"
#include "fcgi/endpoint.h"
#include "fcgi/gate.h"
#include "fcgi/request_log.h"
#include "fcgi/response.h"
#include "fcgi/route.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define DEFAULT_PREFIX "/agent"

#define NOT_ADMIN                                                                                                      \
	"This client may not use %s. The web server decides: it must pass the FastCGI parameter "                      \
	"TT_AGENT_ADMIN=1 for clients that may (see the geo block in tt-agent-upstream.conf of the "                   \
	"nginx files, or tt-agent-fastcgi.conf of the lighttpd files)."

#define NOT_MONITOR                                                                                                    \
	"This client may not use %s. The web server decides: it must pass the FastCGI parameter "                      \
	"TT_AGENT_ADMIN=metrics for clients that may read metrics, or TT_AGENT_ADMIN=1 for admins (see "               \
	"tt-agent-upstream.conf of the nginx files, or tt-agent-fastcgi.conf of the others)."

#define UNTRUSTED                                                                                                         \
	"This client may not use this endpoint: the request came over TCP from an address that is not the web server's. " \
	"List the web server's address in the setting fcgi.trusted."

#define FORWARDED                                                                                                          \
	"This client may not use this endpoint: its X-Forwarded-For header contains something that is not an address, so " \
	"nobody can tell whose request it is."

#define FOREIGN                                                                                                               \
	"A web page of another site may not use this endpoint. If the page belongs to this service, and a proxy changes the " \
	"Host header, list the page's origin in the setting http.origins."

#define GET_ACTS "A browser may use this endpoint only with POST, because any web page can make it send GET."

#define NOT_SERVED "This service is not served under the name that was requested (setting http.hosts)."

/* --- request ids --------------------------------------------------------------------------- */

void dispatch_ids_init(struct dispatch_ids *ids)
{
	*ids = (struct dispatch_ids){.random = 0};
	if (getrandom(&ids->random, sizeof ids->random, 0) != sizeof ids->random)
		ids->random = (uint64_t)clock_wall_ms() << 20 ^ (uint64_t)getpid();
}

static bool is_acceptable(const char *id)
{
	size_t len = 0;

	while (isalnum((unsigned char)id[len]) || (id[len] != '\0' && strchr("-_.:~+/=@", id[len]) != NULL))
		len++;
	return len > 0 && len <= CONNECTION_ID_MAX && id[len] == '\0';
}

static char *put_hex(char *to, uint64_t n)
{
	for (int shift = 60; shift >= 0; shift -= 4)
		*to++ = "0123456789abcdef"[n >> shift & 15];
	return to;
}

void dispatch_choose_id(struct dispatch_ids *ids, const char *from_client, char out[CONNECTION_ID_MAX + 1])
{
	if (from_client != NULL && is_acceptable(from_client)) {
		memcpy(out, from_client, strlen(from_client) + 1);
		return;
	}
	*put_hex(put_hex(out, ids->random), ++ids->count) = '\0';
}

/* --- requests ------------------------------------------------------------------------------ */

static const struct cfg_list *list_of(const struct config *config, enum cfg_key key)
{
	static const struct cfg_list none;

	return config != NULL ? cfg_list(config, key) : &none;
}

static struct route find_route(const struct config *config, const struct fcgi_request_params *p)
{
	char default_prefix[] = DEFAULT_PREFIX;
	char *const defaults[] = {default_prefix};
	const struct cfg_list *prefixes = list_of(config, CFG_HTTP_PREFIXES);
	const struct route_request r = {
		.method = p->method,
		.uri = p->request_uri,
		.script_name = p->script_name,
		.path_info = p->path_info,
		.prefix = p->prefix,
		.admin = p->admin != NULL && strcmp(p->admin, "1") == 0,
		.monitor = p->admin != NULL && strcmp(p->admin, "metrics") == 0,
	};

	return config != NULL ? route_find(&r, prefixes->items, prefixes->count) : route_find(&r, defaults, 1);
}

static const struct api_form *form_of(const struct endpoint *e)
{
	return e->form != NULL ? e->form : &api_openai;
}

/* In the form of the endpoint; NULL: nobody knows which. */
static void refuse_with(struct connection *c, const struct endpoint *e, int status, const char *headers,
                        const char *text)
{
	if (e != NULL && e->is_api)
		form_of(e)->refuse(c, status, headers, text);
	else
		response_detail(c, status, headers, text);
}

static void refuse(struct connection *c, const struct route *route)
{
	char text[400];

	switch (route->status) {
	case 400:
		response_detail(c, 400, "", "Bad Request");
		break;
	case 403:
		snprintf(text, sizeof text, route->endpoint->right == ENDPOINT_ADMIN ? NOT_ADMIN : NOT_MONITOR,
		         route->endpoint->path);
		response_detail(c, 403, "", text);
		break;
	case 405:
		snprintf(text, sizeof text, "Allow: %s\r\n", route->endpoint->methods);
		refuse_with(c, route->endpoint, 405, text, "Method Not Allowed");
		break;
	default:
		response_detail(c, 404, "", "Not Found");
	}
}

/* Whether what the peer says of the client's rights and user counts: over TCP anybody may be the peer. */
static bool is_trusted(const struct config *config, const struct connection *c)
{
	const struct cfg_list *trusted = list_of(config, CFG_FCGI_TRUSTED);
	char peer[INET6_ADDRSTRLEN];
	struct network n;

	connection_peer(c, peer);
	for (size_t i = 0; peer[0] != '\0' && i < trusted->count; i++)
		if (network_parse(trusted->items[i], &n) && network_contains(&n, peer))
			return true;
	return peer[0] == '\0';
}

/* Every line of it: a web server may pass on several. */
static bool is_forwarded_properly(const struct connection *c)
{
	static const char name[] = "X-Forwarded-For";
	const char *value = NULL;

	while ((value = connection_next_header(c, name, value)) != NULL)
		if (!gate_is_forwarded_for(value))
			return false;
	return true;
}

/* A browser sends no key for a page, which then requests everything with one. */
static bool is_protected(const struct route *route)
{
	return (route->status == 200 || route->status == 403) && route->endpoint->right != ENDPOINT_OPEN &&
	       route->endpoint->right != ENDPOINT_PAGE;
}

/* By its key, whatever the web server says. */
static bool has_admin_key(const struct connection *c)
{
	const struct access_identity *i = connection_identity(c);

	return i != NULL && i->admin;
}

bool dispatch_is_admin(const struct connection *c)
{
	const char *admin = connection_params(c)->admin;

	return has_admin_key(c) ||
	       (admin != NULL && strcmp(admin, "1") == 0 && connection_is_trusted(c) && is_forwarded_properly(c));
}

static struct gate_page page_of(const struct connection *c)
{
	const struct fcgi_request_params *p = connection_params(c);

	return (struct gate_page){.host = p->host,
	                          .origin = p->origin,
	                          .fetch_site = p->fetch_site,
	                          .referer = p->referer,
	                          .user_agent = p->user_agent};
}

/* Whether a page of another site had it sent, which may not. */
static bool is_foreign(const struct config *config, const struct connection *c, const struct endpoint *e)
{
	const struct cfg_list *origins = list_of(config, CFG_HTTP_ORIGINS);
	const struct gate_page page = page_of(c);

	if (!gate_is_foreign(&page, origins->items, origins->count))
		return false;
	if (e->is_api)
		return !api_admits_origin(config, c);
	return e->right != ENDPOINT_PAGE ||
	       !gate_is_link(&page, connection_header(c, "Sec-Fetch-Mode"), connection_header(c, "Sec-Fetch-Dest"));
}

/* The sentence that refuses the client what the endpoint does; NULL: it may. */
static const char *missing_right(const struct config *config, struct connection *c, const struct endpoint *e)
{
	const struct fcgi_request_params *p = connection_params(c);
	const struct gate_page page = page_of(c);

	if (e->right == ENDPOINT_OPEN)
		return NULL;
	if (is_foreign(config, c, e))
		return FOREIGN;
	if (e->get_acts && (p->method == NULL || strcmp(p->method, "POST") != 0) && gate_is_browser(&page))
		return GET_ACTS;
	if (e->right != ENDPOINT_ADMIN && e->right != ENDPOINT_MONITOR)
		return NULL;
	if (has_admin_key(c))
		return NULL;
	return !connection_is_trusted(c) ? UNTRUSTED : !is_forwarded_properly(c) ? FORWARDED : NULL;
}

/* Refuses a body that is not JSON, which pages of other sites can have sent without being asked first.
 * curl -d '' sends the type of a form without a body, and programs none at all. */
static bool refuse_body(struct connection *c, const struct endpoint *e)
{
	const struct fcgi_request_params *p = connection_params(c);
	bool typed = p->content_type != NULL && p->content_type[0] != '\0';
	json_t *detail;
	size_t len;
	const char *body = connection_body(c, &len);

	if (len == 0 || (typed ? gate_is_json(p->content_type) : p->origin == NULL && p->fetch_site == NULL))
		return false;
	if (e->is_api) {
		form_of(e)->refuse(c, 400, "", "The Content-Type of a request must be application/json");
		return true;
	}
	studio_request_not_json(body, len, &detail);
	response_value(c, 422, detail);
	return true;
}

/* Whom the web server has authenticated; NULL: nobody. */
static const char *user_of(const struct config *config, const struct connection *c)
{
	const char *header = config == NULL ? NULL : cfg_str(config, CFG_HTTP_SUBJECT_HEADER);

	return !connection_is_trusted(c) ? NULL
	       : header != NULL          ? connection_header(c, header)
	                                 : connection_params(c)->remote_user;
}

/* Finds out who sent the request; false: it was refused. */
static bool identify(struct worker *w, const struct config *config, struct connection *c, const struct endpoint *e)
{
	struct access_credentials credentials = {
		.user = user_of(config, c), .address = connection_params(c)->remote_addr, .is_api = e->is_api};
	struct access_identity *identity;
	char headers[ACCESS_HEADERS_MAX + 600];
	struct access_refusal r;

	if (access_is_required(worker_access(w), credentials.is_api)) {
		credentials.authorization = connection_header(c, "Authorization");
		credentials.api_key = connection_header(c, "X-Api-Key");
		if (credentials.api_key == NULL)
			credentials.api_key = connection_header(c, "Api-Key");
	}
	identity = access_identify(worker_access(w), &credentials, &r);
	connection_set_identity(c, identity);
	if (identity != NULL)
		return true;
	if (e->is_api && e->form == NULL) {
		api_refuse_access(c, &r);
		return false;
	}
	access_refusal_headers(&r, headers);
	if (r.status == 401 && e->form != NULL && e->form->challenge != NULL)
		e->form->challenge(config, headers, sizeof headers);
	refuse_with(c, e, r.status, headers, r.message);
	return false;
}

/* What comes first at an endpoint of the API, also for the preflights of browsers, which have no key. False: it
 * was answered. */
static bool enter_api(struct worker *w, const struct config *config, struct connection *c, const struct route *route)
{
	if (!is_protected(route) || !route->endpoint->is_api)
		return true;
	if (!is_foreign(config, c, route->endpoint))
		return api_enter(w, c, form_of(route->endpoint));
	form_of(route->endpoint)->refuse(c, 403, "", FOREIGN);
	return false;
}

void dispatch_request(struct worker *w, struct connection *c)
{
	const struct config *config = published_config(worker_published(w));
	const struct fcgi_request_params *p = connection_params(c);
	const struct cfg_list *hosts = list_of(config, CFG_HTTP_HOSTS);
	struct route route = find_route(config, p);
	const char *missing;

	counters_add(worker_counters(w), COUNTER_REQUESTS, 1);
	connection_set_endpoint(c, counters_member(worker_counters(w), LABEL_ENDPOINT,
	                                           route.endpoint != NULL ? route.endpoint->path : "other"));
	dispatch_choose_id(worker_ids(w), p->request_id, connection_request_id(c));
	if (config != NULL && cfg_bool(config, CFG_LOG_REQUESTS))
		connection_set_log(c, request_log_new(p));
	if (!is_trusted(config, c))
		connection_distrust(c);
	connection_set_rest(c, route.rest);
	if (p->ambiguous) {
		refuse_with(c, route.endpoint, 400, "", "A header occurs twice, with different values");
	} else if (hosts->count > 0 && !gate_serves(p->host, hosts->items, hosts->count)) {
		refuse_with(c, route.endpoint, 421, "", NOT_SERVED);
	} else if (!enter_api(w, config, c, &route)) {
		return;
	} else if (is_protected(&route) && !identify(w, config, c, route.endpoint)) {
		return;
	} else if (route.status != 200 && !(route.status == 403 && has_admin_key(c))) {
		refuse(c, &route);
	} else if ((missing = missing_right(config, c, route.endpoint)) != NULL) {
		refuse_with(c, route.endpoint, 403, "", missing);
	} else if (!refuse_body(c, route.endpoint)) {
		route.endpoint->answer(w, c);
	}
}
