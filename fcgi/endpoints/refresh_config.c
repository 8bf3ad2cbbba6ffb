/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoint.h"
#include "fcgi/endpoints/daemon_command.h"

static void answer(struct worker *w, struct connection *c)
{
	daemon_command_forward(w, c, CMD_RELOAD, NULL);
}

const struct endpoint endpoint_refresh_config = {
	.path = "/refresh_config",
	.methods = "POST",
	.right = ENDPOINT_ADMIN,
	.help = "Reads the configuration again.",
	.answer = answer,
};
