/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	(void)args;
	command_reply(call, config_to_json(a->s.config, false));
}

const struct command_entry command_CONFIG = {.run = run};
