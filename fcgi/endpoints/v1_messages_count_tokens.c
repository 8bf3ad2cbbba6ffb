/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/messages/count_tokens: only the LLM's server knows its tokens. */
#include "fcgi/api.h"
#include "fcgi/endpoint.h"
#include "fcgi/relay.h"

static void answer(struct worker *w, struct connection *c)
{
	static const struct relay_kind kind = {
		.path = "/v1/messages/count_tokens",
		.work = WORK_COMPLETIONS,
		.lacks = "counts no tokens",
		.form = &api_messages,
		.unsupported = "The server of this model cannot count tokens.",
		.needs_no_place = true,
	};

	relay_dispatch(&kind, w, c);
}

const struct endpoint endpoint_v1_messages_count_tokens = {
	.path = "/v1/messages/count_tokens",
	.methods = "POST, OPTIONS",
	.right = ENDPOINT_PUBLIC,
	.is_api = true,
	.form = &api_messages,
	.help = "Has the server of the model count the tokens of a conversation; 404 where it cannot.",
	.answer = answer,
};
