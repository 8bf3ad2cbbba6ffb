/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/chat/completions: an answer as OpenAI's clients read it. */
#include "fcgi/chat.h"
#include "fcgi/endpoint.h"

static void answer(struct worker *w, struct connection *c)
{
	chat_dispatch(&protocol_openai_chat, w, c);
}

const struct endpoint endpoint_v1_chat_completions = {
	.path = "/v1/chat/completions",
	.methods = "POST, OPTIONS",
	.right = ENDPOINT_PUBLIC,
	.is_api = true,
	.help = "Answers a conversation, streamed or not, as the OpenAI API does.",
	.answer = answer,
};
