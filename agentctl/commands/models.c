/* SPDX-License-Identifier: Apache-2.0 */
/* models: the table, and what the run directory still says of the LLMs without a daemon. */
#include "agentctl/table.h"
#include "core/base/clock.h"
#include "core/llm/llm.h"
#include "core/llm/quirks.h"
#include "core/status/document.h"
#include "core/status/reader.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* Columns that are not always shown. */
#define TURNS  "TURNS"
#define QUIRKS "QUIRKS"
struct shown {
	bool turns, quirks;
};

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
	double drained = json_number_value(json_object_get(model, "drained_since"));
	double rest = until - (double)clock_wall_ms() / 1000;
	char text[1024], duration[64], passed[64];

	if (drained > 0) {
		const char *by = text_of(model, "drained_by");

		text_ago(drained, passed, sizeof passed);
		snprintf(text, sizeof text, "drained by %s %s", by != NULL ? by : "?", passed);
		table_add(t, COLOUR_YELLOW, text);
		return;
	}
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

static void add_quirks(struct table *t, const json_t *model)
{
	struct quirks quirks;
	char text[QUIRKS_TEXT_MAX];

	quirks_from_json(json_object_get(model, "quirks"), &quirks);
	quirks_text(&quirks, text);
	table_add(t, COLOUR_NONE, text);
}

static void add_turns(struct table *t, const json_t *model)
{
	long long capacity = number_of(model, "capacity");
	const char *from = text_of(model, "capacity_from");

	if (!json_is_integer(json_object_get(model, "in_flight")))
		table_add(t, COLOUR_NONE, NULL);
	else if (capacity > 0)
		table_addf(t, COLOUR_NONE, "%lld of %lld%s%s%s", number_of(model, "in_flight"), capacity,
		           from != NULL ? " (" : "", from != NULL ? from : "", from != NULL ? ")" : "");
	else
		table_addf(t, COLOUR_NONE, "%lld", number_of(model, "in_flight"));
}

static void add_model(struct table *t, const json_t *model, const struct shown *shown)
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
	if (shown->turns)
		add_turns(t, model);
	if (shown->quirks)
		add_quirks(t, model);
	add_reason(t, model);
}

/* Columns that are shown where any LLM has something there. */
static struct shown shown_of(const json_t *models)
{
	struct shown s = {.quirks = false};
	const json_t *model, *other;
	size_t i, k;

	json_array_foreach(models, i, model)
	{
		const char *id = text_of(model, "model"), *same;

		s.quirks |= json_array_size(json_object_get(model, "quirks")) > 0;
		s.turns |= number_of(model, "capacity") > 0;
		for (k = 0; k < i && !s.turns; k++) {
			other = json_array_get(models, k);
			same = text_of(other, "model");
			s.turns = id != NULL && same != NULL && strcmp(id, same) == 0 &&
			          json_is_integer(json_object_get(model, "in_flight"));
		}
	}
	return s;
}

static void drop_column(struct table_column *columns, size_t *count, const char *heading)
{
	for (size_t i = 0; i < *count; i++)
		if (strcmp(columns[i].heading, heading) == 0) {
			memmove(&columns[i], &columns[i + 1], (*count - i - 1) * sizeof *columns);
			--*count;
			return;
		}
}

static void show_models(const struct ctl *a, const json_t *document)
{
	struct table_column columns[] = {
		{.heading = "RANK"},
		{.heading = "ID", .limit = 40},
		{.heading = "MODEL", .limit = 60},
		{.heading = "TYPE", .limit = 20},
		{.heading = "KIND", .limit = 20},
		{.heading = "HEALTH", .limit = 20},
		{.heading = "LATENCY"},
		{.heading = "FAILURES"},
		{.heading = "CHECKED"},
		{.heading = TURNS},
		{.heading = QUIRKS, .limit = 120, .wraps = true},
		{.heading = "REASON", .limit = 120, .wraps = true},
	};
	const json_t *models = json_object_get(document, "models");
	size_t count = COUNT(columns), i;
	struct shown shown;
	struct table *t;
	json_t *model;

	text_stale(a, document);
	text_discovery(a, document);
	if (json_array_size(models) == 0) {
		fputs("no LLM is known\n", a->out);
		return;
	}
	shown = shown_of(models);
	if (!shown.turns)
		drop_column(columns, &count, TURNS);
	if (!shown.quirks)
		drop_column(columns, &count, QUIRKS);
	t = table_new(a, columns, count);
	json_array_foreach(models, i, model) add_model(t, model, &shown);
	table_print(t);
	table_free(t);
}

/* --- without a daemon --------------------------------------------------------------------- */

/* As the daemon answers. NULL: out of memory. */
static json_t *models_of(const struct status_snapshot *s)
{
	const struct status_header *h = status_header(s);
	struct llm *llms = calloc(h->llm_count + 1, sizeof *llms);
	size_t *order = calloc(h->candidate_count + 1, sizeof *order);
	struct status_view view = {
		.llms = llms,
		.order = order,
		.order_count = h->candidate_count,
		.usable_count = h->usable_count,
		.pinned = status_text(s, h->pinned),
		.generation = h->generation,
	};
	json_t *document = NULL;

	if (llms == NULL || order == NULL)
		goto out;
	for (size_t rank = 0; rank < view.order_count; rank++)
		order[rank] = (size_t)(status_candidate(s, rank) - status_llm(s, 0));
	for (; view.llm_count < h->llm_count; view.llm_count++)
		if (status_copy_llm(s, view.llm_count, &llms[view.llm_count]) < 0)
			goto out;
	document = document_models(&view);
out:
	for (size_t i = 0; i < view.llm_count; i++)
		llm_clear(&llms[i]);
	free(order);
	free(llms);
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
		"last. An LLM without a rank (\"-\") is never tried: it is not a chat model, its kind is switched off, or it is drained. "
		"TURNS, shown where an LLM has replicas or its capacity is known, are the chat turns that run there now, of how many "
		"it can run at once: as configured, as it refused further ones, or as requests queued at its server. "
		"QUIRKS, shown where an LLM has any, are what it refused of our requests, which are made accordingly until "
		"it is deployed again or /refresh. "
		"REASON says why an LLM is not healthy, and how long one that failed real turns stays ejected.",
	.show = show_models,
	.last_state = last_models,
};
