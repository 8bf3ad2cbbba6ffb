/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint a request is for. Pure. */
#ifndef TT_FCGI_ROUTE_H
#define TT_FCGI_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

enum endpoint {
	ENDPOINT_ROOT,
	ENDPOINT_STATUS,
	ENDPOINT_TEST_LLM,
	ENDPOINT_POLL_REQUESTS,
	ENDPOINT_REFRESH,
	ENDPOINT_SELECT_MODEL,
	ENDPOINT_REFRESH_CONFIG,
	ENDPOINTS
};

struct route_request {
	const char *method;      /* NULL counts as GET */
	const char *uri;         /* REQUEST_URI: raw, with a query; NULL: the next two together */
	const char *script_name; /* decoded by the web server; NULL or "": none */
	const char *path_info;   /* likewise; sent but empty: SCRIPT_NAME may be all of the path */
	const char *prefix;      /* TT_AGENT_PREFIX, like one more of http.prefixes; NULL: none */
	bool admin;              /* the web server says that the client may */
};

struct route {
	int status;             /* 200: go on; else the answer */
	enum endpoint endpoint; /* where 200, 403 or 405 */
	const char *allow;      /* where 405: the methods that it takes */
	bool head;              /* the method is HEAD */
};

/* prefixes are tried where SCRIPT_NAME is no leading part of the path. */
struct route route_find(const struct route_request *r, char *const *prefixes, size_t prefix_count);

/* "/status" */
const char *route_path(enum endpoint e);

#define ROUTE_PATH_MAX 1024
/* Decodes and normalises a path once: "//a/./b/../c%20d?q" -> "/a/c d"; a trailing slash
 * stays. -1: a bad escape, an encoded slash or NUL, more ".." than folders, too long. */
int route_normalise(const char *raw, bool encoded, char out[ROUTE_PATH_MAX]);

#endif
