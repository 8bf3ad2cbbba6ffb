/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#include "agentd/passive_health.h"

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	struct turn_report r;
	struct err e = ERR_INIT;
	enum turn_report_verdict verdict;

	if (turn_report_parse(json_object_get(args, "report"), &r, &e) != 0) {
		command_fail(call, e.text);
		return;
	}
	verdict = passive_health_report(a, &r);
	command_reply(call, json_pack("{s:b,s:s}", "counted", verdict == REPORT_COUNTS, "why",
	                              turn_report_verdict_text(verdict)));
}

const struct command_entry command_REPORT = {.run = run};
