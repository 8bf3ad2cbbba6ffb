/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	char *old_name = strdup(agent_current_name(a)), *pinned = a->selector.pinned;
	char message[1024] = "No model was pinned";

	(void)args;
	if (pinned != NULL)
		snprintf(message, sizeof message, "%s is not pinned any more", pinned);
	selector_unpin(&a->selector);
	agent_settle(a);
	command_reply(call, json_pack("{s:s,s:s,s:s?,s:s}", "status", "success", "message", message, "old_model",
	                              old_name, "new_model", agent_current_name(a)));
	free(old_name);
}

const struct command_entry command_UNSELECT = {.run = run};
