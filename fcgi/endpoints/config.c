/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoint.h"
#include "fcgi/endpoints/daemon_command.h"

static void answer(struct worker *w, struct connection *c)
{
	daemon_command_forward(w, c, CMD_CONFIG, NULL);
}

const struct endpoint endpoint_config = {
	.path = "/config",
	.methods = "GET, HEAD",
	.right = ENDPOINT_ADMIN,
	.help = "Every setting with its value and origin; of a secret only whether it is set.",
	.answer = answer,
};
