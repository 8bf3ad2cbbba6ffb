/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/endpoints/published_document.h"

#include "core/status/counters.h"
#include "core/status/document.h"
#include "core/turn/candidates.h"
#include "core/turn/turn.h"
#include "fcgi/dispatch.h"
#include "fcgi/response.h"

#include <stdlib.h>
#include <string.h>

/* For clients that are not admins, if http.public_status is brief: nothing about hosts. Its keys are
 * those of the whole documents. */
static json_t *brief(const struct status_snapshot *s)
{
	const struct status_header *h = status_header(s);
	const struct status_llm *current = h->usable_count > 0 ? status_candidate(s, 0) : NULL;
	const char *name = current != NULL ? status_text(s, current->model_name) : NULL;
	int total = 0, count[LLM_UNHEALTHY + 1] = {0};

	if (current != NULL && name == NULL)
		name = status_text(s, current->model);
	for (uint32_t i = 0; i < h->llm_count; i++) {
		const struct status_llm *l = status_llm(s, i);

		if (l->kind != LLM_DISCOVERED)
			continue;
		total++;
		count[l->health]++;
	}
	return json_pack("{s:s,s:s?,s:{s:i,s:i,s:i,s:i}}", "status", current != NULL ? "ready" : "initializing",
	                 "model_name", name, "discovery_summary", "total_llms", total, "healthy", count[LLM_HEALTHY],
	                 "degraded", count[LLM_DEGRADED], "unhealthy", count[LLM_UNHEALTHY]);
}

bool published_document_is_brief(struct published *p, bool admin)
{
	const struct config *config = published_config(p);

	return !admin && config != NULL && strcmp(cfg_str(config, CFG_HTTP_PUBLIC_STATUS), "brief") == 0;
}

static struct status_text document_of(const struct status_snapshot *s, enum published_document which)
{
	return which == PUBLISHED_ROOT ? status_header(s)->root_document : status_header(s)->status_document;
}

/* Whether conversations cannot be stored as things stand, which only the workers know. NULL: all is well. */
static json_t *conversations(struct published *p, enum published_document which)
{
	const struct config *config = published_config(p);
	int64_t sums[COUNTERS];

	if (which != PUBLISHED_STATUS || config == NULL ||
	    strncmp(cfg_str(config, CFG_THREADS_STORE), "redis", 5) != 0 ||
	    counters_sum(published_run_dir(p), sums, NULL) < 0 ||
	    (sums[COUNTER_STORES_AWAY] == 0 && sums[COUNTER_TURNS_UNSAVED] == 0))
		return NULL;
	return json_pack("{s:b,s:I,s:I}", "away", sums[COUNTER_STORES_AWAY] != 0, "unsaved_turns",
	                 (json_int_t)sums[COUNTER_TURNS_UNSAVED], "lost_turns", (json_int_t)sums[COUNTER_TURNS_LOST]);
}

char *published_document_copy(struct published *p, enum published_document which, bool is_brief, size_t *len)
{
	struct status_snapshot *s = published_acquire(p);
	const char *reason = NULL, *doc;
	char *copy = NULL, *longer = NULL;
	int64_t since_ms = 0;
	json_t *more;

	if (s == NULL) {
		doc = published_initializing(p, which, len);
		return doc != NULL ? strndup(doc, *len) : NULL;
	}
	if (is_brief) {
		json_t *j = brief(s);

		copy = document_text(j, len);
		json_decref(j);
	} else {
		struct status_text t = document_of(s, which);

		*len = t.length;
		doc = status_text(s, t);
		copy = doc != NULL ? strndup(doc, t.length) : NULL;
	}
	if (copy != NULL && published_is_stale(p, &since_ms, &reason)) {
		longer = document_stale(copy, *len, since_ms, reason, len);
		free(copy);
		copy = longer;
	}
	more = copy != NULL && !is_brief ? conversations(p, which) : NULL;
	if (more != NULL) {
		longer = document_with(copy, *len, json_pack("{s:o}", "conversations", more), len);
		free(copy);
		copy = longer;
	}
	status_release(s);
	return copy;
}

/* The deployments that turns spread over, and how much each of them does now; NULL: there is no choice. */
static json_t *replicas(const struct status_snapshot *s, const char *run_dir)
{
	static const struct cooldown none_cooling;
	static const struct tried none_tried;
	struct candidate_group g;
	struct balance_copy *balance;
	json_t *list;

	candidates_group(s, &none_cooling, &none_tried, (struct candidate_needs){.work = WORK_CHAT}, 0, &g);
	if (g.count < 2)
		return NULL;
	list = json_array();
	balance = balance_copy(run_dir);
	for (size_t i = 0; i < g.count; i++) {
		struct balance_llm l = {.in_flight = 0};

		balance_copy_llm(balance, g.llms[i]->instance, &l);
		json_array_append_new(list, json_pack("{s:s?, s:s, s:I, s:o, s:s}", "deploy_id",
		                                      status_text(s, g.llms[i]->deploy_id), "name",
		                                      candidate_replica_name(s, g.llms[i]), "in_flight",
		                                      (json_int_t)l.in_flight, "capacity",
		                                      l.capacity != 0 ? json_integer(l.capacity) : json_null(),
		                                      "capacity_from", balance_source_text(l.source)));
	}
	balance_copy_free(balance);
	return list;
}

/* How many wait for a place, of all workers; NULL: none. */
static json_t *waiting_of(struct worker *w, const char *run_dir)
{
	const struct chat_services *services = worker_chat_services(w);
	bool any = services != NULL && place_queue_is_used(services->places);
	struct counters_total *t = any ? counters_read(run_dir, NULL) : NULL;
	const size_t at = counter_series_info(SERIES_QUEUED)->at;
	json_t *models = json_array();
	int64_t all = 0;

	for (size_t i = 0; t != NULL && i < t->member_count[LABEL_MODEL]; i++) {
		const struct counter_member *m = &t->members[LABEL_MODEL][i];

		if (m->values[at] <= 0)
			continue;
		all += m->values[at];
		json_array_append_new(
			models, json_pack("{s:s, s:I}", "model_name", m->name, "waiting", (json_int_t)m->values[at]));
	}
	counters_total_free(t);
	if (all == 0) {
		json_decref(models);
		return NULL;
	}
	return json_pack("{s:I, s:o}", "all", (json_int_t)all, "models", models);
}

/* What only the workers know, beside what was published; NULL: nothing. */
static json_t *members_of(struct worker *w, const struct status_snapshot *s, const char *run_dir)
{
	json_t *list = replicas(s, run_dir), *waiting = waiting_of(w, run_dir), *members = NULL;

	if (list != NULL || waiting != NULL)
		members = json_pack("{s:o*, s:o*}", "replicas", list, "waiting", waiting);
	return members;
}

/* As it was published it need not be copied. */
void published_document_answer(struct worker *w, struct connection *c, enum published_document which)
{
	struct published *p = worker_published(w);
	struct status_snapshot *s = published_acquire(p);
	bool is_brief = published_document_is_brief(p, dispatch_is_admin(c));
	json_t *more =
		s != NULL && !is_brief && which == PUBLISHED_STATUS ? members_of(w, s, published_run_dir(p)) : NULL;
	json_t *unsaved = is_brief ? NULL : conversations(p, which);
	struct status_text t;
	char *copy, *with;
	size_t len = 0;

	if (more != NULL) {
		copy = published_document_copy(p, which, false, &len);
		with = copy != NULL ? document_with(copy, len, more, &len) : NULL;
		if (copy == NULL)
			json_decref(more);
		response_document(c, with, len);
		free(with);
		free(copy);
	} else if (s != NULL && !is_brief && unsaved == NULL && !published_is_stale(p, NULL, NULL)) {
		t = document_of(s, which);
		response_document(c, status_text(s, t), t.length);
	} else {
		copy = published_document_copy(p, which, is_brief, &len);
		response_document(c, copy, len);
		free(copy);
	}
	json_decref(unsaved);
	status_release(s);
}
