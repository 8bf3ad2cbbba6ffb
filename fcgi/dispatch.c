/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/dispatch.h"

#include "fcgi/response.h"
#include "fcgi/route.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_PREFIX "/agent"

static endpoint_fn *const endpoints[ENDPOINTS] = {
	[ENDPOINT_ROOT] = serve_root,
	[ENDPOINT_STATUS] = serve_status,
	[ENDPOINT_TEST_LLM] = serve_test_llm,
	[ENDPOINT_POLL_REQUESTS] = serve_poll_requests,
	[ENDPOINT_REFRESH] = serve_refresh,
	[ENDPOINT_SELECT_MODEL] = serve_select_model,
	[ENDPOINT_REFRESH_CONFIG] = serve_refresh_config,
};

#define NOT_ADMIN                                                                                                      \
	"This client may not use %s. The web server decides: it must pass the FastCGI parameter "                      \
	"TT_AGENT_ADMIN=1 for clients that may (see the geo block in tt-agent-upstream.conf of the "                   \
	"nginx files, or tt-agent-fastcgi.conf of the lighttpd files)."

static struct route find(struct worker *w, const struct request_params *p)
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
		snprintf(text, sizeof text, NOT_ADMIN, route_path(route->endpoint));
		response_detail(c, 403, "", text);
		break;
	case 405:
		snprintf(text, sizeof text, "Allow: %s\r\n", route->allow);
		response_detail(c, 405, text, "Method Not Allowed");
		break;
	default:
		response_detail(c, 404, "", "Not Found");
	}
}

void dispatch_request(struct worker *w, struct connection *c)
{
	const struct request_params *p = connection_params(c);
	struct route route = find(w, p);

	counters_add(worker_counters(w), COUNTER_REQUESTS, 1);
	request_id_choose(worker_request_ids(w), p->request_id, connection_request_id(c));
	if (route.status != 200)
		refuse(c, &route);
	else
		endpoints[route.endpoint](w, c, route.head);
}
