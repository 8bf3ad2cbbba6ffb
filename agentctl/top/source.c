/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/top/source.h"

#include "agentctl/top/history.h"
#include "core/base/clock.h"
#include "core/status/live.h"
#include "core/status/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A model that was seen. */
struct seen {
	uint64_t instance;
	struct top_history history;
};

struct top_source {
	struct status_reader *reader;
	struct status_snapshot *snapshot; /* that state borrows from */
	struct live *live;
	struct event_reader *ring;
	struct seen *seen;
	size_t seen_count;
	struct top_state state;
};

struct top_source *top_source_new(const char *run_dir, struct err *e)
{
	struct top_source *s = calloc(1, sizeof *s);

	if (s == NULL) {
		err_set(e, "out of memory");
		return NULL;
	}
	s->reader = status_reader_new(run_dir, e);
	s->live = live_new(run_dir);
	s->ring = event_reader_new(run_dir);
	if (s->reader != NULL && s->live != NULL && s->ring != NULL)
		return s;
	err_set(e, "out of memory");
	top_source_free(s);
	return NULL;
}

void top_source_free(struct top_source *s)
{
	if (s == NULL)
		return;
	status_release(s->snapshot);
	status_reader_free(s->reader);
	live_free(s->live);
	event_reader_free(s->ring);
	free(s->seen);
	free(s->state.models);
	free(s);
}

/* --- history ---------------------------------------------------------------------------------- */

static uint64_t oldest(const struct event_reader *ring)
{
	uint64_t last = event_reader_last(ring);

	return last > EVENT_RING_SLOTS ? last - EVENT_RING_SLOTS + 1 : 1;
}

/* What the ring says of a model that is seen for the first time. */
static void remember(const struct top_source *s, struct seen *seen, const struct top_model *m)
{
	struct event_record r;

	for (uint64_t n = oldest(s->ring); n <= event_reader_last(s->ring); n++)
		if (event_reader_get(s->ring, n, &r) &&
		    (m->deploy_id != NULL && r.deploy_id[0] != '\0' ? strcmp(r.deploy_id, m->deploy_id) == 0
		                                                    : strcmp(r.model, m->name) == 0))
			top_history_event(&seen->history, &r);
}

/* Those of the new snapshot, in its order, with what is known of them. -1: out of memory. */
static int follow(struct top_source *s)
{
	size_t count = status_header(s->snapshot)->llm_count;
	struct seen *now = calloc(count + 1, sizeof *now);

	if (now == NULL)
		return -1;
	for (size_t i = 0; i < count; i++) {
		uint64_t instance = status_llm(s->snapshot, i)->instance;
		size_t at = i;

		if (at >= s->seen_count || s->seen[at].instance != instance)
			for (at = 0; at < s->seen_count && s->seen[at].instance != instance;)
				at++;
		if (at < s->seen_count)
			now[i] = s->seen[at];
		else
			now[i].instance = instance;
	}
	free(s->seen);
	s->seen = now;
	s->seen_count = count;
	return 0;
}

/* --- the state --------------------------------------------------------------------------------- */

static void read_model(struct top_source *s, size_t i, struct top_model *m)
{
	const struct status_llm *l = status_llm(s->snapshot, i);
	const char *name = status_llm_name(s->snapshot, l);
	const struct live_model *live = live_model(s->live, name);
	struct seen *seen = &s->seen[i];

	*m = (struct top_model){
		.name = name,
		.deploy_id = status_text(s->snapshot, l->deploy_id),
		.reason = status_text(s->snapshot, l->reason),
		.health = (enum llm_health)l->health,
		.ejected = l->ejected_until_ms > s->state.now_ms,
		.rank = status_header(s->snapshot)->candidate_count + i,
		.tokens_per_s = live != NULL ? live->tokens_per_s : 0,
		.ttft_p50_ms = live != NULL ? live->ttft_p50_ms : -1,
		.ttft_p99_ms = live != NULL ? live->ttft_p99_ms : -1,
		.running = live != NULL ? live->running : 0,
		.errors = live != NULL ? live->errors : 0,
	};
	if (seen->history.slot == 0)
		remember(s, seen, m);
	top_history_set(&seen->history, s->state.now_ms, top_mark_of(m->health, m->ejected));
	top_history_get(&seen->history, s->state.now_ms, m->history);
}

static int read_models(struct top_source *s)
{
	const struct status_header *h = status_header(s->snapshot);
	struct top_model *models = calloc(h->llm_count + 1, sizeof *models);

	if (models == NULL || follow(s) < 0) {
		free(models);
		return -1;
	}
	free(s->state.models);
	s->state.models = models;
	s->state.count = h->llm_count;
	for (size_t i = 0; i < h->llm_count; i++)
		read_model(s, i, &models[i]);
	for (size_t rank = 0; rank < h->candidate_count; rank++)
		models[status_candidate(s->snapshot, rank) - status_llm(s->snapshot, 0)].rank = rank;
	if (h->usable_count > 0)
		models[status_candidate(s->snapshot, 0) - status_llm(s->snapshot, 0)].current = true;
	return 0;
}

static void read_events(struct top_source *s)
{
	uint64_t last = event_reader_last(s->ring), n = last > TOP_EVENTS ? last - TOP_EVENTS + 1 : 1;

	s->state.event_count = 0;
	for (; n <= last; n++)
		if (event_reader_get(s->ring, n, &s->state.events[s->state.event_count]))
			s->state.event_count++;
}

struct top_state *top_source_read(struct top_source *s)
{
	struct top_state *state = &s->state;
	const char *reason = NULL;

	state->now_ms = clock_wall_ms();
	status_reader_check(s->reader);
	event_reader_check(s->ring, NULL);
	status_release(s->snapshot);
	s->snapshot = status_acquire(s->reader);
	state->published = s->snapshot != NULL;
	state->stale = status_is_stale(s->reader, &state->stale_since_ms, &reason);
	snprintf(state->problem, sizeof state->problem, "%s", reason != NULL ? reason : "");
	live_sample(s->live, NULL);
	memcpy(state->sums, live_sums(s->live), sizeof state->sums);
	state->tokens_per_s = live_tokens_per_s(s->live);
	read_events(s);
	if (s->snapshot == NULL)
		state->count = 0;
	else if (read_models(s) < 0)
		return NULL;
	return state;
}

json_t *top_source_json(const struct top_source *s)
{
	return json_pack("{s:f,s:b,s:o}", "at", (double)s->state.now_ms / 1000, "stale", (int)s->state.stale, "live",
	                 live_json(s->live));
}
