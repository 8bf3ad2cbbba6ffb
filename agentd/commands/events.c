/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	(void)args;
	events_subscribe(a->s.events, call);
}

const struct command_entry command_EVENTS = {.run = run};
