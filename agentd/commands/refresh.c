/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#include "agentd/passive_health.h"
#include "core/status/document.h"

json_t *command_refresh_result(const struct pending *p)
{
	const struct agent *a = p->agent;
	const char *unreadable = discovery_unreadable(a->discovery);

	if (unreadable != NULL)
		return command_error("%s. What was known before stays in effect.", unreadable);
	if (selector_current(&a->selector) < 0 && registry_discovered(a->s.registry) > 0)
		return command_error("No suitable LLM found among discovered models");
	if (selector_current(&a->selector) < 0)
		return command_error("No LLMs available and no fallback configured");
	return json_pack("{s:s,s:s,s:s,s:s,s:o}", "status", "success", "message", "LLM refreshed successfully",
	                 "old_model", p->old_name, "new_model", agent_current_name(a), "available_models",
	                 command_discovered(a, document_model_brief));
}

void command_refresh_settle(struct agent *a)
{
	passive_health_end_warmup(a);
	agent_settle_if_changed(a);
}

static void scan_ended(struct pending *p)
{
	pending_reply(p, command_refresh_result(p));
}

static void timeout(struct pending *p)
{
	command_refresh_settle(p->agent);
	scan_ended(p);
}

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	struct pending *p = pending_new(a, call, CMD_REFRESH);

	(void)args;
	if (p != NULL)
		pending_scan(p);
}

const struct command_entry command_REFRESH = {.run = run, .timeout = timeout, .scan_ended = scan_ended};
