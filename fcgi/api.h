/* SPDX-License-Identifier: Apache-2.0 */
/* What the endpoints of APIs (/v1, /mcp) have in common. */
#ifndef TT_FCGI_API_H
#define TT_FCGI_API_H

#include "core/access/access.h"
#include "core/config/config.h"
#include "core/protocol/protocol.h"
#include "fcgi/connection.h"
#include "fcgi/worker.h"

#include <stdbool.h>

/* One of several APIs. */
struct api_form {
	enum cfg_key setting; /* that switches it on */
	const char *off;      /* what clients are told without it */
	/* A whole response in its form of an error. headers: more lines, each ended by \r\n. */
	void (*refuse)(struct connection *c, int status, const char *headers, const char *text);
	/* Of a 401: puts another "WWW-Authenticate: ...\r\n" in the place of out. NULL: it is Bearer. */
	void (*challenge)(const struct config *c, char *out, size_t size);
};
extern const struct api_form api_openai, api_messages;

/* What each endpoint does first: is the API served, what may scripts of other sites see? Answers their
 * preflights (OPTIONS). False: the request was answered. */
bool api_enter(struct worker *w, struct connection *c, const struct api_form *form);

/* Whether a page of the request's origin may use the API, as http.cors_origins says. */
bool api_admits_origin(const struct config *config, const struct connection *c);

/* What refuses a client of the OpenAI API by its key, its token or its limits. */
void api_refuse_access(struct connection *c, const struct access_refusal *r);

/* A whole response: {"error":{...}}. headers: more lines, each ended by \r\n. */
void api_refuse(struct connection *c, int status, const char *headers, const char *text);

/* The same for a failure. */
void api_fail(struct connection *c, enum failure why, const char *text);
/* With these headers instead of the usual ones: more lines, each ended by \r\n. */
void api_fail_with(struct connection *c, enum failure why, const char *headers, const char *text);

#endif
