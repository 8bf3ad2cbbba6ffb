/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/embeddings: texts as vectors, by an LLM of that type. */
#include "fcgi/endpoint.h"
#include "fcgi/relay.h"

static void answer(struct worker *w, struct connection *c)
{
	static const struct relay_kind kind = {
		.path = "/v1/embeddings", .work = WORK_EMBEDDINGS, .lacks = "makes no embeddings"};

	relay_dispatch(&kind, w, c);
}

const struct endpoint endpoint_v1_embeddings = {
	.path = "/v1/embeddings",
	.methods = "POST, OPTIONS",
	.right = ENDPOINT_PUBLIC,
	.is_api = true,
	.help = "Passes a request for embeddings on to a model that makes them, and its answer back, unchanged.",
	.answer = answer,
};
