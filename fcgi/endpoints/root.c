/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoint.h"
#include "fcgi/endpoints/published_document.h"

static void answer(struct worker *w, struct connection *c)
{
	published_document_answer(w, c, PUBLISHED_ROOT);
}

const struct endpoint endpoint_root = {
	.path = "/",
	.methods = "GET, HEAD",
	.right = ENDPOINT_OPEN,
	.help = "Whether the service is ready, and with which LLM.",
	.answer = answer,
};
