/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#include "core/status/document.h"

#include <stdlib.h>

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	struct status_view v;
	size_t len;
	char *doc;

	(void)args;
	agent_settle_if_touched(a);
	publisher_view(a->publisher, &a->selector, &a->polling, &v);
	doc = document_status(&v, &len);
	command_reply(call, doc != NULL ? json_loadb(doc, len, 0, NULL) : NULL);
	free(doc);
}

const struct command_entry command_STATUS = {.run = run};
