/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/place_wait.h"

#include "core/base/clock.h"
#include "core/llm/llm.h"
#include "core/turn/turn.h"

#include <stdio.h>

#define RETRY_MAX_S 60 /* clients that are given more do not try again by themselves */

/* ---- the groups of replicas ------------------------------------------------------------------------------ */

/* Replicas serve one model, and are of one kind. */
static uint64_t group_of(const struct status_snapshot *s, const struct status_llm *l)
{
	const char *model = status_text(s, l->model);

	return model != NULL ? balance_hash((uint64_t)l->kind << 1 | l->uses_completions, model) : l->instance;
}

/* The first one of that group; NULL: there is none any more. */
static const struct status_llm *find_group(const struct status_snapshot *s, uint64_t group)
{
	const struct status_header *h = status_header(s);

	for (size_t rank = 0; rank < h->candidate_count; rank++)
		if (group_of(s, status_candidate(s, rank)) == group)
			return status_candidate(s, rank);
	for (size_t i = 0; i < h->llm_count; i++) /* what only embeds is no candidate */
		if (candidate_embeds(s, status_llm(s, i)) && group_of(s, status_llm(s, i)) == group)
			return status_llm(s, i);
	return NULL;
}

/* How many places are free at the replicas of that model, for anybody. */
static uint32_t free_places(const struct chat_services *s, uint64_t group)
{
	struct status_snapshot *snapshot = s->snapshot(s->arg);
	struct candidate_needs needs = {.quirks = s->quirks};
	const struct tried none = {.count = 0};
	struct candidate_group g = {.count = 0};
	struct balance_request r = {.now_ns = clock_boot_ns()};
	struct balance_group state = {.free = 0};
	const struct status_llm *first;

	if (snapshot == NULL)
		return 0;
	first = find_group(snapshot, group);
	if (first != NULL) {
		needs.model = status_text(snapshot, first->model);
		needs.work = candidate_embeds(snapshot, first) ? WORK_EMBEDDINGS : WORK_CHAT;
	}
	candidates_group(snapshot, s->cooldown, &none, needs, clock_wall_ms(), &g);
	if (g.count > 0 && group_of(snapshot, g.llms[0]) == group) {
		r.replicas = g.replicas;
		r.count = g.count;
		balance_group(s->balance, &r, &state);
	}
	status_release(snapshot);
	return state.free;
}

void chat_services_freed(const struct chat_services *s, const struct status_snapshot *snapshot,
                         const struct status_llm *l)
{
	uint64_t group;

	if (s->places == NULL || !place_queue_is_used(s->places))
		return;
	group = group_of(snapshot, l);
	place_queue_freed(s->places, group, free_places(s, group));
}

static uint32_t on_free_places(void *arg)
{
	const struct place_wait *w = arg;

	return free_places(w->services, w->group);
}

static bool others_wait(const struct place_wait *w, const struct status_snapshot *s, const struct candidate_group *g)
{
	struct place_queue *places = w->services->places;

	return places != NULL && !w->granted && !w->forced && place_queue_is_used(places) &&
	       place_queue_has_group(places, group_of(s, g->llms[0]));
}

const struct status_llm *place_wait_take(struct place_wait *w, const struct status_snapshot *s,
                                         const struct candidate_group *g, struct candidate_wish *wish,
                                         struct balance_place *place)
{
	const struct status_llm *first = g->llms[0], *taken;

	wish->forced = w->forced;
	taken = others_wait(w, s, g) ? NULL : candidates_take(g, wish, place);
	if (taken != NULL)
		return taken;
	if (w->waiter.queue != NULL && w->group != group_of(s, first))
		place_wait_leave(w); /* other LLMs are the best ones by now */
	w->group = group_of(s, first);
	w->model = counters_member(w->services->counters, LABEL_MODEL, status_llm_name(s, first));
	return NULL;
}

/* ---- the wait ---------------------------------------------------------------------------------------------- */

static void on_called(void *arg)
{
	const struct place_wait *w = arg;

	w->called(w->arg);
}

static void count_wait(struct place_wait *w)
{
	struct counters *counters = w->services->counters;
	const struct span_end end = {.name = "wait for a place", .kind = SPAN_INTERNAL, .parent = w->parent};
	int64_t waited_ns;

	if (w->began_ns == 0)
		return;
	waited_ns = clock_mono_ns() - w->began_ns;
	w->began_ns = 0;
	w->waited_ns += waited_ns;
	trace_end(w->trace, &w->span, &end);
	counters_add(counters, COUNTER_TURNS_FOR_PLACE, -1);
	counters_count(counters, SERIES_QUEUED, w->model, 0, -1);
	counters_observe(counters, SERIES_QUEUE_WAIT, w->model, waited_ns, 1);
}

void place_wait_leave(struct place_wait *w)
{
	place_queue_leave(&w->waiter);
	count_wait(w);
	w->granted = false;
}

void place_wait_called(struct place_wait *w)
{
	w->granted = place_queue_is_granted(&w->waiter);
	if (!w->granted)
		place_wait_leave(w);
}

static void note_refusal(const struct place_wait *w, const char *reason)
{
	const struct chat_services *s = w->services;
	struct status_snapshot *snapshot = s->note != NULL ? s->snapshot(s->arg) : NULL;
	const struct status_llm *l = snapshot != NULL ? find_group(snapshot, w->group) : NULL;
	struct event_record r;

	if (snapshot == NULL)
		return;
	r = event_record_of(EVENT_REFUSED, l != NULL ? status_llm_name(snapshot, l) : NULL, NULL, NULL, reason);
	s->note(s->arg, &r);
	status_release(snapshot);
}

static enum place_verdict refuse(const struct place_wait *w, enum queue_refusal why, int64_t retry_ns,
                                 struct place_refusal *out)
{
	static const struct {
		const char *reason, *before, *after; /* of the sentence: what is refused is between them */
	} refusals[] = {
		[QUEUE_REFUSED_FULL] = {"queue_full", ", and too many ", " are waiting for them"},
		[QUEUE_REFUSED_KEY] = {"queue_key_full", ", and too many ", " of yours are waiting for them"},
		[QUEUE_REFUSED_LATE] = {"queue_wait", NULL, NULL},
	};
	const int64_t retry_s = (retry_ns + 999999999) / 1000000000;
	const bool late = refusals[why].before == NULL;

	out->reason = refusals[why].reason;
	out->retry_s = (unsigned)(retry_s < 1 ? 1 : retry_s > RETRY_MAX_S ? RETRY_MAX_S : retry_s);
	snprintf(out->text, sizeof out->text, "All language models are busy%s%s%s. Please try again in %u second%s.",
	         late ? "" : refusals[why].before, late ? "" : w->what, late ? "" : refusals[why].after, out->retry_s,
	         out->retry_s == 1 ? "" : "s");
	counters_add(w->services->counters, COUNTER_TURNS_NO_PLACE, 1);
	counters_count(w->services->counters, SERIES_QUEUE_REFUSED, w->model, why, 1);
	note_refusal(w, out->reason);
	return PLACE_REFUSED;
}

static unsigned priority_of(const struct place_terms *t)
{
	unsigned priority = t->client != NULL ? (unsigned)t->client->priority : ACCESS_NORMAL;

	return t->begun && priority < QUEUE_PRIORITIES - 1 ? priority + 1 : priority;
}

enum place_verdict place_wait_enter(struct place_wait *w, const struct place_terms *terms, struct place_refusal *out)
{
	const struct config *c = terms->config;
	const int64_t wait_ms = cfg_ms(c, CFG_QUEUE_WAIT), now_ns = clock_boot_ns();
	const struct queue_request r = {
		.group = w->group,
		.key = w->key,
		.priority = priority_of(terms),
		.length = terms->begun ? UINT32_MAX : (uint32_t)cfg_int(c, CFG_QUEUE_LENGTH),
		.per_key = terms->begun ? 0 : (uint32_t)cfg_int(c, CFG_QUEUE_PER_KEY),
		.now_ns = now_ns,
		.deadline_ns = now_ns + wait_ms * 1000000,
	};
	int64_t retry_ns = 0;

	if (w->waiter.queue != NULL) {
		w->granted = false;
		place_queue_return(&w->waiter);
		return PLACE_WAITS;
	}
	w->waiter.called = on_called;
	w->waiter.free_places = on_free_places;
	w->waiter.arg = w;
	switch (place_queue_enter(w->services->places, &w->waiter, &r, &retry_ns)) {
	case QUEUE_WAITS:
		break;
	case QUEUE_FULL:
		return refuse(w, QUEUE_REFUSED_FULL, retry_ns, out);
	case QUEUE_KEY_FULL:
		return refuse(w, QUEUE_REFUSED_KEY, retry_ns, out);
	case QUEUE_UNUSABLE:
		w->forced = true;
		return PLACE_FORCED;
	}
	w->until_ms = clock_mono_ms() + wait_ms;
	if (w->until_ms > terms->deadline_ms)
		w->until_ms = terms->deadline_ms;
	w->began_ns = clock_mono_ns();
	trace_begin(w->trace, &w->span);
	counters_add(w->services->counters, COUNTER_TURNS_FOR_PLACE, 1);
	counters_count(w->services->counters, SERIES_QUEUED, w->model, 0, 1);
	return PLACE_WAITS;
}

void place_wait_late(struct place_wait *w, struct place_refusal *out)
{
	int64_t retry_ns = place_queue_left_ns(&w->waiter);

	place_wait_leave(w);
	refuse(w, QUEUE_REFUSED_LATE, retry_ns, out);
}
