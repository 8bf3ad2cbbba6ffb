/* SPDX-License-Identifier: Apache-2.0 */
/* Requests with a long body: parsing it would hold the event loop, so the background thread does it
 * while the request waits. Short ones are parsed at once. */
#ifndef TT_FCGI_BODY_H
#define TT_FCGI_BODY_H

#include "core/base/background.h"
#include "fcgi/connection.h"
#include "fcgi/worker.h"

struct body_parser {
	/* Pure; on the background thread. */
	void (*parse)(void *arg, const char *body, size_t len);
	/* Then, on the loop, unless the client has left: answers the request, of whose parameters
	 * nothing is left. */
	void (*parsed)(void *arg, struct worker *w, struct connection *c);
	void (*free)(void *arg); /* the last call */
};

/* Whether it is to be parsed in the background. */
static inline bool body_is_long(const struct connection *c)
{
	size_t len;

	(void)connection_body(c, &len);
	return len > BACKGROUND_MIN;
}

/* The body is parsed in the background. -1: no memory; nothing is called. */
int body_parse(struct worker *w, struct connection *c, const struct body_parser *p, void *arg);

#endif
