/* SPDX-License-Identifier: Apache-2.0 */
/* Small real chat requests that show what an LLM can do, and what its answer to one means. What its server
 * refuses of a request besides is left out, as turns do: that says nothing of what it can do. */
#ifndef TT_PROBE_CHAT_H
#define TT_PROBE_CHAT_H

#include "core/http/http.h"
#include "core/llm/llm.h"
#include "core/llm/quirks.h"

enum chat_question {
	CHAT_WORDS,    /* a few words: does it work at all? */
	CHAT_TOOLS,    /* a tool is offered, which it need not call */
	CHAT_CALL,     /* it is told to call the tool */
	CHAT_VISION,   /* a small image */
	CHAT_CONTINUE, /* an answer that was begun is to be continued (continue_final_message) */
};

struct chat_probe;

struct chat_probe_request {
	const struct llm *llm; /* url, model, and its quirks: what it is known to refuse */
	enum chat_question question;
	const char *bearer, *ca_file, *proxy;
	int64_t connect_ms, total_ms; /* total: of all requests together */
};

/* The end, once, unless cancelled; the probe is gone afterwards. r: the last answer. learned: what was refused,
 * and left out if it was not what the question is about; true of the LLM only where r is an answer (200). */
typedef void chat_probe_done_fn(void *arg, const struct http_result *r, const struct quirks *learned);

/* The request is used during the call only. NULL: out of memory. done is never called from within this call. */
struct chat_probe *chat_probe_start(struct http *http, const struct chat_probe_request *r, chat_probe_done_fn *done,
                                    void *arg);
/* No callback follows. Not from within one. */
void chat_probe_cancel(struct chat_probe *p);

/* What a refusal of a request teaches beyond what was learned already, added to it; false: nothing. sent: bits
 * of what the request had, max_tokens: its limit, 0 = none. */
bool chat_probe_learn(const struct http_result *r, unsigned sent, int64_t max_tokens, struct quirks *learned);

/* What the answer to CHAT_TOOLS says: it takes tools (200), or refuses them in words that are
 * about tools; unknown otherwise, since servers refuse requests for many reasons. */
enum llm_tools chat_probe_tools(const struct http_result *r, const struct quirks *learned);

/* The model called the tool of CHAT_CALL. */
bool chat_probe_called(const struct http_result *r);

#endif
