/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoint.h"
#include "fcgi/endpoints/daemon_command.h"

static void answer(struct worker *w, struct connection *c)
{
	daemon_command_forward(w, c, CMD_TEST, NULL);
}

const struct endpoint endpoint_test_llm = {
	.path = "/test_llm",
	.methods = "GET, HEAD, POST",
	.right = ENDPOINT_ADMIN,
	.get_acts = true,
	.help = "Makes the current LLM answer a short question. Browsers must use POST.",
	.answer = answer,
};
