/* SPDX-License-Identifier: Apache-2.0 */
/* Who may use the service: the file of API keys, and the issuer's keys for tokens. */
#include "agentctl/doctor/doctor.h"
#include "agentctl/text.h"
#include "core/access/access.h"
#include "core/access/keys.h"
#include "core/base/clock.h"
#include "core/config/readfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define JWKS_OLD_S 900 /* tt-agentd requests them every five minutes */

/* --- API keys -------------------------------------------------------------------------------------- */

/* Some request needs a key. */
static bool is_required(const struct config *c)
{
	const char *require = cfg_str(c, CFG_ACCESS_REQUIRE);

	return strcmp(require, "all") == 0 || (strcmp(require, "api") == 0 && cfg_bool(c, CFG_HTTP_API));
}

static bool takes_tokens(const struct config *c)
{
	return cfg_str(c, CFG_ACCESS_JWT_ISSUER) != NULL && cfg_str(c, CFG_ACCESS_JWT_AUDIENCE) != NULL &&
	       (cfg_str(c, CFG_ACCESS_JWT_JWKS_URL) != NULL || cfg_is_set(c, CFG_ACCESS_JWT_SECRET));
}

/* As turns judge it: by the id at the server, or by the name. */
static bool may_use(const struct access_identity *who, const json_t *model)
{
	const char *id = text_of(model, "model"), *name = text_of(model, "model_name");

	return (id != NULL && access_may_use_model(who, id)) || (name != NULL && access_may_use_model(who, name)) ||
	       (id == NULL && name == NULL && access_may_use_model(who, ""));
}

/* False also where none is known, so that nothing can be said. */
static bool may_use_none(const struct doctor *d, const struct access_identity *who)
{
	const json_t *models = json_object_get(d->models, "models"), *model;
	size_t i;

	json_array_foreach(models, i, model)
	{
		if (may_use(who, model))
			return false;
	}
	return d->answers && json_array_size(models) > 0;
}

/* One line of the file; returns whether somebody can use its key. */
static bool check_key(struct doctor *d, const struct keys *keys, const json_t *record, const char *place)
{
	const char *id = text_of(record, "id");
	const struct key *key = id != NULL ? keys_find_id(keys, id) : NULL;
	char models[400] = "", since[80];

	if (key == NULL || key->revoked)
		return false;
	if (key->expires_ms != 0 && key->expires_ms <= clock_wall_ms()) {
		text_ago((double)key->expires_ms / 1000, since, sizeof since);
		doctor_find(d, FINDING_KEY_EXPIRED, id, "the key %s expired %s", id, since);
		return false;
	}
	text_joined(json_object_get(record, "models"), models, sizeof models);
	if (may_use_none(d, &key->identity->known))
		doctor_find(d, FINDING_KEY_MODELS, place, "the key %s may use %s, and no LLM is called so", id,
		            models[0] != '\0' ? models : "no model");
	return true;
}

static size_t check_lines(struct doctor *d, const char *file, const struct keys *keys, const struct buf *text)
{
	size_t usable = 0, len;
	unsigned line = 0;

	for (const char *at = text->data; at != NULL && at < text->data + text->len; at += len + 1) {
		const char *end = memchr(at, '\n', (size_t)(text->data + text->len - at));
		char place[1200];
		json_t *record;

		len = end != NULL ? (size_t)(end - at) : (size_t)(text->data + text->len - at);
		record = json_loadb(at, len, JSON_REJECT_DUPLICATES, NULL);
		snprintf(place, sizeof place, "+%u %s", ++line, file);
		if (key_check(record, NULL) == 0)
			usable += check_key(d, keys, record, place);
		json_decref(record);
	}
	return usable;
}

/* "line 3: not a JSON object" */
static void find_faults(struct doctor *d, const char *file, const struct buf *faults)
{
	size_t len;

	for (const char *at = faults->data; at != NULL && *at != '\0'; at += len + (at[len] == '\n')) {
		const char *number = at + strcspn(at, "0123456789");
		int digits = (int)strspn(number, "0123456789");
		char place[1200];

		len = strcspn(at, "\n");
		snprintf(place, sizeof place, "+%.*s %s", digits, number, file);
		doctor_find(d, FINDING_KEY_MALFORMED, place, "%s:%.*s", file, (int)(at + len - number), number);
	}
}

static size_t check_text(struct doctor *d, const char *file, const struct buf *text)
{
	struct buf faults = BUF_INIT(65536);
	struct err e = ERR_INIT;
	struct keys *keys = keys_parse(text->len > 0 ? text->data : "", text->len, &faults, &e);
	size_t usable = 0;

	if (keys != NULL) {
		find_faults(d, file, &faults);
		usable = check_lines(d, file, keys, text);
	}
	keys_free(keys);
	buf_free(&faults);
	return usable;
}

static void check_keys(struct doctor *d)
{
	const char *file = cfg_str(d->config, CFG_ACCESS_KEYS_FILE);
	struct buf text = BUF_INIT(KEYS_FILE_MAX);
	struct err e = ERR_INIT;
	struct stat st;
	size_t usable = 0;
	int may = doctor_responder_may(d, file, R_OK), error = errno;

	if (may == 0 && error != ENOENT) {
		doctor_find(d, FINDING_KEYS_UNREADABLE, file, "open %s: %s (the service runs as %s)", file,
		            strerror(error), d->user);
		goto out;
	}
	if (readfile(file, &text, &st, &e) < 0) {
		if (errno == EACCES)
			doctor_skip(d, "the API keys", "%s", e.text);
		else if (errno != ENOENT)
			doctor_find(d, FINDING_KEYS_UNREADABLE, file, "%s", e.text);
		if (errno != ENOENT)
			goto out;
	} else if (keys_check_file(file, &st, d->responder.pid != 0 ? d->responder.user.uid : d->uid, &e) < 0) {
		doctor_find(d, FINDING_KEYS_PUBLIC, file, "%s", e.text);
		goto out;
	} else {
		usable = check_text(d, file, &text);
	}
	if (usable == 0 && is_required(d->config) && !takes_tokens(d->config) &&
	    cfg_str(d->config, CFG_HTTP_SUBJECT_HEADER) == NULL)
		doctor_find(d, FINDING_NO_KEY, file,
		            "access.require is %s (%s), but no valid key is in %s: only users whom the web server "
		            "authenticates can use the service",
		            cfg_str(d->config, CFG_ACCESS_REQUIRE), cfg_origin(d->config, CFG_ACCESS_REQUIRE), file);
out:
	buf_free(&text);
}

/* --- tokens ------------------------------------------------------------------------------------------ */

static void check_token_settings(struct doctor *d)
{
	static const enum cfg_key wanted[] = {CFG_ACCESS_JWT_ISSUER, CFG_ACCESS_JWT_AUDIENCE};
	bool has_keys =
		cfg_str(d->config, CFG_ACCESS_JWT_JWKS_URL) != NULL || cfg_is_set(d->config, CFG_ACCESS_JWT_SECRET);
	bool is_wanted = has_keys;

	for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
		is_wanted |= cfg_str(d->config, wanted[i]) != NULL;
	for (size_t i = 0; is_wanted && i < sizeof wanted / sizeof wanted[0]; i++)
		if (cfg_str(d->config, wanted[i]) == NULL)
			doctor_find(d, FINDING_JWT_INCOMPLETE, cfg_key_info(wanted[i])->path,
			            "no token is accepted without %s", cfg_key_info(wanted[i])->path);
	if (is_wanted && !has_keys)
		doctor_find(d, FINDING_JWT_INCOMPLETE, cfg_key_info(CFG_ACCESS_JWT_JWKS_URL)->path,
		            "no token is accepted without %s or %s", cfg_key_info(CFG_ACCESS_JWT_JWKS_URL)->path,
		            cfg_key_info(CFG_ACCESS_JWT_SECRET)->path);
}

static void check_jwks(struct doctor *d)
{
	static const char *const contents[] = {"not a JSON object", "can be used"}; /* words on what came */
	const char *url = cfg_str(d->config, CFG_ACCESS_JWT_JWKS_URL);
	char path[4200], since[80], goes_on[160];
	enum finding f = FINDING_JWKS_FAILED;
	struct stat st = {.st_mtime = 0};
	bool stored;

	if (url == NULL || !takes_tokens(d->config))
		return;
	snprintf(path, sizeof path, "%s/" ACCESS_JWKS_FILE, d->a->run_dir);
	stored = stat(path, &st) == 0;
	text_ago((double)st.st_mtime, since, sizeof since);
	if (stored)
		snprintf(goes_on, sizeof goes_on, "tokens are checked with the keys that came %s", since);
	else
		snprintf(goes_on, sizeof goes_on, "no token that they signed is accepted");
	for (size_t i = 0; d->jwks_error[0] != '\0' && i < sizeof contents / sizeof contents[0]; i++)
		if (strstr(d->jwks_error, contents[i]) != NULL)
			f = FINDING_JWKS_UNUSABLE;
	if (d->jwks_error[0] != '\0')
		doctor_find(d, f, url, "%s: %s; %s", url, d->jwks_error, goes_on);
	else if (stored && clock_wall_ms() / 1000 - st.st_mtime > JWKS_OLD_S)
		doctor_find(d, FINDING_JWKS_OLD, url, "%s was last requested %s", url, since);
}

void check_access(struct doctor *d)
{
	if (d->config == NULL) {
		doctor_skip(d, "API keys and tokens", "the settings in effect are not known");
	} else if (strcmp(cfg_str(d->config, CFG_ACCESS_REQUIRE), "none") != 0) {
		check_keys(d);
		check_token_settings(d);
		check_jwks(d);
	}
}
