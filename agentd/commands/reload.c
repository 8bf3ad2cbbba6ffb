/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#include "core/status/document.h"

#include <string.h>

static json_t *lines(const struct buf *text)
{
	json_t *list = json_array();

	for (const char *p = text->data; p != NULL && *p != '\0'; p += *p == '\n') {
		size_t len = strcspn(p, "\n");

		json_array_append_new(list, json_stringn(p, len));
		p += len;
	}
	return list;
}

/* For tt-agentctl, behind what the wire contract has. */
static json_t *found(const struct agent *a, enum reload_outcome outcome, const struct reload_details *d)
{
	return json_pack("{s:b,s:O,s:o,s:o,s:o}", "read", outcome != RELOAD_OFF, "changes", d->changes,
	                 "restart_pending", reload_pending_restart(a->reload), "errors", lines(&d->report.errors),
	                 "warnings", lines(&d->report.warnings));
}

/* Steals answer. */
static json_t *with(json_t *answer, const json_t *more)
{
	if (answer != NULL && more != NULL)
		json_object_update(answer, (json_t *)(uintptr_t)more);
	return answer;
}

static void scan_ended(struct pending *p)
{
	pending_reply(
		p, with(json_pack("{s:s,s:s,s:o}", "status", "success", "message",
	                          "Configuration refreshed and LLM updated", "llm_refresh", command_refresh_result(p)),
	                p->state));
}

static void timeout(struct pending *p)
{
	command_refresh_settle(p->agent);
	scan_ended(p);
}

static void clear(struct pending *p)
{
	json_decref(p->state);
}

static json_t *refused(const struct reload_details *d)
{
	const char *first = d->report.errors.data;

	if (first == NULL)
		return command_error("the configuration cannot be read");
	return command_error("%.*s", (int)strcspn(first, "\n"), first);
}

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	struct reload_details details;
	enum reload_outcome outcome;
	struct pending *p;
	json_t *more;

	(void)args;
	reload_details_init(&details);
	a->refresh_follows = true;
	outcome = reload_now(a->reload, "command", &details);
	a->refresh_follows = false;
	more = found(a, outcome, &details);
	if (outcome == RELOAD_REFUSED) {
		command_reply(call, with(refused(&details), more));
	} else if (cfg_bool(a->s.config, CFG_CONFIG_REFRESH_LLM)) {
		p = pending_new(a, call, CMD_RELOAD);
		if (p != NULL) {
			p->state = json_incref(more);
			pending_scan(p);
		}
	} else {
		agent_settle_if_touched(a);
		command_reply(call, with(json_pack("{s:s,s:s,s:o}", "status", "success", "message",
		                                   "Configuration refreshed successfully", "current_config",
		                                   document_current_config(a->s.config)),
		                         more));
	}
	json_decref(more);
	reload_details_free(&details);
}

const struct command_entry command_RELOAD = {.run = run, .timeout = timeout, .scan_ended = scan_ended, .clear = clear};
