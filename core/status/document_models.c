/* SPDX-License-Identifier: Apache-2.0 */
/* What the command `models` shows, from the rows of llm_fields.def. */
#include "core/status/document.h"
#include "core/llm/quirks.h"
#include "core/status/document_list.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* A field as people see it; field points to it. */
typedef json_t *show_fn(const struct llm *l, const void *field);

static json_t *show_text(const struct llm *l, const void *field)
{
	(void)l;
	return document_string(*(char *const *)field);
}

static json_t *show_name(const struct llm *l, const void *field)
{
	(void)field;
	return document_string(llm_name(l));
}

static json_t *show_kind(const struct llm *l, const void *field)
{
	(void)field;
	return json_string(llm_kind_text(l->kind));
}

static json_t *show_health(const struct llm *l, const void *field)
{
	(void)field;
	return json_string(llm_health_text(l->health));
}

static json_t *show_tools(const struct llm *l, const void *field)
{
	(void)field;
	if ((l->quirks & QUIRK_BIT(QUIRK_TOOLS)) != 0)
		return json_false();
	return l->tools == LLM_TOOLS_UNKNOWN ? json_null() : json_boolean(l->tools == LLM_TOOLS_YES);
}

static json_t *show_quirks(const struct llm *l, const void *field)
{
	const struct quirks quirks = {.set = l->quirks, .max_tokens = l->max_tokens};

	(void)field;
	return quirks_to_json(&quirks);
}

static json_t *show_number(const struct llm *l, const void *field)
{
	(void)l;
	return json_integer(*(const int64_t *)field);
}

static json_t *show_count(const struct llm *l, const void *field)
{
	(void)l;
	return json_integer(*(const unsigned *)field);
}

static json_t *show_time(const struct llm *l, const void *field)
{
	int64_t ms = *(const int64_t *)field;

	(void)l;
	return ms != 0 ? json_real((double)ms / 1000) : json_null();
}

struct field {
	size_t offset;
	unsigned position; /* from 1 on; 0: not shown */
	const char *key;
	show_fn *show;
};

#define HIDDEN                        0, NULL, NULL
#define SHOWN(position, key, how)     position, key, show_##how
#define FIELD(name, ...)              {offsetof(struct llm, name), __VA_ARGS__},
#define LLM_NUMBER(type, name, shown) FIELD(name, shown)
#define LLM_ENUM(name, last, shown)   FIELD(name, shown)
#define LLM_COUNT(name, shown)        FIELD(name, shown)
#define LLM_FLAG(name, shown)         FIELD(name, shown)
#define LLM_TEXT(name, shown)         FIELD(name, shown)
static const struct field fields[] = {
#include "core/llm/llm_fields.def"
};

/* Steals rank; sorted: fields by position, NULL where there is none. */
static json_t *model(const struct status_view *v, size_t i, json_t *rank, const struct field *const *sorted)
{
	const struct llm *l = &v->llms[i];
	bool current = status_view_current(v) == (long)i;
	bool pinned = v->pinned != NULL && l->deploy_id != NULL && strcmp(v->pinned, l->deploy_id) == 0;
	json_t *j = json_pack("{s:o,s:b,s:b}", "rank", rank, "current", current, "pinned", pinned);

	for (size_t n = 1; n <= COUNT(fields); n++)
		if (sorted[n] != NULL)
			json_object_set_new(j, sorted[n]->key, sorted[n]->show(l, (const char *)l + sorted[n]->offset));
	for (size_t n = 0; n < v->drain_count; n++)
		if (strcmp(v->drains[n].name, status_drain_name(l)) == 0) {
			json_object_set_new(j, "drained_since", json_real((double)v->drains[n].since_ms / 1000));
			json_object_set_new(j, "drained_by", document_string(v->drains[n].by));
		}
	return j;
}

json_t *document_models(const struct status_view *v)
{
	const struct field *sorted[COUNT(fields) + 1] = {NULL};
	bool *ranked = calloc(v->llm_count + 1, sizeof *ranked);
	json_t *list = json_array(), *document;

	if (ranked == NULL || list == NULL) {
		json_decref(list);
		free(ranked);
		return NULL;
	}
	for (size_t i = 0; i < COUNT(fields); i++) {
		assert(fields[i].position <= COUNT(fields));
		if (fields[i].show != NULL)
			sorted[fields[i].position] = &fields[i];
	}
	for (size_t n = 0; n < v->order_count; n++) {
		ranked[v->order[n]] = true;
		json_array_append_new(list, model(v, v->order[n], json_integer((json_int_t)n), sorted));
	}
	for (size_t i = 0; i < v->llm_count; i++)
		if (!ranked[i])
			json_array_append_new(list, model(v, i, json_null(), sorted));
	free(ranked);
	document = json_pack("{s:I,s:o}", "generation", (json_int_t)v->generation, "models", list);
	if (document != NULL && v->source_count > 0)
		json_object_set_new(document, "discovery", document_sources(v));
	return document;
}
