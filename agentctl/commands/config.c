/* SPDX-License-Identifier: Apache-2.0 */
/* config: all settings, a group, or single ones; config explain: one of them. */
#include "agentctl/table.h"
#include "core/config/table.h"

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

static void no_such_setting(const struct ctl *a, const char *name)
{
	struct buf text = BUF_INIT(8192);
	const char *dot = strchrnul(name, '.');
	char group[64];

	snprintf(group, sizeof group, "%.*s", (int)(dot - name), name);
	if (table_has_group(group) && *dot == '\0') {
		(void)buf_addf(&text, "%s is a group of settings; in it are ", name);
		table_names(name, &text);
	} else {
		(void)buf_addf(&text, "no such setting or group: %.200s", name);
		table_suggest(table_has_group(group) ? group : NULL, table_has_group(group) ? dot + 1 : group, &text);
		(void)buf_adds(&text, "tt-agentctl config shows all of them");
	}
	a->output->problem(a, text.data);
	buf_free(&text);
}

/* From the settings; a new reference. */
static json_t *matching_settings(const json_t *all, const char *wanted)
{
	json_t *some = json_object(), *value;
	const char *path;

	json_object_foreach((json_t *)(uintptr_t)all, path, value)
	{
		if (path_matches(path, wanted))
			json_object_set(some, path, value);
	}
	return some;
}

/* NULL: one of those that are wanted is not there, which was said. */
static json_t *wanted_settings(const struct ctl *a, const json_t *all, char *const *wanted, size_t count)
{
	json_t *some = json_object();

	for (size_t i = 0; i < count; i++) {
		json_t *found = matching_settings(all, wanted[i]);

		if (json_object_size(found) == 0) {
			no_such_setting(a, wanted[i]);
			json_decref(found);
			json_decref(some);
			return NULL;
		}
		json_object_update(some, found);
		json_decref(found);
	}
	return some;
}

/* The defaults, in the form of the daemon's answer. */
static json_t *default_settings(void)
{
	const struct config_source nothing = {.file = NULL};
	struct config_report report;
	struct config *c;
	json_t *j;

	config_report_init(&report);
	c = config_load(&nothing, &report);
	j = c != NULL ? config_to_json(c, false) : NULL;
	config_unref(c);
	config_report_free(&report);
	return j;
}

/* A setting that is set to its default does not differ. */
static void remove_defaults(json_t *settings)
{
	json_t *defaults = default_settings(), *setting;
	const char *path;
	void *next;

	json_object_foreach_safe(settings, next, path, setting)
	{
		const json_t *usual = json_object_get(defaults, path);

		if (json_equal(json_object_get(setting, "value"), json_object_get(usual, "value")) &&
		    truth_of(setting, "set") == truth_of(usual, "set"))
			json_object_del(settings, path);
	}
	json_decref(defaults);
}

static enum ctl_exit run_config(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	struct ctl whole = *a;
	enum ctl_exit result = CTL_OK;
	json_t *all = ctl_call(a, c, json_object(), &result);
	json_t *some;

	if (all == NULL)
		return result;
	some = count > 0 ? wanted_settings(a, all, args, count) : json_copy(all);
	whole.whole = count > 0 || a->changed;
	if (some != NULL && a->changed)
		remove_defaults(some);
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
	.manual =
		"With --changed only those that differ from the defaults. Long values are shown in full when groups or settings "
		"are named, or with --changed.",
	.run = run_config,
	.show = show_config,
};

/* --- explain ----------------------------------------------------------------------------- */

/* The setting of that path, former path or variable. */
static bool find_setting(const char *name, enum cfg_key *k)
{
	return table_find(name, k) != TABLE_NONE || table_find_env(name, k) == 0;
}

/* Whether the text has the path, and not only the beginning of another. */
static bool mentions(const char *text, const char *path)
{
	size_t len = strlen(path);

	for (const char *at = text; (at = strstr(at, path)) != NULL; at += len)
		if (at[len] != '_' && (at[len] < 'a' || at[len] > 'z') &&
		    (at == text || (at[-1] != '_' && at[-1] != '.')))
			return true;
	return false;
}

/* Those that it mentions, those that mention it, and the rest of its group. */
static json_t *related_to(const struct cfg_key_info *info)
{
	json_t *first = json_array(), *rest = json_array();

	for (unsigned i = 0; i < CFG_KEYS; i++) {
		const struct cfg_key_info *other = cfg_key_info((enum cfg_key)i);

		if (other == info || other->old)
			continue;
		if (mentions(info->help, other->path) || mentions(other->help, info->path))
			json_array_append_new(first, json_string(other->path));
		else if (strcmp(other->group, info->group) == 0)
			json_array_append_new(rest, json_string(other->path));
	}
	json_array_extend(first, rest);
	json_decref(rest);
	return first;
}

static const char *type_of(const struct key_row *row)
{
	static const char *const types[] = {
		[TYPE_BOOL] = "true or false",
		[TYPE_INT] = "whole number",
		[TYPE_REAL] = "number",
		[TYPE_TIME] = "time in seconds, with fractions",
		[TYPE_SIZE] = "size in bytes",
		[TYPE_STRING] = "text",
		[TYPE_URL] = "URL",
		[TYPE_ENUM] = "one of several words",
		[TYPE_LIST] = "list of texts",
	};

	return types[row->type];
}

/* As it is written in the file; NULL: unset. */
static json_t *default_of(const struct cfg_key_info *info)
{
	json_t *all = default_settings(),
	       *value = json_incref(json_object_get(json_object_get(all, info->path), "value"));

	json_decref(all);
	return value != NULL ? value : json_null();
}

static json_t *explain(const struct ctl *a, enum cfg_key k)
{
	const struct key_row *row = table_row(k);
	const struct cfg_key_info *info = &row->info;
	json_t *all = ctl_request(a, CMD_CONFIG, json_object()), *now = json_object_get(all, info->path);
	char allowed[1024];
	json_t *document;

	table_allowed(row, allowed, sizeof allowed);
	document = json_pack("{s:s, s:s, s:s, s:s, s:s?, s:o, s:s?, s:s?, s:b, s:b, s:o}", "setting", info->path,
	                     "help", info->help, "type", type_of(row), "allowed", allowed, "unit",
	                     row->type == TYPE_ENUM || (row->type == TYPE_STRING && info->unit != NULL) ||
	                                     row->type == TYPE_LIST
	                             ? NULL
	                             : info->unit,
	                     "default", default_of(info), "environment", info->env, "former_name", table_former_path(k),
	                     "secret", info->secret, "restart", info->restart, "related", related_to(info));
	if (now != NULL) {
		json_object_set(document, "value", json_object_get(now, "value"));
		json_object_set(document, "origin", json_object_get(now, "origin"));
		if (info->secret)
			json_object_set(document, "set", json_object_get(now, "set"));
	}
	json_decref(all);
	return document;
}

/* "180 s"; "unset" where there is none. */
static char *shown_value(const json_t *setting, const char *unit)
{
	char *value = value_text(setting), *text = NULL;

	if (value != NULL && *value == '\0' && asprintf(&text, "unset") < 0)
		text = NULL;
	else if (value != NULL && *value != '\0' &&
	         asprintf(&text, "%s%s%s", value, unit != NULL ? " " : "", unit != NULL ? unit : "") < 0)
		text = NULL;
	free(value);
	return text;
}

static void show_explain(const struct ctl *a, const json_t *document)
{
	const char *origin = text_of(document, "origin"), *unit = text_of(document, "unit");
	json_t *usual = json_pack("{s:O}", "value", json_object_get(document, "default"));
	char *now = shown_value(document, unit), *initial = shown_value(usual, unit);
	char related[4096];
	bool restart = truth_of(document, "restart");

	text_put(a->out, a->colour, COLOUR_BOLD, text_of(document, "setting"));
	fputc('\n', a->out);
	text_put(a->out, false, COLOUR_NONE, text_of(document, "help"));
	fputs("\n\n", a->out);
	if (origin != NULL)
		text_field(a, "value", COLOUR_BOLD, "%s (%s)", now != NULL ? now : "", origin);
	else
		text_field(a, "value", COLOUR_YELLOW, "not known: tt-agentd does not answer");
	text_optional_field(a, "default", initial);
	text_optional_field(a, "type", text_of(document, "type"));
	text_optional_field(a, "allowed", text_of(document, "allowed"));
	text_optional_field(a, "variable", text_of(document, "environment"));
	text_optional_field(a, "former name", text_of(document, "former_name"));
	text_field(a, "in effect", COLOUR_NONE, "%s",
	           restart ? "with a restart: systemctl restart tt-agentd" : "with tt-agentctl reload");
	text_joined(json_object_get(document, "related"), related, sizeof related);
	text_optional_field(a, "see also", related);
	json_decref(usual);
	free(initial);
	free(now);
}

static enum ctl_exit run_explain(const struct ctl *a, const struct ctl_command *c, char *const *args, size_t count)
{
	enum cfg_key k;
	json_t *document;

	(void)count;
	if (!find_setting(args[0], &k)) {
		no_such_setting(a, args[0]);
		return CTL_USAGE;
	}
	document = explain(a, k);
	a->output->show(a, c, document);
	json_decref(document);
	return CTL_OK;
}

const struct ctl_command ctl_config_explain = {
	.name = "config explain",
	.arguments = "SETTING",
	.min = 1,
	.max = 1,
	.help = "What a setting means, what it may be, its value and origin, and when a change takes effect.",
	.manual = "SETTING is a setting, or its variable. It needs no daemon, which only adds the value.",
	.run = run_explain,
	.show = show_explain,
};
