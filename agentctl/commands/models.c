/* SPDX-License-Identifier: Apache-2.0 */
/* models: the table, and what the run directory still says of the LLMs without a daemon. */
#include "agentctl/table.h"
#include "core/base/clock.h"
#include "core/llm/llm.h"
#include "core/status/reader.h"

#include <stdlib.h>
#include <string.h>

/* --- as text ------------------------------------------------------------------------------ */

static void add_latency(struct table *t, const json_t *model)
{
	const json_t *latency = json_object_get(model, "latency_ms");

	if (json_is_number(latency) && json_number_value(latency) >= 0)
		table_addf(t, COLOUR_NONE, "%lld ms", (long long)json_number_value(latency));
	else
		table_add(t, COLOUR_NONE, NULL);
}

static void add_reason(struct table *t, const json_t *model)
{
	double until = json_number_value(json_object_get(model, "ejected_until"));
	double since = json_number_value(json_object_get(model, "ejected_since"));
	const char *reason = text_of(model, "reason");
	double rest = until - (double)clock_wall_ms() / 1000;
	char text[1024], duration[64], passed[64];

	if (until <= 0 || rest <= 0) {
		table_add(t, COLOUR_NONE, reason);
		return;
	}
	text_duration(rest, duration, sizeof duration);
	text_duration((double)clock_wall_ms() / 1000 - since, passed, sizeof passed);
	snprintf(text, sizeof text, "ejected %s ago, for another %s%s%s", passed, duration, reason != NULL ? ": " : "",
	         reason != NULL ? reason : "");
	table_add(t, COLOUR_RED, text);
}

static void add_model(struct table *t, const json_t *model)
{
	const json_t *rank = json_object_get(model, "rank");
	const char *name = text_of(model, "model_name"), *health = text_of(model, "status");
	bool current = truth_of(model, "current"), pinned = truth_of(model, "pinned");
	char checked[80];

	if (json_is_integer(rank))
		table_addf(t, current ? COLOUR_BOLD : COLOUR_NONE, "%lld%s%s", (long long)json_integer_value(rank) + 1,
		           current ? " *" : "", pinned ? " pinned" : "");
	else
		table_add(t, COLOUR_DIM, NULL);
	table_add(t, COLOUR_NONE, text_of(model, "deploy_id"));
	table_add(t, current ? COLOUR_BOLD : COLOUR_NONE, name != NULL ? name : text_of(model, "model"));
	table_add(t, COLOUR_NONE, text_of(model, "model_type"));
	table_add(t, COLOUR_NONE, text_of(model, "kind"));
	table_add(t, text_status_colour(health), health);
	add_latency(t, model);
	table_addf(t, COLOUR_NONE, "%lld", number_of(model, "failures"));
	text_ago(json_number_value(json_object_get(model, "checked")), checked, sizeof checked);
	table_add(t, COLOUR_NONE, checked);
	add_reason(t, model);
}

static void show_models(const struct ctl *a, const json_t *document)
{
	static const struct table_column columns[] = {
		{.heading = "RANK"},
		{.heading = "ID", .limit = 40},
		{.heading = "MODEL", .limit = 60},
		{.heading = "TYPE", .limit = 20},
		{.heading = "KIND", .limit = 20},
		{.heading = "HEALTH", .limit = 20},
		{.heading = "LATENCY"},
		{.heading = "FAILURES"},
		{.heading = "CHECKED"},
		{.heading = "REASON", .limit = 120, .wraps = true},
	};
	const json_t *models = json_object_get(document, "models");
	struct table *t;
	json_t *model;
	size_t i;

	text_stale(a, document);
	if (json_array_size(models) == 0) {
		fputs("no LLM is known\n", a->out);
		return;
	}
	t = table_new(a, columns, sizeof columns / sizeof columns[0]);
	json_array_foreach(models, i, model) add_model(t, model);
	table_print(t);
	table_free(t);
}

/* --- without a daemon --------------------------------------------------------------------- */

static json_t *seconds(int64_t ms)
{
	return ms > 0 ? json_real((double)ms / 1000) : json_null();
}

static json_t *text(const char *s)
{
	return s != NULL ? json_string(s) : json_null();
}

static json_t *tools(enum llm_tools t)
{
	return t == LLM_TOOLS_UNKNOWN ? json_null() : json_boolean(t == LLM_TOOLS_YES);
}

/* As the daemon answers. */
static json_t *model_of(const struct llm *l, json_t *rank, bool current, bool pinned)
{
	json_t *j = json_object();

	json_object_set_new(j, "rank", rank);
	json_object_set_new(j, "current", json_boolean(current));
	json_object_set_new(j, "pinned", json_boolean(pinned));
	json_object_set_new(j, "deploy_id", text(l->deploy_id));
	json_object_set_new(j, "model_name", text(llm_name(l)));
	json_object_set_new(j, "model_type", text(l->model_type));
	json_object_set_new(j, "container_name", text(l->container_name));
	json_object_set_new(j, "kind", text(llm_kind_text(l->kind)));
	json_object_set_new(j, "status", text(llm_health_text(l->health)));
	json_object_set_new(j, "reason", text(l->reason));
	json_object_set_new(j, "url", text(l->url));
	json_object_set_new(j, "model", text(l->model));
	json_object_set_new(j, "tools", tools(l->tools));
	json_object_set_new(j, "context_length", json_integer(l->context_length));
	json_object_set_new(j, "failures", json_integer(l->failures));
	json_object_set_new(j, "checked", seconds(l->checked_ms));
	json_object_set_new(j, "latency_ms", json_integer(l->latency_ms));
	json_object_set_new(j, "ejected_since", seconds(l->ejected_since_ms));
	json_object_set_new(j, "ejected_until", seconds(l->ejected_until_ms));
	json_object_set_new(j, "instance", json_integer((json_int_t)l->instance));
	return j;
}

static void append_model(json_t *models, const struct status_snapshot *s, size_t i, json_t *rank)
{
	const char *pinned = status_text(s, status_header(s)->pinned);
	bool current = status_header(s)->usable_count > 0 && json_is_integer(rank) && json_integer_value(rank) == 0;
	struct llm l;

	if (status_copy_llm(s, i, &l) < 0) {
		json_decref(rank);
		return;
	}
	json_array_append_new(
		models,
		model_of(&l, rank, current, pinned != NULL && l.deploy_id != NULL && strcmp(pinned, l.deploy_id) == 0));
	llm_clear(&l);
}

/* Candidates first, in their order, then the others. */
static json_t *models_of(const struct status_snapshot *s)
{
	const struct status_header *h = status_header(s);
	json_t *document = json_object(), *models = json_array();
	bool *ranked = calloc(h->llm_count + 1, sizeof *ranked);

	for (size_t rank = 0; ranked != NULL && rank < h->candidate_count; rank++) {
		size_t i = (size_t)(status_candidate(s, rank) - status_llm(s, 0));

		ranked[i] = true;
		append_model(models, s, i, json_integer((json_int_t)rank));
	}
	for (size_t i = 0; ranked != NULL && i < h->llm_count; i++)
		if (!ranked[i])
			append_model(models, s, i, json_null());
	free(ranked);
	json_object_set_new(document, "generation", json_integer((json_int_t)h->generation));
	json_object_set_new(document, "models", models);
	return document;
}

static json_t *last_models(const struct ctl *a)
{
	return ctl_last_state(a, models_of);
}

const struct ctl_command ctl_models = {
	.name = "models",
	.manual =
		"RANK is the order of preference: \"1 *\" is tried first, the next ones when it fails, unhealthy ones "
		"last. An LLM without a rank (\"-\") is never tried: it is not a chat model, or its kind is switched off. "
		"REASON says why an LLM is not healthy, and how long one that failed real turns stays ejected.",
	.show = show_models,
	.last_state = last_models,
};
