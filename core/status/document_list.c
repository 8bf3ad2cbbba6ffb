/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/document_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Text from the environment may be invalid UTF-8; a document must be valid. */
json_t *document_string(const char *s)
{
	json_t *value;
	char *copy;

	if (s == NULL)
		return json_null();
	value = json_string(s);
	if (value != NULL || (copy = strdup(s)) == NULL)
		return value;
	for (char *p = copy; *p != '\0'; p++)
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	value = json_string(copy);
	free(copy);
	return value;
}

json_t *document_seconds(int64_t ms)
{
	return ms != 0 ? json_real((double)ms / 1000) : json_integer(0);
}

/* --- members ---------------------------------------------------------------------- */

static bool is_plain(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x80 || *s == '"' || *s == '\\')
			return false;
	return true;
}

/* Steals value. */
static int add_value(struct buf *out, json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	int result = text != NULL ? buf_adds(out, text) : -1;

	json_decref(value);
	free(text);
	return result;
}

/* before: the key and the punctuation before it. */
static int add_text(struct buf *out, const char *before, const char *s)
{
	if (buf_adds(out, before) < 0)
		return -1;
	if (s == NULL || !is_plain(s))
		return add_value(out, document_string(s));
	return buf_add(out, "\"", 1) < 0 || buf_adds(out, s) < 0 ? -1 : buf_add(out, "\"", 1);
}

struct member {
	const char *before, *value;
};

static int add_members(struct buf *out, const struct member *members, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (add_text(out, members[i].before, members[i].value) < 0)
			return -1;
	return 0;
}

static int add_ejection(struct buf *out, const struct llm *l)
{
	if (l->ejected_until_ms == 0)
		return 0;
	if (buf_adds(out, ",\"ejected_since\":") < 0 || add_value(out, document_seconds(l->ejected_since_ms)) < 0 ||
	    buf_adds(out, ",\"ejected_until\":") < 0 || add_value(out, document_seconds(l->ejected_until_ms)) < 0)
		return -1;
	return add_text(out, ",\"ejected_reason\":", l->reason);
}

/* --- lists ------------------------------------------------------------------------ */

static int add_available(struct buf *out, const struct llm *l, bool is_current)
{
	const struct member members[] = {
		{"{\"deploy_id\":", l->deploy_id},
		{",\"model_name\":", llm_name(l)},
		{",\"model_type\":", llm_type(l)},
		{",\"container_name\":", l->container_name != NULL ? l->container_name : ""},
		{",\"internal_url\":", l->internal_url},
		{",\"health_url\":", l->health_url},
		{",\"status\":", llm_health_text(l->health)},
	};

	if (add_members(out, members, sizeof members / sizeof members[0]) < 0 ||
	    buf_adds(out, is_current ? ",\"is_current\":true" : ",\"is_current\":false") < 0 ||
	    add_ejection(out, l) < 0)
		return -1;
	return buf_adds(out, "}");
}

static int add_summary(struct buf *out, const struct llm *l)
{
	const struct member members[] = {
		{"{\"deploy_id\":", l->deploy_id},
		{",\"model_name\":", llm_name(l)},
		{",\"status\":", llm_health_text(l->health)},
		{",\"internal_url\":", l->internal_url},
	};

	return add_members(out, members, sizeof members / sizeof members[0]) < 0 ? -1 : buf_adds(out, "}");
}

int document_list_available(struct buf *out, const struct status_view *v, long current)
{
	for (size_t i = 0; i < v->llm_count; i++) {
		if (v->llms[i].kind != LLM_DISCOVERED)
			continue;
		if ((out->len > 0 && buf_add(out, ",", 1) < 0) ||
		    add_available(out, &v->llms[i], (long)i == current) < 0)
			return -1;
	}
	return 0;
}

int document_list_summary(struct buf *out, const struct status_view *v)
{
	for (size_t i = 0; i < v->llm_count; i++) {
		if (v->llms[i].kind != LLM_DISCOVERED)
			continue;
		if ((out->len > 0 && buf_add(out, ",", 1) < 0) || add_summary(out, &v->llms[i]) < 0)
			return -1;
	}
	return 0;
}

char *document_list_insert(char *doc, const char *name, const struct buf *list)
{
	char key[64];
	size_t doc_len = doc != NULL ? strlen(doc) : 0, at;
	char *hit, *grown;

	if (doc == NULL || list->len == 0)
		return doc;
	/* No string in the document can contain this, because its quotes would be escaped. */
	snprintf(key, sizeof key, "\"%s\":[]", name);
	hit = strstr(doc, key);
	if (hit == NULL)
		return doc;
	at = (size_t)(hit - doc) + strlen(key) - 1;
	grown = realloc(doc, doc_len + list->len + 1);
	if (grown == NULL) {
		free(doc);
		return NULL;
	}
	memmove(grown + at + list->len, grown + at, doc_len - at + 1);
	memcpy(grown + at, list->data, list->len);
	return grown;
}
