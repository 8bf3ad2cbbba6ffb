/* SPDX-License-Identifier: Apache-2.0 */
#include "core/llm/deployments.h"

#include "core/base/buf.h"
#include "core/base/json_text.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 4096 /* bytes of one value */

void llm_list_clear(struct llm_list *l)
{
	for (size_t i = 0; i < l->count; i++)
		llm_clear(&l->items[i]);
	free(l->items);
	*l = (struct llm_list){.items = NULL};
}

/* ---- lists that jansson refuses as a whole for one character or number of one entry ---- */

/* Takes the place of what no text can have: NUL, half of a surrogate pair, bytes that are not UTF-8. It is
 * U+FDD0, which Unicode assigns to no character, so an entry with it is left out. */
#define NO_CHARACTER "\xef\xb7\x90"

static json_t *load(const char *json, size_t len, json_error_t *je)
{
	json_t *doc = json_loadb(json, len, JSON_DECODE_INT_AS_REAL, je);
	struct buf repaired = BUF_INIT(3 * len);
	json_error_t ignored;

	if (doc != NULL || json_text_repair(json, len, NO_CHARACTER, &repaired) < 0)
		goto out;
	doc = json_loadb(repaired.data, repaired.len, JSON_DECODE_INT_AS_REAL, &ignored);
out:
	buf_free(&repaired);
	return doc;
}

/* ---- entries ---- */

/* One text of an entry; absent, null and "" all mean unknown. */
struct text_field {
	const char *key;
	size_t offset; /* in struct llm */
	bool required;
};

static const struct text_field entry_fields[] = {
	{"name", offsetof(struct llm, container_name), false},
	{"internal_url", offsetof(struct llm, internal_url), true},
	{"health_url", offsetof(struct llm, health_url), true},
	{"jwt_secret", offsetof(struct llm, jwt_secret), false},
};

static const struct text_field model_fields[] = {
	{"model_name", offsetof(struct llm, model_name), false},
	{"model_type", offsetof(struct llm, model_type), false},
	{"hf_model_id", offsetof(struct llm, hf_model_id), false},
};

static int take_texts(struct llm *l, const json_t *from, const struct text_field *fields, size_t count, struct err *why)
{
	for (size_t i = 0; i < count; i++) {
		const json_t *value = json_object_get(from, fields[i].key);
		char **to = (char **)(void *)((char *)l + fields[i].offset);

		if (value != NULL && !json_is_string(value) && !json_is_null(value))
			return err_set(why, "%s is not a string", fields[i].key);
		if (value != NULL && json_is_string(value) && strstr(json_string_value(value), NO_CHARACTER) != NULL)
			return err_set(why, "%s contains NUL, half of a surrogate pair or invalid UTF-8",
			               fields[i].key);
		if (json_string_length(value) > TEXT_MAX)
			return err_set(why, "%s is longer than %d bytes", fields[i].key, TEXT_MAX);
		if (json_string_length(value) == 0) {
			if (fields[i].required)
				return err_set(why, "%s is missing", fields[i].key);
			continue;
		}
		*to = strdup(json_string_value(value));
		if (*to == NULL)
			return err_set(why, "out of memory");
	}
	return 0;
}

static enum llm_tools tools_of(const json_t *entry)
{
	const json_t *value = json_object_get(entry, "tool_calling_enabled");

	if (!json_is_boolean(value))
		return LLM_TOOLS_UNKNOWN;
	return json_is_true(value) ? LLM_TOOLS_YES : LLM_TOOLS_NO;
}

/* Where requests and probes go. */
static int take_urls(struct llm *l, const struct config *c, struct err *why)
{
	char *url = llm_map_host(l->internal_url, c, why);
	int result = url != NULL ? llm_set_url(l, url, why) : -1;

	free(url);
	if (result < 0) {
		err_prefix(why, "internal_url");
		return -1;
	}
	url = llm_map_host(l->health_url, c, why);
	l->probe_url = url != NULL ? llm_full_url(url, "/health", why) : NULL;
	free(url);
	if (l->probe_url == NULL) {
		err_prefix(why, "health_url");
		return -1;
	}
	return 0;
}

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static int take_entry(struct llm *l, const char *deploy_id, const json_t *entry, const struct config *c,
                      struct err *why)
{
	const json_t *model = json_object_get(entry, "model_impl");

	*l = (struct llm){.kind = LLM_DISCOVERED, .latency_ms = -1};
	if (!json_is_object(entry))
		return err_set(why, "the entry is not an object");
	if (deploy_id[0] == '\0' || strlen(deploy_id) > TEXT_MAX)
		return err_set(why, "the deploy_id is empty or longer than %d bytes", TEXT_MAX);
	if (strstr(deploy_id, NO_CHARACTER) != NULL)
		return err_set(why, "the deploy_id contains NUL, half of a surrogate pair or invalid UTF-8");
	if (model != NULL && !json_is_object(model) && !json_is_null(model))
		return err_set(why, "model_impl is not an object");
	l->deploy_id = strdup(deploy_id);
	if (l->deploy_id == NULL)
		return err_set(why, "out of memory");
	if (take_texts(l, entry, entry_fields, COUNT(entry_fields), why) < 0 ||
	    take_texts(l, model, model_fields, COUNT(model_fields), why) < 0)
		return -1;
	l->tools = tools_of(entry);
	if (take_urls(l, c, why) < 0)
		return -1;
	if (llm_choose_model(l, c, NULL) < 0)
		return err_set(why, "out of memory");
	return 0;
}

/* At least one value has the form of an entry, or there are no values. */
static bool has_right_form(json_t *doc)
{
	const char *key;
	json_t *value;

	if (json_object_size(doc) == 0)
		return true;
	json_object_foreach(doc, key, value) if (json_is_object(value)) return true;
	return false;
}

/* -1: out of memory. An entry that was left out for that would look as if it were gone. */
static int take_all(struct llm_list *out, json_t *doc, const struct config *c, deployments_skipped_fn *skipped,
                    void *arg)
{
	const char *deploy_id;
	json_t *entry;

	json_object_foreach(doc, deploy_id, entry)
	{
		struct err why = ERR_INIT;

		if (out->count == DEPLOYMENTS_MAX) {
			if (skipped != NULL)
				skipped(arg, deploy_id, "too many deployments; this one and all after it are ignored");
			return 0;
		}
		errno = 0;
		if (take_entry(&out->items[out->count], deploy_id, entry, c, &why) == 0) {
			out->count++;
			continue;
		}
		llm_clear(&out->items[out->count]);
		if (errno == ENOMEM)
			return -1;
		if (skipped != NULL)
			skipped(arg, deploy_id, why.text);
	}
	return 0;
}

int deployments_parse(const char *json, size_t len, const struct config *c, struct llm_list *out,
                      deployments_skipped_fn *skipped, void *arg, struct err *e)
{
	json_error_t je;
	json_t *doc = load(json, len, &je);
	size_t room;
	int result = -1;

	*out = (struct llm_list){.items = NULL};
	if (doc == NULL)
		return err_set(e, "the list of deployments is not JSON: %s (line %d, column %d)", je.text, je.line,
		               je.column);
	if (!json_is_object(doc) || !has_right_form(doc)) {
		err_set(e,
		        "the list of deployments has the wrong form; expected an object with a member "
		        "deploy_id: {...} for each");
		goto out;
	}
	room = json_object_size(doc);
	if (room > DEPLOYMENTS_MAX)
		room = DEPLOYMENTS_MAX;
	out->items = calloc(room + 1, sizeof *out->items);
	if (out->items == NULL) {
		err_set(e, "out of memory");
		goto out;
	}
	result = take_all(out, doc, c, skipped, arg);
	if (result < 0) {
		llm_list_clear(out);
		err_set(e, "out of memory");
	}
out:
	json_decref(doc);
	return result;
}
