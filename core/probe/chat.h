/* SPDX-License-Identifier: Apache-2.0 */
/* Small real chat requests that show what an LLM can do, and what its answer to one means. */
#ifndef TT_PROBE_CHAT_H
#define TT_PROBE_CHAT_H

#include "core/http/http.h"
#include "core/llm/llm.h"

enum chat_question {
	CHAT_TOKEN,               /* one token: does it work at all? */
	CHAT_TOOLS,               /* a tool is offered, which it need not call */
	CHAT_TOOLS_WITHOUT_LIMIT, /* the same, without max_tokens, which some servers do not take */
	CHAT_CALL,                /* it is told to call the tool */
	CHAT_VISION,              /* a small image */
	CHAT_CONTINUE,            /* an answer that was begun is to be continued (continue_final_message) */
};

/* The body of that request; free(). NULL: out of memory. */
char *chat_probe_body(const struct llm *l, enum chat_question q, size_t *len);

/* What the answer to CHAT_TOOLS says: it takes tools (200), or refuses them in words that are
 * about tools; unknown otherwise, since servers refuse requests for many reasons. */
enum llm_tools chat_probe_tools(const struct http_result *r);

/* The model called the tool of CHAT_CALL. */
bool chat_probe_called(const struct http_result *r);

/* The first of these members of a request (ended by NULL) that the refusal names; NULL: none. */
const char *chat_probe_refused(const struct http_result *r, const char *const *members);

/* The answer refuses max_tokens or its value. */
bool chat_probe_refuses_limit(const struct http_result *r);

#endif
