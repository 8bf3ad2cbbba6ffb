/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file. Nothing else knows libconfig. */
#include "core/config/config_text.h"
#include "core/config/mcp_servers.h"
#include "core/config/sources.h"

#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__clang__)
/* libconfig leaks the strings before a syntax error. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig.so";
}
#endif

struct walk {
	struct config *config;
	struct config_report *report;
	const struct config_text *text;
	unsigned broken_line;      /* of a syntax error: what stands there may be half a value; 0 = none */
	unsigned set_at[CFG_KEYS]; /* line of the text where a key was set first; 0 = not yet */
};

/* Adds "<file>:<line>: <what>" to lines, which are errors or warnings. */
static void report_at(const struct walk *w, struct buf *lines, unsigned line, const char *what)
{
	struct buf where = BUF_INIT(8192);

	(void)buf_addf(&where, "%s:%u", config_text_file(w->text, line), config_text_line(w->text, line));
	report_line(lines, where.data != NULL ? where.data : "configuration file", what);
	buf_free(&where);
}

static void complain(const struct walk *w, unsigned line, const char *what)
{
	report_at(w, &w->report->errors, line, what);
}

static void complain_about(const struct walk *w, const config_setting_t *s, const char *name, const char *what)
{
	struct buf text = BUF_INIT(8192);

	(void)buf_addf(&text, "%s %s", name, what);
	complain(w, config_setting_source_line(s), text.data != NULL ? text.data : what);
	buf_free(&text);
}

/* --- literals ------------------------------------------------------------------------ */

static int list_literal(const config_setting_t *s, struct literal *lit, const char ***items)
{
	unsigned count = (unsigned)config_setting_length(s);

	*items = calloc(count + 1, sizeof **items);
	if (*items == NULL)
		return -1;
	lit->kind = LITERAL_LIST;
	lit->items = *items;
	lit->count = count;
	for (unsigned i = 0; i < count; i++) {
		const config_setting_t *item = config_setting_get_elem(s, i);

		(*items)[i] = config_setting_type(item) == CONFIG_TYPE_STRING ? config_setting_get_string(item) : NULL;
		if ((*items)[i] == NULL)
			lit->kind = LITERAL_MIXED;
	}
	return 0;
}

/* A list of groups, or anything in one, as JSON; a new reference. NULL with e. */
static json_t *json_of(const config_setting_t *s, struct err *e)
{
	bool is_group = config_setting_is_group(s);
	json_t *all, *member;

	switch (config_setting_type(s)) {
	case CONFIG_TYPE_BOOL:
		return json_boolean(config_setting_get_bool(s) != 0);
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		return json_integer(config_setting_get_int64(s));
	case CONFIG_TYPE_FLOAT:
		return json_real(config_setting_get_float(s));
	case CONFIG_TYPE_STRING:
		member = json_string(config_setting_get_string(s));
		if (member == NULL)
			err_set(e, "a string is not valid UTF-8");
		return member;
	default:
		break;
	}
	all = is_group ? json_object() : json_array();
	for (unsigned i = 0; i < (unsigned)config_setting_length(s); i++) {
		const config_setting_t *item = config_setting_get_elem(s, i);
		const char *name = is_group ? config_text_name(config_setting_name(item)) : NULL;

		if (config_setting_type(item) == CONFIG_TYPE_NONE)
			continue; /* the parser stopped here */
		if (is_group && json_object_get(all, name) != NULL)
			err_set(e, "%.60s is set twice; allowed: once", name);
		member = err_is_set(e) ? NULL : json_of(item, e);
		if (member == NULL ||
		    (is_group ? json_object_set_new(all, name, member) : json_array_append_new(all, member)) < 0) {
			err_set(e, "out of memory");
			json_decref(all);
			return NULL;
		}
	}
	return all;
}

/* The text of a list of groups, free(). NULL with e. */
static char *servers_text(const config_setting_t *s, struct err *e)
{
	json_t *all = json_of(s, e);
	char *text = all != NULL ? json_dumps(all, JSON_COMPACT) : NULL;

	if (text == NULL)
		err_set(e, "out of memory");
	json_decref(all);
	return text;
}

/* *items is for the caller to free. */
static int read_literal(const config_setting_t *s, struct literal *lit, const char ***items)
{
	*lit = (struct literal){.kind = LITERAL_GROUP};
	switch (config_setting_type(s)) {
	case CONFIG_TYPE_BOOL:
		lit->kind = LITERAL_BOOL;
		lit->truth = config_setting_get_bool(s) != 0;
		return 0;
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		lit->kind = LITERAL_INT;
		lit->num = config_setting_get_int64(s);
		return 0;
	case CONFIG_TYPE_FLOAT:
		lit->kind = LITERAL_REAL;
		lit->real = config_setting_get_float(s);
		return 0;
	case CONFIG_TYPE_STRING:
		lit->kind = LITERAL_STRING;
		lit->str = config_setting_get_string(s);
		return 0;
	case CONFIG_TYPE_ARRAY:
	case CONFIG_TYPE_LIST:
		return list_literal(s, lit, items);
	default:
		return 0;
	}
}

/* --- settings ------------------------------------------------------------------------ */

static bool already_set(struct walk *w, const config_setting_t *s, enum cfg_key k)
{
	unsigned first = w->set_at[k];
	struct buf text = BUF_INIT(8192);

	if (first == 0) {
		w->set_at[k] = config_setting_source_line(s);
		return false;
	}
	(void)buf_addf(&text, "is set twice; allowed: once (first at %s:%u)", config_text_file(w->text, first),
	               config_text_line(w->text, first));
	complain_about(w, s, cfg_key_info(k)->path, text.data != NULL ? text.data : "is set twice");
	buf_free(&text);
	return true;
}

static void put_setting(struct walk *w, const config_setting_t *s, enum cfg_key k)
{
	unsigned line = config_setting_source_line(s);
	const struct key_row *row = table_row(k);
	struct buf origin = BUF_INIT(8192);
	const char **items = NULL;
	struct err e = ERR_INIT;
	struct literal lit;
	struct value v = value_unset();
	bool is_servers = (row->flags & KEY_SERVERS) != 0 && config_setting_is_aggregate(s);
	char *servers = NULL;

	(void)buf_addf(&origin, "%s:%u", config_text_file(w->text, line), config_text_line(w->text, line));
	if (is_servers) {
		servers = servers_text(s, &e);
		lit = (struct literal){.kind = LITERAL_STRING, .str = servers};
	}
	if (err_is_set(&e))
		err_prefix(&e, "%s", row->info.path);
	else if (origin.data == NULL || (!is_servers && read_literal(s, &lit, &items) < 0))
		err_set(&e, "%s: out of memory", row->info.path);
	else if (value_from_literal(row, &lit, &v, &e) < 0)
		err_prefix(&e, "%s", row->info.path);
	else if ((row->info.secret ||
	          ((row->flags & KEY_SCHEME) != 0 && v.str != NULL && config_url_has_password(v.str)) ||
	          ((row->flags & KEY_SERVERS) != 0 && v.str != NULL && mcp_servers_have_secrets(v.str))) &&
	         v.str != NULL && config_text_is_public(w->text, line))
		err_set(&e, "%s: a secret in a file that everybody can read; chmod o-r %s", row->info.path,
		        config_text_file(w->text, line));
	else if (config_put(w->config, k, &v, origin.data) < 0)
		err_set(&e, "%s: out of memory", row->info.path);
	if (err_is_set(&e))
		complain(w, line, e.text);
	value_free(&v);
	free(servers);
	free(items);
	buf_free(&origin);
}

static void unknown_setting(const struct walk *w, const config_setting_t *s, const char *group, const char *name)
{
	struct buf text = BUF_INIT(8192);
	enum cfg_key variable;

	(void)buf_addf(&text, "%s%s%.80s: no such %s", group != NULL ? group : "", group != NULL ? "." : "", name,
	               group != NULL ? "setting" : "group");
	if (table_find_env(name, &variable) == 0)
		(void)buf_addf(&text, "; it is a variable of the environment, here write %s: { %s = ...; }; ",
		               cfg_key_info(variable)->group, table_row(variable)->name);
	else
		table_suggest(group, name, &text);
	(void)buf_addf(&text, "allowed%s%s: ", group != NULL ? " in " : "", group != NULL ? group : "");
	table_names(group, &text);
	complain(w, config_setting_source_line(s), text.data != NULL ? text.data : "no such setting");
	buf_free(&text);
}

static void walk_group(struct walk *w, const config_setting_t *group, const char *group_name)
{
	for (unsigned i = 0; i < (unsigned)config_setting_length(group); i++) {
		const config_setting_t *s = config_setting_get_elem(group, i);
		const char *name = config_text_name(config_setting_name(s));
		struct buf path = BUF_INIT(8192);
		enum table_match match = TABLE_NONE;
		enum cfg_key k;

		if (config_setting_type(s) == CONFIG_TYPE_NONE || config_setting_source_line(s) == w->broken_line)
			continue; /* the parser stopped here */
		if (buf_addf(&path, "%s.%s", group_name, name) == 0)
			match = table_find(path.data, &k);
		if (match == TABLE_RENAMED) {
			char what[RENAMED_MAX];

			report_at(w, &w->report->warnings, config_setting_source_line(s),
			          config_renamed_text(path.data, k, what));
		}
		buf_free(&path);
		if (match == TABLE_NONE)
			unknown_setting(w, s, group_name, name);
		else if (!already_set(w, s, k))
			put_setting(w, s, k);
	}
}

static void walk_root(struct walk *w, const config_setting_t *root)
{
	for (unsigned i = 0; i < (unsigned)config_setting_length(root); i++) {
		const config_setting_t *s = config_setting_get_elem(root, i);
		const char *name = config_text_name(config_setting_name(s));

		if (config_setting_type(s) == CONFIG_TYPE_NONE)
			continue;
		if (!table_has_group(name))
			unknown_setting(w, s, NULL, name);
		else if (!config_setting_is_group(s))
			complain_about(w, s, name, "is a group; allowed: { NAME = VALUE; ... }");
		else
			walk_group(w, s, name);
	}
}

void config_apply_file(struct config *c, const char *path, struct config_report *r)
{
	struct config_text *text = config_text_read(path, &r->errors);
	struct walk w = {.config = c, .report = r, .text = text};
	bool broken, parsed_all = true;
	const char *problem;
	struct err e = ERR_INIT;
	unsigned line;
	config_t parsed;

	if (text == NULL)
		return;
	config_init(&parsed);
	broken = config_text_is_broken(text);
	if (!broken)
		parsed_all = config_read_string(&parsed, config_text_string(text)) == CONFIG_TRUE;
	problem = !parsed_all || broken ? config_text_problem(text, &line) : NULL;
	if (problem != NULL) {
		err_set(&e, "syntax error: %s", problem);
	} else if (!parsed_all) {
		err_set(&e, "%s; allowed: GROUP: { NAME = VALUE; ... };", config_error_text(&parsed));
		line = (unsigned)config_error_line(&parsed);
	}
	if (err_is_set(&e)) {
		complain(&w, line, e.text);
		w.broken_line = line;
	}
	if (!broken) /* Settings before a syntax error are checked as well. */
		walk_root(&w, config_root_setting(&parsed));
	config_destroy(&parsed);
	config_text_free(text);
}
