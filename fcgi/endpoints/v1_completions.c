/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/completions: a text that goes on, as editors want it. */
#include "fcgi/endpoint.h"
#include "fcgi/relay.h"

static void answer(struct worker *w, struct connection *c)
{
	static const struct relay_kind kind = {
		.path = "/v1/completions", .work = WORK_COMPLETIONS, .lacks = "completes no texts"};

	relay_dispatch(&kind, w, c);
}

const struct endpoint endpoint_v1_completions = {
	.path = "/v1/completions",
	.methods = "POST, OPTIONS",
	.right = ENDPOINT_PUBLIC,
	.is_api = true,
	.help = "Passes a request for the completion of a text on to the model, and its answer back, unchanged.",
	.answer = answer,
};
