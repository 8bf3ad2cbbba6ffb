/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoint.h"
#include "fcgi/endpoints/published_document.h"

static void answer(struct worker *w, struct connection *c)
{
	published_document_answer(w, c, PUBLISHED_STATUS);
}

const struct endpoint endpoint_status = {
	.path = "/status",
	.methods = "GET, HEAD",
	.right = ENDPOINT_PUBLIC,
	.help = "The state of the service and of every LLM.",
	.answer = answer,
};
