/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoint a request is for, and the parameters in its query. Pure. */
#ifndef TT_FCGI_ROUTE_H
#define TT_FCGI_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

struct endpoint;

struct route_request {
	const char *method;      /* NULL: GET */
	const char *uri;         /* REQUEST_URI: raw, with a query; NULL: the next two together */
	const char *script_name; /* decoded by the web server; NULL or "": none */
	const char *path_info;   /* likewise; sent but empty: SCRIPT_NAME may be the whole path */
	const char *prefix;      /* TT_AGENT_PREFIX, in addition to http.prefixes; NULL: none */
	bool admin;              /* the web server grants admin rights to the client */
	bool monitor;            /* it lets the client read metrics */
};

struct route {
	int status;                      /* 200: the endpoint may answer; else the status of the refusal */
	const struct endpoint *endpoint; /* if 200, 403 or 405 */
	char *rest;                      /* of the path below an endpoint that takes it, without the slash; free() */
};

/* prefixes are tried if SCRIPT_NAME is not a leading part of the path. Slashes may be encoded in what an endpoint
 * takes of the path, nowhere else. */
struct route route_find(const struct route_request *r, char *const *prefixes, size_t prefix_count);

#define ROUTE_PATH_MAX 1024
/* Decodes and normalises a path once: "//a/./b/../c%20d?q" -> "/a/c d"; a trailing slash
 * stays. -1: a bad escape, an encoded slash or NUL, more ".." than directories, too long. */
int route_normalise(const char *raw, bool encoded, char out[ROUTE_PATH_MAX]);

/* The decoded value of the last parameter of that name in `a=1&b=2`; free(). Bytes that are not
 * UTF-8, and NUL, become '?'. NULL: there is none, or no memory. query may be NULL. */
char *route_query_value(const char *query, const char *name);

#endif
