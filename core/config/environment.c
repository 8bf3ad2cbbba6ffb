/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/sources.h"

#include "core/base/similar.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWN_PREFIX "AGENT_"

/* The value of name in the environment (of the first, as with getenv); NULL: unset or empty. */
static const char *lookup(char *const *environment, const char *name)
{
	size_t len = strlen(name);

	for (; *environment != NULL; environment++)
		if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
			return (*environment)[len + 1] != '\0' ? *environment + len + 1 : NULL;
	return NULL;
}

static const char *lower_case(const char *name, char *out, size_t size)
{
	size_t len = 0;

	for (; *name != '\0' && len + 1 < size; name++)
		out[len++] = (char)tolower((unsigned char)*name);
	out[len] = '\0';
	return out;
}

static void put_text(struct config *c, enum cfg_key k, const char *text, const char *origin, const char *where,
                     struct config_report *r)
{
	struct err e = ERR_INIT;
	struct value v;

	if (value_from_text(table_row(k), text, &v, &e) < 0)
		report_line(&r->errors, where, e.text);
	else if (config_put(c, k, &v, origin) < 0)
		report_line(&r->errors, where, "out of memory");
}

static void warn_unknown(char *const *environment, struct buf *warnings)
{
	for (; *environment != NULL; environment++) {
		char name[128];
		size_t len = strcspn(*environment, "=");
		enum cfg_key k;

		if (strncmp(*environment, OWN_PREFIX, strlen(OWN_PREFIX)) != 0 || len >= sizeof name)
			continue;
		snprintf(name, sizeof name, "%.*s", (int)len, *environment);
		if (table_find_env(name, &k) == 0)
			continue;
		struct similar similar = SIMILAR_TO(name);
		char where[160], what[240];

		for (unsigned i = 0; i < CFG_KEYS; i++)
			if (cfg_key_info((enum cfg_key)i)->env != NULL)
				similar_consider(&similar, cfg_key_info((enum cfg_key)i)->env);
		snprintf(where, sizeof where, "environment %s", name);
		snprintf(what, sizeof what, "unknown variable, ignored%s%s%s",
		         similar.best != NULL ? "; did you mean " : "", similar.best != NULL ? similar.best : "",
		         similar.best != NULL ? "?" : "");
		report_line(warnings, where, what);
	}
}

void config_apply_environment(struct config *c, char *const *environment, struct config_report *r)
{
	if (environment == NULL)
		return;
	for (unsigned k = 0; k < CFG_KEYS; k++) {
		const char *env = table_row((enum cfg_key)k)->info.env;
		const char *text = env != NULL ? lookup(environment, env) : NULL;
		char origin[160], lower[128];

		if (env != NULL && (table_row((enum cfg_key)k)->flags & KEY_LOWER) != 0) {
			const char *in_lower = lookup(environment, lower_case(env, lower, sizeof lower));

			env = in_lower != NULL ? lower : env;
			text = in_lower != NULL ? in_lower : text;
		}
		if (text == NULL || (k == CFG_SEARCH_TAVILY_KEY && user_config_is_placeholder(text)))
			continue;
		snprintf(origin, sizeof origin, "environment %s", env);
		put_text(c, (enum cfg_key)k, text, origin, origin, r);
	}
	warn_unknown(environment, &r->warnings);
}

/* --set NAME= sets it to nothing if that is allowed, otherwise to its default. */
static void set_empty(struct config *c, enum cfg_key k, struct config_report *r)
{
	const struct key_row *row = table_row(k);
	bool to_nothing = row->type == TYPE_LIST || (row->flags & KEY_TEXT) != 0 || row->info.def == NULL;

	put_text(c, k, to_nothing ? "" : row->info.def, "command line", "--set", r);
}

static void refuse_secret(enum cfg_key k, const char *where, struct config_report *r)
{
	const struct cfg_key_info *info = cfg_key_info(k);
	char what[256];

	snprintf(what, sizeof what,
	         "a secret on the command line shows in the process list; set %s in the configuration file or %s "
	         "in the environment",
	         info->path, info->env != NULL ? info->env : cfg_key_info(CFG_REDIS_PASSWORD)->env);
	report_line(&r->errors, where, what);
}

static void apply_set(struct config *c, const char *set, struct config_report *r)
{
	size_t len = strcspn(set, "=");
	char name[128], where[160], what[RENAMED_MAX];
	enum table_match match;
	enum cfg_key k;

	if (set[len] == '\0') {
		snprintf(where, sizeof where, "--set %.100s", set);
		report_line(&r->errors, where, "no value; write PATH=VALUE or VARIABLE=VALUE");
		return;
	}
	snprintf(name, sizeof name, "%.*s", len < sizeof name ? (int)len : (int)sizeof name - 1, set);
	snprintf(where, sizeof where, "--set %s", name);
	match = table_find(name, &k);
	if (match == TABLE_RENAMED)
		report_line(&r->warnings, where, config_renamed_text(name, k, what));
	if (match == TABLE_NONE && table_find_env(name, &k) < 0) {
		struct similar similar = SIMILAR_TO(name);
		char none[256];

		for (unsigned i = 0; i < CFG_KEYS; i++) {
			similar_consider(&similar, cfg_key_info((enum cfg_key)i)->path);
			if (cfg_key_info((enum cfg_key)i)->env != NULL)
				similar_consider(&similar, cfg_key_info((enum cfg_key)i)->env);
		}
		snprintf(none, sizeof none, "no such setting; %s%s%stt-agentctl config and tt-agent.conf(5) list all",
		         similar.best != NULL ? "did you mean " : "", similar.best != NULL ? similar.best : "",
		         similar.best != NULL ? "? " : "");
		report_line(&r->errors, where, none);
		return;
	}
	if (set[len + 1] == '\0')
		set_empty(c, k, r);
	else if (table_row(k)->info.secret ||
	         ((table_row(k)->flags & KEY_SCHEME) != 0 && config_url_has_password(set + len + 1)))
		refuse_secret(k, where, r);
	else
		put_text(c, k, set + len + 1, "command line", where, r);
}

void config_apply_sets(struct config *c, const char *const *sets, size_t count, struct config_report *r)
{
	for (size_t i = 0; i < count; i++)
		apply_set(c, sets[i], r);
}
