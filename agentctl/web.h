/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the service through its web server, as its clients make them: they block. The only user of libcurl beside
 * core/http, which has neither headers of answers nor names that curl looks up. */
#ifndef TT_AGENTCTL_WEB_H
#define TT_AGENTCTL_WEB_H

#include "core/base/buf.h"
#include "core/base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct web_request {
	const char *url;
	bool direct;          /* through no proxy of the environment */
	const char *body;     /* JSON, for a POST; NULL: a GET */
	const char *bearer;   /* of the Authorization header; NULL: none */
	int64_t total_ms;     /* 0: no limit */
	size_t collect_limit; /* of the answer's body, where data is NULL */
	/* A piece of the body of a 200, as a chunk of HTTP or a part of one; returns false to end the request. NULL: it
	 * is collected, as every other body is. */
	bool (*data)(void *arg, const char *bytes, size_t len);
	/* Called at least every 100 ms; returns false to end the request. NULL: none. */
	bool (*wait)(void *arg);
	void *arg;
};

struct web_answer {
	long status; /* 0: no answer */
	bool cancelled, x_accel_buffering;
	char encoding[32], type[128], address[64]; /* Content-Encoding, Content-Type; of the server */
	double first_s, total_s;                   /* from the request to the first byte of the body, and to the end */
	struct buf body;
};

/* -1 with e: no whole answer came. */
int web_request(const struct web_request *r, struct web_answer *out, struct err *e);
void web_answer_clear(struct web_answer *a);

/* BASE/PATH, one slash between them; free(). */
char *web_url(const char *base, const char *path);

#endif
