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
};

/* The body of that request; free(). NULL: out of memory. */
char *chat_probe_body(const struct llm *l, enum chat_question q, size_t *len);

/* What the answer to CHAT_TOOLS says: it takes tools (200), or refuses them in words that are
 * about tools; unknown otherwise, since servers refuse requests for many reasons. */
enum llm_tools chat_probe_tools(const struct http_result *r);

/* The answer refuses max_tokens or its value. */
bool chat_probe_refuses_limit(const struct http_result *r);

#endif
