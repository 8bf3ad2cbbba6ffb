/* One ask: a request to one LLM and its streamed answer, read through
 * HTTP -> SSE -> deltas. Knows nothing of candidates, tools or clients. */
#ifndef TT_CHAT_ASK_H
#define TT_CHAT_ASK_H

#include "core/net/http.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How an ask ended. */
enum ask_end {
	ASK_COMPLETE,     /* finish_reason or [DONE] was seen */
	ASK_UNREACHABLE,  /* no connection: refused, no such host, TLS */
	ASK_TIMEOUT,      /* no connection in time */
	ASK_SILENT,       /* nothing came for too long */
	ASK_CUT,          /* the stream ended without its end, or the server gave it up */
	ASK_ERROR_EVENT,  /* an error inside the stream */
	ASK_MALFORMED,    /* 200, but nothing in it was understood */
	ASK_BUSY,         /* 429 */
	ASK_UNAVAILABLE,  /* 404, 408, 5xx */
	ASK_UNAUTHORIZED, /* 401, 403 */
	ASK_OVERFLOW,     /* the context window is exceeded */
	ASK_REFUSED,      /* any other 4xx: what we sent is at fault */
	ASK_NO_RESOURCES, /* we have no descriptor or memory to ask anybody */
	ASK_FAILED,       /* anything else on our side */
	ASK_ENDS
};
const char *ask_end_text(enum ask_end end);

struct ask_result {
	enum ask_end end;
	enum http_outcome outcome;
	long status;
	bool reused;              /* failed on a reused connection before any byte */
	bool stopped_at_limit;    /* finish_reason length */
	int64_t completion_tokens; /* the server's count; -1 = it sent none */
	const char *text;         /* for people, where it failed; no secret */
};

struct ask_request {
	const char *url, *resolve, *bearer, *ca_file;
	const char *body;
	size_t body_len;
	int64_t connect_ms;
	int64_t silence_ms; /* longest silence before the first token; comments end it */
	int64_t stall_ms;   /* longest time without an event from then on; comments are none */
};

struct ask_handlers {
	void (*text)(void *arg, const char *bytes, size_t len);      /* content, unfiltered */
	void (*reasoning)(void *arg, const char *bytes, size_t len);
	void (*tool_calls)(void *arg, const json_t *fragments);      /* of one event */
	/* Once, never from within ask_start; the ask is gone when it returns. */
	void (*ended)(void *arg, const struct ask_result *result);
};

struct ask;

struct ask *ask_start(struct event_base *base, struct http *http, const struct ask_request *request,
                      const struct ask_handlers *handlers, void *arg); /* NULL: no memory */
void ask_pause(struct ask *a);
void ask_resume(struct ask *a);
void ask_cancel(struct ask *a); /* the connection is closed; no further callback */

#endif
