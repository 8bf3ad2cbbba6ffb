/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#include "core/status/document.h"

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	struct status_view v;
	json_t *document;

	(void)args;
	agent_settle_if_touched(a);
	publisher_view(a->publisher, &a->selector, &a->polling, &v);
	document = document_models(&v);
	load_watch_describe(a->load_watch, json_object_get(document, "models"));
	command_reply(call, document);
}

const struct command_entry command_MODELS = {.run = run};
