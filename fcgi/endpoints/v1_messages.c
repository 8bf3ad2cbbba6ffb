/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/messages: an answer as Anthropic's clients read it. */
#include "fcgi/api.h"
#include "fcgi/chat.h"
#include "fcgi/endpoint.h"

static void answer(struct worker *w, struct connection *c)
{
	chat_dispatch(&protocol_messages, w, c);
}

const struct endpoint endpoint_v1_messages = {
	.path = "/v1/messages",
	.methods = "POST, OPTIONS",
	.right = ENDPOINT_PUBLIC,
	.is_api = true,
	.form = &api_messages,
	.help = "Answers a conversation, streamed or not, as Anthropic's Messages API does.",
	.answer = answer,
};
