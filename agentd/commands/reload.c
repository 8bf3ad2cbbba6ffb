/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#include "core/status/document.h"

static void scan_ended(struct pending *p)
{
	pending_reply(p,
	              json_pack("{s:s,s:s,s:o}", "status", "success", "message",
	                        "Configuration refreshed and LLM updated", "llm_refresh", command_refresh_result(p)));
}

static void timeout(struct pending *p)
{
	command_refresh_settle(p->agent);
	scan_ended(p);
}

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	struct err e = ERR_INIT;
	enum reload_outcome outcome;
	struct pending *p;

	(void)args;
	a->refresh_follows = true;
	outcome = reload_now(a->reload, "command", &e);
	a->refresh_follows = false;
	if (outcome == RELOAD_REFUSED) {
		command_reply(call, command_error("%s", e.text));
	} else if (cfg_bool(a->s.config, CFG_CONFIG_REFRESH_LLM)) {
		p = pending_new(a, call, CMD_RELOAD);
		if (p != NULL)
			pending_scan(p);
	} else {
		agent_settle_if_touched(a);
		command_reply(call, json_pack("{s:s,s:s,s:o}", "status", "success", "message",
		                              "Configuration refreshed successfully", "current_config",
		                              document_current_config(a->s.config)));
	}
}

const struct command_entry command_RELOAD = {.run = run, .timeout = timeout, .scan_ended = scan_ended};
