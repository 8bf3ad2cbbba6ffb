/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	span_export_add(a->span_export, json_object_get(args, "spans"),
	                (int64_t)json_integer_value(json_object_get(args, "dropped")));
	command_reply(call, json_object());
}

const struct command_entry command_SPANS = {.run = run};
