/* SPDX-License-Identifier: Apache-2.0 */
/* reload: what changed, and what does not take effect yet. */
#include "agentctl/table.h"

#include <string.h>

static void show_changes(const struct ctl *a, const json_t *changes)
{
	static const struct table_column columns[] = {{.heading = "SETTING"},
	                                              {.heading = "OLD", .limit = 50, .wraps = true},
	                                              {.heading = "NEW", .limit = 50, .wraps = true}};
	struct table *t;
	const json_t *change;
	size_t i;

	if (json_array_size(changes) == 0) {
		text_field(a, "changed", COLOUR_NONE, "nothing");
		return;
	}
	t = table_new(a, columns, sizeof columns / sizeof columns[0]);
	json_array_foreach(changes, i, change)
	{
		table_add(t, COLOUR_NONE, text_of(change, "key"));
		table_add(t, COLOUR_NONE, text_of(change, "old"));
		table_add(t, COLOUR_BOLD, text_of(change, "new"));
	}
	table_print(t);
	table_free(t);
}

static void show_lines(const struct ctl *a, const char *label, enum colour colour, const json_t *lines)
{
	const json_t *line;
	size_t i;

	json_array_foreach(lines, i, line) text_field(a, label, colour, "%s", json_string_value(line));
}

static bool is_error(const json_t *document)
{
	const char *status = text_of(document, "status");

	return status != NULL && strcmp(status, "error") == 0;
}

static void show_reload(const struct ctl *a, const json_t *document)
{
	const json_t *errors = json_object_get(document, "errors"),
		     *pending = json_object_get(document, "restart_pending");
	struct ctl on_err = *a;

	on_err.out = a->err;
	on_err.colour = false;
	if (is_error(document)) {
		if (json_array_size(errors) > 0)
			show_lines(&on_err, "error", COLOUR_NONE, errors);
		else
			text_document(&on_err, document);
		show_lines(&on_err, "warning", COLOUR_NONE, json_object_get(document, "warnings"));
		text_field(&on_err, "", COLOUR_NONE, "the configuration that was in effect stays in effect");
		return;
	}
	text_document(a, document);
	if (json_is_false(json_object_get(document, "read")))
		text_field(a, "not read", COLOUR_YELLOW,
		           "config.dynamic is false: systemctl restart tt-agentd reads the configuration");
	else if (json_is_array(json_object_get(document, "changes")))
		show_changes(a, json_object_get(document, "changes"));
	show_lines(a, "restart", COLOUR_YELLOW, pending);
	if (json_array_size(pending) > 0)
		text_field(a, "", COLOUR_NONE, "takes effect when tt-agentd is restarted: systemctl restart tt-agentd");
	show_lines(a, "warning", COLOUR_YELLOW, json_object_get(document, "warnings"));
}

static enum ctl_exit run_reload(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	enum ctl_exit result = CTL_OK;
	json_t *document = ctl_call(a, c, json_object(), &result);
	bool restart;

	(void)args, (void)count;
	if (document == NULL)
		return result;
	restart = json_is_false(json_object_get(document, "read")) ||
	          json_array_size(json_object_get(document, "restart_pending")) > 0;
	result = ctl_finish(a, c, document);
	return result == CTL_OK && restart ? CTL_RESTART : result;
}

const struct ctl_command ctl_reload = {
	.name = "reload",
	.manual =
		"Shows the settings that changed (of secrets only whether they are set), those that need a restart, and "
		"warnings. A refused configuration changes nothing.",
	.run = run_reload,
	.show = show_reload,
};
