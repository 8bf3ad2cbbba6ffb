/* SPDX-License-Identifier: Apache-2.0 */
/* What else clients look for below /v1. */
#include "fcgi/api.h"
#include "fcgi/endpoint.h"

static void answer(struct worker *w, struct connection *c)
{
	(void)w;
	api_refuse(c, 404, "", "There is no such endpoint here");
}

const struct endpoint endpoint_v1 = {
	.path = "/v1",
	.methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
	.right = ENDPOINT_PUBLIC,
	.takes_rest = true,
	.is_api = true,
	.help = "The base URL of the OpenAI-compatible API; whatever is not listed here is 404 in its form.",
	.answer = answer,
};
