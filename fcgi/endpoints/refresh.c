/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoint.h"
#include "fcgi/endpoints/daemon_command.h"

static void answer(struct worker *w, struct connection *c)
{
	daemon_command_forward(w, c, CMD_REFRESH, NULL);
}

const struct endpoint endpoint_refresh = {
	.path = "/refresh",
	.methods = "POST",
	.right = ENDPOINT_ADMIN,
	.help = "Looks for LLMs again and selects the best one.",
	.answer = answer,
};
