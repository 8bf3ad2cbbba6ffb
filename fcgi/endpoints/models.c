/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoint.h"
#include "fcgi/endpoints/daemon_command.h"

static void answer(struct worker *w, struct connection *c)
{
	daemon_command_forward(w, c, CMD_MODELS, NULL);
}

const struct endpoint endpoint_models = {
	.path = "/models",
	.methods = "GET, HEAD",
	.right = ENDPOINT_ADMIN,
	.help = "Every known LLM with its health, reason and rank.",
	.answer = answer,
};
