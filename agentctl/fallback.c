/* SPDX-License-Identifier: Apache-2.0 */
/* What the run directory still tells when no daemon answers. */
#include "agentctl/admin.h"

#include "core/base/clock.h"
#include "core/llm/llm.h"
#include "core/status/counters.h"
#include "core/status/reader.h"

#include <stdlib.h>
#include <string.h>

#define NOBODY "tt-agentd does not answer"

static void mark_stale(json_t *document, const struct status_reader *r, const struct status_snapshot *s)
{
	int64_t since = status_header(s)->published_ms;
	const char *reason = NULL;

	if (!status_is_stale(r, &since, &reason) || reason == NULL)
		reason = NOBODY;
	json_object_set_new(document, "stale", json_true());
	json_object_set_new(document, "stale_since", json_real((double)since / 1000));
	json_object_set_new(document, "stale_reason", json_string(reason));
}

/* make(s) with the mark, or NULL. */
static json_t *from_snapshot(const struct admin *a, json_t *(*make)(const struct status_snapshot *s))
{
	struct err e = ERR_INIT;
	struct status_reader *r = status_reader_new(a->run_dir, &e);
	struct status_snapshot *s = r != NULL ? status_acquire(r) : NULL;
	json_t *document = s != NULL ? make(s) : NULL;

	if (document != NULL)
		mark_stale(document, r, s);
	status_release(s);
	status_reader_free(r);
	return document;
}

static json_t *status_of(const struct status_snapshot *s)
{
	struct status_text text = status_header(s)->status_document;
	const char *document = status_text(s, text);

	return document != NULL ? json_loadb(document, text.length, 0, NULL) : NULL;
}

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

/* As the command `models` shows it. */
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

static void add_model(json_t *models, const struct status_snapshot *s, size_t i, json_t *rank)
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
		add_model(models, s, i, json_integer((json_int_t)rank));
	}
	for (size_t i = 0; ranked != NULL && i < h->llm_count; i++)
		if (!ranked[i])
			add_model(models, s, i, json_null());
	free(ranked);
	json_object_set_new(document, "generation", json_integer((json_int_t)h->generation));
	json_object_set_new(document, "models", models);
	return document;
}

json_t *admin_stale_status(const struct admin *a)
{
	json_t *document = from_snapshot(a, status_of);

	if (document != NULL)
		admin_add_counters(a, document);
	return document;
}

json_t *admin_stale_models(const struct admin *a)
{
	return from_snapshot(a, models_of);
}

void admin_add_counters(const struct admin *a, json_t *status)
{
	int64_t sums[COUNTERS];
	json_t *counters;

	if (counters_sum(a->run_dir, sums, NULL) < 0)
		return;
	counters = json_object();
	for (unsigned i = 0; i < COUNTERS; i++)
		json_object_set_new(counters, counter_name((enum counter)i), json_integer(sums[i]));
	json_object_set_new(status, "counters", counters);
}
