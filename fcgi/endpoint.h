/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP endpoints. Each is a file below fcgi/endpoints with one entry; to add one, write that
 * file and add its row to endpoints.def. Routing, refusals, the manual and most of /openapi.json come from the
 * entries. */
#ifndef TT_FCGI_ENDPOINT_H
#define TT_FCGI_ENDPOINT_H

#include "fcgi/connection.h"
#include "fcgi/worker.h"

struct api_form;

enum endpoint_right {
	ENDPOINT_OPEN,    /* any client may use it, even a web page of another site */
	ENDPOINT_PAGE,    /* any client may use it; pages of other sites may only link to it */
	ENDPOINT_PUBLIC,  /* any client may use it */
	ENDPOINT_ADMIN,   /* only clients for which the web server sends TT_AGENT_ADMIN=1 */
	ENDPOINT_MONITOR, /* those, and clients for which it sends TT_AGENT_ADMIN=metrics */
};

struct endpoint {
	const char *path;    /* below the prefix: "/status" */
	const char *methods; /* as in Allow: "GET, HEAD" */
	bool takes_rest;     /* what is below the path too: connection_rest */
	bool is_api;         /* of an API: keys as access.require says, http.cors_origins, and errors in its form */
	const struct api_form *form; /* of which; NULL: OpenAI's */
	enum endpoint_right right;
	bool get_acts;    /* GET does something: a browser, which any page can make send GET, must use POST */
	const char *help; /* one sentence, for the manual */

	/* Answers the request, now or later. */
	void (*answer)(struct worker *w, struct connection *c);
};

#define ENDPOINT(name) extern const struct endpoint endpoint_##name;
#include "fcgi/endpoints/endpoints.def"
#undef ENDPOINT

extern const struct endpoint *const endpoints[]; /* all of them, ended by NULL */

#endif
