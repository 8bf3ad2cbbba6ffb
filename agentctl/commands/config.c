/* SPDX-License-Identifier: Apache-2.0 */
/* config: all settings, a group, or single ones. */
#include "agentctl/table.h"

#include <stdlib.h>
#include <string.h>

static char *value_text(const json_t *setting)
{
	const json_t *value = json_object_get(setting, "value");
	char list[4096];

	if (truth_of(setting, "secret"))
		return strdup(truth_of(setting, "set") ? "(secret)" : "");
	if (json_is_array(value)) {
		text_joined(value, list, sizeof list);
		return strdup(list);
	}
	if (value == NULL || json_is_null(value))
		return strdup("");
	return text_value(value);
}

static void show_config(const struct ctl *a, const json_t *document)
{
	static const struct table_column columns[] = {
		{.heading = "SETTING"}, {.heading = "VALUE", .limit = 60, .wraps = true}, {.heading = "ORIGIN"}};
	struct table *t = table_new(a, columns, sizeof columns / sizeof columns[0]);
	const char *path;
	json_t *setting;

	json_object_foreach((json_t *)(uintptr_t)document, path, setting)
	{
		const char *origin = text_of(setting, "origin");
		bool is_default = origin == NULL || strcmp(origin, "default") == 0;
		char *value = value_text(setting);

		table_add(t, COLOUR_NONE, path);
		table_add(t, is_default ? COLOUR_NONE : COLOUR_BOLD, value);
		table_add(t, is_default ? COLOUR_DIM : COLOUR_NONE, origin);
		free(value);
	}
	table_print(t);
	table_free(t);
}

static bool path_matches(const char *path, const char *wanted)
{
	size_t len = strlen(wanted);

	return strncmp(path, wanted, len) == 0 && (path[len] == '\0' || path[len] == '.');
}

static json_t *matching_settings(const struct ctl *a, const json_t *all, char *const *wanted, size_t count)
{
	json_t *some = json_object(), *value;
	const char *path;

	for (size_t i = 0; i < count; i++) {
		bool found = false;

		json_object_foreach((json_t *)(uintptr_t)all, path, value)
		{
			if (!path_matches(path, wanted[i]))
				continue;
			found = true;
			json_object_set(some, path, value);
		}
		if (!found) {
			char text[256];

			snprintf(text, sizeof text, "no such setting or group: %.200s", wanted[i]);
			a->output->problem(a, text);
			json_decref(some);
			return NULL;
		}
	}
	return some;
}

static enum ctl_exit run_config(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct ctl whole = *a;
	enum ctl_exit result = CTL_OK;
	json_t *all = ctl_call(a, c, json_object(), &result);
	json_t *some;

	if (all == NULL)
		return result;
	some = count > 0 ? matching_settings(a, all, args, count) : json_incref(all);
	whole.whole = count > 0;
	if (some != NULL)
		a->output->show(&whole, c, some);
	else
		result = CTL_USAGE;
	json_decref(some);
	json_decref(all);
	return result;
}

const struct ctl_command ctl_config = {
	.name = "config",
	.arguments = "[GROUP|SETTING]...",
	.max = SIZE_MAX,
	.manual = "Long values are shown in full when groups or settings are named.",
	.run = run_config,
	.show = show_config,
};
