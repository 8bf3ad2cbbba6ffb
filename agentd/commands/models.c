/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#include "core/status/document.h"

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	struct status_view v;

	(void)args;
	agent_settle_if_touched(a);
	publisher_view(a->publisher, &a->selector, &a->polling, &v);
	command_reply(call, document_models(&v));
}

const struct command_entry command_MODELS = {.run = run};
