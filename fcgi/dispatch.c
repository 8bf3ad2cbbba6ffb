/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/dispatch.h"

#include "core/base/clock.h"
#include "fcgi/endpoint.h"
#include "fcgi/response.h"
#include "fcgi/route.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define DEFAULT_PREFIX "/agent"

#define NOT_ADMIN                                                                                                      \
	"This client may not use %s. The web server decides: it must pass the FastCGI parameter "                      \
	"TT_AGENT_ADMIN=1 for clients that may (see the geo block in tt-agent-upstream.conf of the "                   \
	"nginx files, or tt-agent-fastcgi.conf of the lighttpd files)."

/* --- request ids --------------------------------------------------------------------------- */

void dispatch_ids_init(struct dispatch_ids *ids)
{
	*ids = (struct dispatch_ids){.random = 0};
	if (getrandom(&ids->random, sizeof ids->random, 0) != sizeof ids->random)
		ids->random = (uint64_t)clock_wall_ms() << 20 ^ (uint64_t)getpid();
}

static bool is_acceptable(const char *id)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:~+/=@";
	size_t len = strspn(id, allowed);

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

static struct route find_route(struct worker *w, const struct fcgi_request_params *p)
{
	char default_prefix[] = DEFAULT_PREFIX;
	char *const defaults[] = {default_prefix};
	const struct config *config = published_config(worker_published(w));
	const struct cfg_list *prefixes = config == NULL ? NULL : cfg_list(config, CFG_HTTP_PREFIXES);
	const struct route_request r = {
		.method = p->method,
		.uri = p->request_uri,
		.script_name = p->script_name,
		.path_info = p->path_info,
		.prefix = p->prefix,
		.admin = p->admin != NULL && strcmp(p->admin, "1") == 0,
	};

	return prefixes != NULL ? route_find(&r, prefixes->items, prefixes->count) : route_find(&r, defaults, 1);
}

static void refuse(struct connection *c, const struct route *route)
{
	char text[400];

	switch (route->status) {
	case 400:
		response_detail(c, 400, "", "Bad Request");
		break;
	case 403:
		snprintf(text, sizeof text, NOT_ADMIN, route->endpoint->path);
		response_detail(c, 403, "", text);
		break;
	case 405:
		snprintf(text, sizeof text, "Allow: %s\r\n", route->endpoint->methods);
		response_detail(c, 405, text, "Method Not Allowed");
		break;
	default:
		response_detail(c, 404, "", "Not Found");
	}
}

void dispatch_request(struct worker *w, struct connection *c)
{
	const struct fcgi_request_params *p = connection_params(c);
	struct route route = find_route(w, p);

	counters_add(worker_counters(w), COUNTER_REQUESTS, 1);
	dispatch_choose_id(worker_ids(w), p->request_id, connection_request_id(c));
	if (route.status != 200)
		refuse(c, &route);
	else
		route.endpoint->answer(w, c);
}
