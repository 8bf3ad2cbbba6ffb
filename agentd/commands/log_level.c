/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#include "core/base/log.h"

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	const char *text = json_string_value(json_object_get(args, "level"));
	enum log_level level;

	(void)a;
	if (text == NULL || log_level_parse(text, &level) != 0) {
		command_fail(call, "level: one of DEBUG, INFO, WARNING, ERROR, CRITICAL is needed");
		return;
	}
	log_set_level(level);
	command_reply(call, json_pack("{s:s,s:s,s:s}", "status", "success", "message", "Log level changed", "level",
	                              log_level_name(level)));
}

const struct command_entry command_LOG_LEVEL = {.run = run};
