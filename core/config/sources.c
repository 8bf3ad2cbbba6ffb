/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/sources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const enum cfg_key user_keys[USER_KEYS] = {CFG_SEARCH_TAVILY_KEY, CFG_AUTH_JWT_SECRET};

/* Applies user_config.env to what no --set has set, and keeps the values that it overrides. */
static int apply_user_config(struct config *c, struct config_report *r)
{
	const char *volume = cfg_str(c, CFG_AUTH_VOLUME);
	const char *texts[USER_KEYS];
	struct user_config u;

	for (size_t i = 0; i < USER_KEYS; i++) {
		value_free(&c->overridden[i]);
		if (value_copy(table_row(user_keys[i]), &c->values[user_keys[i]], &c->overridden[i]) < 0) {
			report_line(&r->errors, "configuration", "out of memory");
			return -1;
		}
	}
	if (volume == NULL)
		return 0;
	user_config_read(volume, &u, &r->warnings);
	texts[0] = u.tavily_api_key;
	texts[1] = u.jwt_secret;
	for (size_t i = 0; i < USER_KEYS; i++) {
		struct err e = ERR_INIT;
		struct value v;

		if (texts[i] == NULL || strcmp(cfg_origin(c, user_keys[i]), "command line") == 0)
			continue;
		if (value_from_text(table_row(user_keys[i]), texts[i], &v, &e) < 0)
			report_line(&r->warnings, u.path, e.text);
		else if (config_put(c, user_keys[i], &v, u.path) < 0)
			report_line(&r->errors, u.path, "out of memory");
	}
	user_config_free(&u);
	return 0;
}

static bool is_command_line(const struct config *c, enum cfg_key k)
{
	return strcmp(cfg_origin(c, k), "command line") == 0;
}

/* threads.file, a path or the word memory, became threads.store. */
static int translate_threads_file(struct config *c, const struct value *file, struct config_report *r)
{
	bool memory = strcmp(file->str, "memory") == 0, overrides = strcmp(file->origin, "command line") == 0;
	struct value store = value_unset();
	struct err e = ERR_INIT;
	char url[1200], where[512], what[1400];

	snprintf(where, sizeof where, "threads.file (%s)", file->origin);
	snprintf(url, sizeof url, "%s%s", memory ? "memory:" : "sqlite:", memory ? "" : file->str);
	if (cfg_is_set(c, CFG_THREADS_STORE) && strcmp(cfg_str(c, CFG_THREADS_STORE), url) != 0 &&
	    (!overrides || is_command_line(c, CFG_THREADS_STORE))) {
		bool overridden = !overrides && is_command_line(c, CFG_THREADS_STORE);

		snprintf(what, sizeof what, "%s threads.store (%s); remove threads.file, its old form",
		         overridden ? "is overridden by" : "contradicts", cfg_origin(c, CFG_THREADS_STORE));
		report_line(overridden ? &r->warnings : &r->errors, where, what);
		return 0;
	}
	if (value_from_text(table_row(CFG_THREADS_STORE), url, &store, &e) < 0 ||
	    config_put(c, CFG_THREADS_STORE, &store, file->origin) < 0)
		return -1;
	snprintf(what, sizeof what, "is the old form of threads.store; write threads.store = \"%s\"", url);
	report_line(&r->warnings, where, what);
	return 0;
}

void config_apply_old_settings(struct config *c, struct config_report *r)
{
	struct value file = c->values[CFG_THREADS_FILE];

	c->values[CFG_THREADS_FILE] = value_unset();
	if (file.str != NULL && translate_threads_file(c, &file, r) < 0)
		report_line(&r->errors, "threads.file", "is too long, or out of memory");
	value_free(&file);
}

struct config *config_load(const struct config_source *src, struct config_report *r)
{
	struct err e = ERR_INIT;
	struct config *c = config_new(&e);
	struct value *tavily;

	if (c == NULL) {
		report_line(&r->errors, "configuration", e.text);
		return NULL;
	}
	if (src->file != NULL)
		config_apply_file(c, src->file, r);
	config_apply_environment(c, src->environment, r);
	config_apply_sets(c, src->sets, src->set_count, r);
	config_apply_old_settings(c, r);
	tavily = &c->values[CFG_SEARCH_TAVILY_KEY];
	if (tavily->str != NULL && user_config_is_placeholder(tavily->str)) {
		free(tavily->str);
		tavily->str = NULL;
	}
	(void)apply_user_config(c, r);
	if (r->errors.len > 0) {
		config_unref(c);
		return NULL;
	}
	config_advise(c, &r->warnings);
	return c;
}

struct config *config_with_user_config(const struct config *c, struct config_report *r)
{
	struct err e = ERR_INIT;
	struct config *fresh = config_copy(c, &e);

	if (fresh == NULL) {
		report_line(&r->errors, "configuration", e.text);
		return NULL;
	}
	for (size_t i = 0; i < USER_KEYS; i++) {
		struct value *v = &fresh->values[user_keys[i]];

		value_free(v);
		*v = fresh->overridden[i];
		fresh->overridden[i] = value_unset();
	}
	if (apply_user_config(fresh, r) < 0 || r->errors.len > 0) {
		config_unref(fresh);
		return NULL;
	}
	return fresh;
}

/* --- advice ----------------------------------------------------------------------- */

#define HEALTH_INTERVAL_ADVISED_MS 10000

static void advise(struct buf *warnings, const struct config *c, enum cfg_key k, const char *what)
{
	char where[512];

	snprintf(where, sizeof where, "%s (%s)", cfg_key_info(k)->path, cfg_origin(c, k));
	report_line(warnings, where, what);
}

void config_advise(const struct config *c, struct buf *warnings)
{
	bool token = cfg_str(c, CFG_CLOUD_TOKEN) != NULL;

	if (cfg_bool(c, CFG_HEALTH_ENABLED) && cfg_ms(c, CFG_HEALTH_INTERVAL) < HEALTH_INTERVAL_ADVISED_MS)
		advise(warnings, c, CFG_HEALTH_INTERVAL, "below 10 seconds: probes may burden a busy LLM");
	if (cfg_bool(c, CFG_HEALTH_ENABLED) && cfg_ms(c, CFG_HEALTH_TIMEOUT) > cfg_ms(c, CFG_HEALTH_INTERVAL))
		advise(warnings, c, CFG_HEALTH_TIMEOUT, "longer than health.interval");
	if (cfg_bool(c, CFG_CLOUD_ENABLED) && !token)
		advise(warnings, c, CFG_CLOUD_ENABLED,
		       "no effect without cloud.token (CLOUD_CHAT_UI_AUTH_TOKEN); other LLMs are used");
	if (cfg_str(c, CFG_CLOUD_CA_FILE) != NULL && access(cfg_str(c, CFG_CLOUD_CA_FILE), R_OK) < 0)
		advise(warnings, c, CFG_CLOUD_CA_FILE,
		       "this file cannot be read, so https to the cloud endpoint will fail");
	if (cfg_bool(c, CFG_CLOUD_FALLBACK) && !token)
		advise(warnings, c, CFG_CLOUD_FALLBACK, "no effect without cloud.token (CLOUD_CHAT_UI_AUTH_TOKEN)");
	if (!token && cfg_str(c, CFG_AUTH_JWT_SECRET) == NULL)
		advise(warnings, c, CFG_AUTH_JWT_SECRET,
		       "no authentication at all: neither auth.jwt_secret (JWT_SECRET) nor cloud.token "
		       "(CLOUD_CHAT_UI_AUTH_TOKEN) is set, so requests to LLMs carry no token");
}
