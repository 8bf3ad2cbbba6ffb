/* SPDX-License-Identifier: Apache-2.0 */
/* One ask: a request to one LLM and its streamed answer, read through
 * HTTP -> SSE -> deltas. Knows nothing of candidates, tools or clients. */
#ifndef TT_TURN_ATTEMPT_H
#define TT_TURN_ATTEMPT_H

#include "core/http/http.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How an ask ended. */
enum attempt_result {
	ATTEMPT_COMPLETE,     /* finish_reason or [DONE] was seen */
	ATTEMPT_UNREACHABLE,  /* no connection: refused, no such host, TLS */
	ATTEMPT_TIMEOUT,      /* no connection in time */
	ATTEMPT_SILENT,       /* nothing came for too long */
	ATTEMPT_CUT,          /* the stream ended without its end, or the server gave it up */
	ATTEMPT_ERROR_EVENT,  /* an error inside the stream */
	ATTEMPT_MALFORMED,    /* 200, but nothing in it was understood */
	ATTEMPT_BUSY,         /* 429 */
	ATTEMPT_UNAVAILABLE,  /* 404, 408, 5xx */
	ATTEMPT_UNAUTHORIZED, /* 401, 403 */
	ATTEMPT_OVERFLOW,     /* the context window is exceeded */
	ATTEMPT_REFUSED,      /* any other 4xx: what we sent is at fault */
	ATTEMPT_NO_RESOURCES, /* we have no descriptor or memory to ask anybody */
	ATTEMPT_FAILED,       /* anything else on our side */
	ATTEMPT_ENDS
};
const char *attempt_result_text(enum attempt_result end);

struct attempt_outcome {
	enum attempt_result end;
	enum http_outcome outcome;
	long status;
	bool reused;               /* failed on a reused connection before any byte */
	bool stopped_at_limit;     /* finish_reason length */
	int64_t completion_tokens; /* the server's count; -1 = it sent none */
	const char *text;          /* for people, where it failed; no secret */
};

struct attempt_request {
	const char *url, *resolve, *bearer, *ca_file;
	const char *body;
	size_t body_len;
	int64_t connect_ms;
	int64_t silence_ms; /* longest silence before the first token; comments end it */
	int64_t stall_ms;   /* longest time without an event from then on; comments are none */
};

struct attempt_handlers {
	void (*text)(void *arg, const char *bytes, size_t len); /* content, unfiltered */
	void (*reasoning)(void *arg, const char *bytes, size_t len);
	void (*tool_calls)(void *arg, const json_t *fragments); /* of one event */
	/* Once, never from within attempt_start; the ask is gone when it returns. */
	void (*ended)(void *arg, const struct attempt_outcome *result);
};

struct attempt;

struct attempt *attempt_start(struct event_base *base, struct http *http, const struct attempt_request *request,
                              const struct attempt_handlers *handlers, void *arg); /* NULL: no memory */
void attempt_pause(struct attempt *a);
void attempt_resume(struct attempt *a);
void attempt_cancel(struct attempt *a); /* the connection is closed; no further callback */

#endif
