/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of a turn, and the attempts that write it: each is one request to one LLM, whose
 * stream is read piece by piece into the answer and passed on to the client as it comes.
 *
 * One struct attempt serves all attempts of a turn, one after the other. It knows no
 * candidates, no tools and no wire format. One thread, on the worker's loop. */
#ifndef TT_TURN_ATTEMPT_H
#define TT_TURN_ATTEMPT_H

#include "core/http/http.h"
#include "core/protocol/protocol.h"
#include "core/status/counters.h"
#include "core/stream/error_report.h"
#include "core/stream/stream.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the answer ------------------------------------------------------------------------- */

/* What the client was shown of it, what is stored in the history, and what it cost. */
struct answer {
	struct reply *reply;
	struct buf text;                     /* of the attempts that wrote it; shown, without reasoning */
	int64_t began_ns, first_ns, last_ns; /* 0: not yet */
	int64_t tokens;                      /* of the attempts that have ended */
	int64_t attempt_tokens;              /* of the one that runs */
	/* As the servers count, of the attempts that have ended; -1: none did. */
	int64_t prompt_tokens, cached_tokens, reasoning_tokens;
	size_t whitespace; /* that is shown already, or not wanted, before its next word */
	bool continued;    /* the attempt that runs continues what others wrote */
	bool limited;      /* it ended at the limit of tokens */
	bool reasoned;     /* reasoning came with this text */
	bool broke_off;    /* an attempt failed over its reasoning; nothing was shown since */
};

void answer_init(struct answer *a, struct reply *r);
void answer_clear(struct answer *a); /* the reply stays its owner's */

/* Another program began it and sent this text, perhaps none beside reasoning. -1: no memory. */
int answer_resume(struct answer *a, const char *text, size_t len);

/* Another attempt begins the answer again (what was shown stays shown), or continues its text. */
void answer_begin(struct answer *a);
void answer_continue(struct answer *a);
void answer_take(struct answer *a, const struct piece *p); /* TEXT, REASONING, UNOPENED */
/* The attempt has ended. from: what the server counted there is taken (where it sent no number of tokens, or
 * an implausible one, our own); NULL: our own. */
void answer_end(struct answer *a, const struct stream *from, bool complete);

/* The text without whitespace at its end: what another LLM is given to continue. Chat templates
 * drop it too, so it is not expected twice. "" where there is none. */
const char *answer_begun(const struct answer *a, size_t *len);
bool answer_is_shown(const struct answer *a); /* any text but whitespace */
void answer_sentence(struct answer *a, const char *sentence);
void answer_fail(struct answer *a, enum failure why, const char *sentence);
void answer_usage(const struct answer *a, struct usage *u);

/* ---- attempts ------------------------------------------------------------------------------ */

/* How an attempt ended. */
enum attempt_result {
	ATTEMPT_COMPLETE,     /* a whole answer: text or calls */
	ATTEMPT_EMPTY,        /* a whole answer without text and calls */
	ATTEMPT_USED_UP,      /* the same, at the limit of tokens: reasoning took them all */
	ATTEMPT_FILTERED,     /* the server's content filter stopped or refused it */
	ATTEMPT_UNREACHABLE,  /* no connection: refused, no such host, TLS */
	ATTEMPT_TIMEOUT,      /* no connection in time */
	ATTEMPT_SILENT,       /* nothing came for too long */
	ATTEMPT_CUT,          /* the stream ended early, or with a finish_reason that does not mean whole */
	ATTEMPT_ERROR_EVENT,  /* an error inside the stream */
	ATTEMPT_MALFORMED,    /* 200, but nothing in it was understood */
	ATTEMPT_BUSY,         /* 429 and other temporary limits */
	ATTEMPT_UNAVAILABLE,  /* 404, 408, 5xx */
	ATTEMPT_UNAUTHORIZED, /* 401, 403 */
	ATTEMPT_NO_CREDIT,    /* 402: the account is used up */
	ATTEMPT_NO_MODEL,     /* the server does not have the model */
	ATTEMPT_OVERFLOW,     /* the context window is exceeded */
	ATTEMPT_REFUSED,      /* any other 4xx: what we sent is at fault */
	ATTEMPT_NO_RESOURCES, /* no file descriptor or memory for a request */
	ATTEMPT_FAILED,       /* anything else on our side */
	ATTEMPT_RESULTS
};
const char *attempt_result_text(enum attempt_result r);

/* What follows from HTTP alone, and from an error of the server, in the body of a response or in a stream. */
enum attempt_result attempt_result_of_http(enum http_outcome o);
enum attempt_result attempt_result_of_error(enum error_meaning m, bool in_stream);

/* Some servers repeat the token that they do not accept: its characters become '*'. secret may be NULL. */
void attempt_hide(char *text, size_t len, const char *secret);

struct attempt_request {
	const char *url, *resolve, *ca_file, *proxy;
	bool plain;         /* of http_request */
	const char *bearer; /* must outlive the attempt: it is hidden where the server repeats it */
	const char *body;
	size_t body_len;
	const char *const *labels; /* of http_request */
	int64_t connect_ms;
	int64_t silence_ms;        /* longest silence before the first token; comments end it */
	int64_t stall_ms;          /* longest time without an event from then on; comments do not count */
	struct counters *counters; /* may be NULL */
	unsigned model;            /* of it, in the counters */
	const char *const *tools;  /* as stream_begin; must outlive the attempt */
	bool continues;            /* continues the answer so far */
	bool verbatim;             /* as stream_verbatim */
};

/* How the last attempt ended. */
struct attempt_outcome {
	enum attempt_result result;
	enum http_outcome http;
	long status;
	bool reused;                              /* failed on a reused connection before any byte */
	int64_t prompt_tokens, completion_tokens; /* the server's counts, -1 = it sent none */
	bool limit;                               /* whole, but cut at the limit of tokens */
	const struct call *calls[CALLS_MAX];
	size_t call_count; /* the calls live until the next attempt_start */
	/* Where it failed, else empty. What the server said, if it did; else only the text is set, for people. No
	 * secret. It lives until the next attempt_start. */
	const struct error_report *error;
};

struct attempt_handlers {
	/* Every few tokens: the LLM is answering. */
	void (*serving)(void *arg);
	/* Once for each attempt, never from within attempt_start: attempt_outcome says how. */
	void (*ended)(void *arg);
	/* Before that, and when it is cancelled: what it took in tokens, prompt -1: the server did not say. How it
	 * ended is an enum attempt_result, or greater where it was cancelled. May be NULL. */
	void (*took)(void *arg, unsigned result, int64_t prompt, int64_t completion);
};

struct attempt;

struct attempt *attempt_new(struct event_base *base, struct http *http, struct answer *answer,
                            const struct attempt_handlers *handlers, void *arg); /* NULL: no memory */
void attempt_free(struct attempt *a);                                            /* cancels; NULL is fine */

/* Only while none runs. -1: no memory. It pauses by itself where the output is full. */
int attempt_start(struct attempt *a, const struct attempt_request *r);
void attempt_resume(struct attempt *a); /* there is room again; where none runs, nothing happens */
/* The connection is closed and `ended` is not called; what was held back of the text is shown. */
void attempt_cancel(struct attempt *a);

const struct attempt_outcome *attempt_outcome(const struct attempt *a);

/* What came beside its calls: stream_beside_calls. */
json_t *attempt_beside_calls(const struct attempt *a);

#endif
