/* SPDX-License-Identifier: Apache-2.0 */
/* QUEUE: while all replicas that may answer are full, the turn waits for a place at one of them. */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"
#include "core/llm/llm.h"

#include <stdio.h>
#include <string.h>

#define RETRY_MAX_S 60 /* clients that are given more do not try again by themselves */
/* Until then a 429 stays possible. Proxies wait for a response's head for 60 s, and after the queue the LLM may need
 * some time for its first token, too. */
#define HOLD_MS 40000
#define BEAT_MS 10000

#define FULL     "All language models are busy, and too many chats are waiting for them."
#define KEY_FULL "All language models are busy, and too many chats of yours are waiting for them."
#define LATE     "All language models are busy."
#define BROKE_OFF                                                                                                      \
	"The answer broke off here because all language models that could continue it are busy. Please ask again."

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
	for (size_t rank = 0; rank < status_header(s)->candidate_count; rank++)
		if (group_of(s, status_candidate(s, rank)) == group)
			return status_candidate(s, rank);
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
	if (first != NULL)
		needs.model = status_text(snapshot, first->model);
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
	const struct turn *t = arg;

	return free_places(t->services, t->queue.group);
}

bool turn_queue_is_before(const struct turn *t, const struct status_snapshot *s, const struct candidate_group *g)
{
	struct place_queue *places = t->services->places;

	return places != NULL && !t->queue.granted && !t->queue.forced && place_queue_is_used(places) &&
	       place_queue_has_group(places, group_of(s, g->llms[0]));
}

void turn_queue_choose(struct turn *t, const struct status_snapshot *s, const struct status_llm *l)
{
	struct queueing *q = &t->queue;

	if (q->waiter.queue != NULL && q->group != group_of(s, l))
		turn_queue_leave(t); /* other LLMs are the best ones by now */
	q->group = group_of(s, l);
	q->model = counters_member(t->services->counters, LABEL_MODEL, status_llm_name(s, l));
}

/* ---- the wait ---------------------------------------------------------------------------------------------- */

/* Its client has got a part of the answer, or tools ran for it: it is not turned away any more. */
static bool has_begun(const struct turn *t)
{
	return answer_is_shown(&t->answer) || t->tools.rounds > 0 || t->resumed;
}

static void on_called(void *arg)
{
	struct turn *t = arg;

	t->proceed(t);
}

static void count_wait(struct turn *t)
{
	struct queueing *q = &t->queue;
	int64_t waited_ns;
	const struct span_end end = {.name = "wait for a place", .kind = SPAN_INTERNAL, .parent = &t->span};

	if (q->began_ns == 0)
		return;
	waited_ns = clock_mono_ns() - q->began_ns;
	q->began_ns = 0;
	q->waited_ns += waited_ns;
	trace_end(t->trace, &q->span, &end);
	counters_add(t->services->counters, COUNTER_TURNS_FOR_PLACE, -1);
	counters_count(t->services->counters, SERIES_QUEUED, q->model, 0, -1);
	counters_observe(t->services->counters, SERIES_QUEUE_WAIT, q->model, waited_ns, 1);
}

void turn_queue_leave(struct turn *t)
{
	place_queue_leave(&t->queue.waiter);
	count_wait(t);
	t->queue.granted = false;
}

static void wake_next(struct turn *t)
{
	const struct queueing *q = &t->queue;
	int64_t next_ms = q->until_ms;

	if (t->answer.reply->protocol->heartbeat != NULL && q->beat_ms < next_ms)
		next_ms = q->beat_ms;
	next_ms -= clock_mono_ms();
	turn_wake_in(t, next_ms > 0 ? next_ms : 0);
}

static void note_refusal(const struct turn *t, const char *reason)
{
	const struct chat_services *s = t->services;
	struct status_snapshot *snapshot = s->note != NULL ? s->snapshot(s->arg) : NULL;
	const struct status_llm *l = snapshot != NULL ? find_group(snapshot, t->queue.group) : NULL;
	struct event_record r;

	if (snapshot == NULL)
		return;
	r = event_record_of(EVENT_REFUSED, l != NULL ? status_llm_name(snapshot, l) : NULL, NULL, NULL, reason);
	s->note(s->arg, &r);
	status_release(snapshot);
}

static enum step refuse(struct turn *t, enum queue_refusal why, int64_t retry_ns)
{
	static const char *const sentences[] = {
		[QUEUE_REFUSED_FULL] = FULL, [QUEUE_REFUSED_KEY] = KEY_FULL, [QUEUE_REFUSED_LATE] = LATE};
	static const char *const reasons[] = {[QUEUE_REFUSED_FULL] = "queue_full",
	                                      [QUEUE_REFUSED_KEY] = "queue_key_full",
	                                      [QUEUE_REFUSED_LATE] = "queue_wait"};
	int64_t retry_s = (retry_ns + 999999999) / 1000000000;
	char text[200];

	counters_add(t->services->counters, COUNTER_TURNS_NO_PLACE, 1);
	counters_count(t->services->counters, SERIES_QUEUE_REFUSED, t->queue.model, why, 1);
	snprintf(t->log.reason, sizeof t->log.reason, "%s", reasons[why]);
	note_refusal(t, reasons[why]);
	if (has_begun(t))
		return turn_fail(t, FAILURE_FULL, answer_is_shown(&t->answer) ? BROKE_OFF : TURN_NO_ANSWER);
	retry_s = retry_s < 1 ? 1 : retry_s > RETRY_MAX_S ? RETRY_MAX_S : retry_s;
	t->answer.reply->retry_after_s = (unsigned)retry_s;
	snprintf(text, sizeof text, "%s Please try again in %u second%s.", sentences[why], (unsigned)retry_s,
	         retry_s == 1 ? "" : "s");
	answer_fail(&t->answer, FAILURE_FULL, text);
	turn_leave(t, "refused", COUNTER_TURNS_REFUSED);
	return STEP_END; /* the client asks again: its question is not stored */
}

static unsigned priority_of(const struct turn *t)
{
	const struct access_identity *client = t->conversation.client;
	unsigned priority = client != NULL ? (unsigned)client->priority : ACCESS_NORMAL;

	return has_begun(t) && priority < QUEUE_PRIORITIES - 1 ? priority + 1 : priority;
}

/* The file cannot be used: it is as if there were no queue. */
static enum step go_on_without(struct turn *t)
{
	t->queue.forced = true;
	return STEP_CHOOSE;
}

static enum step enter(struct turn *t)
{
	struct queueing *q = &t->queue;
	const struct config *c = t->config;
	const int64_t wait_ms = cfg_ms(c, CFG_QUEUE_WAIT), now_ns = clock_boot_ns();
	const bool begun = has_begun(t);
	const struct queue_request r = {
		.group = q->group,
		.key = q->key,
		.priority = priority_of(t),
		.length = begun ? UINT32_MAX : (uint32_t)cfg_int(c, CFG_QUEUE_LENGTH),
		.per_key = begun ? 0 : (uint32_t)cfg_int(c, CFG_QUEUE_PER_KEY),
		.now_ns = now_ns,
		.deadline_ns = now_ns + wait_ms * 1000000,
	};
	int64_t retry_ns = 0;

	q->waiter.called = on_called;
	q->waiter.free_places = on_free_places;
	q->waiter.arg = t;
	switch (place_queue_enter(t->services->places, &q->waiter, &r, &retry_ns)) {
	case QUEUE_WAITS:
		break;
	case QUEUE_FULL:
		return refuse(t, QUEUE_REFUSED_FULL, retry_ns);
	case QUEUE_KEY_FULL:
		return refuse(t, QUEUE_REFUSED_KEY, retry_ns);
	case QUEUE_UNUSABLE:
		return go_on_without(t);
	}
	q->until_ms = clock_mono_ms() + wait_ms;
	if (q->until_ms > t->deadline_ms)
		q->until_ms = t->deadline_ms;
	q->beat_ms = clock_mono_ms() + (begun ? BEAT_MS : HOLD_MS);
	q->began_ns = clock_mono_ns();
	trace_begin(t->trace, &q->span);
	counters_add(t->services->counters, COUNTER_TURNS_FOR_PLACE, 1);
	counters_count(t->services->counters, SERIES_QUEUED, q->model, 0, 1);
	wake_next(t);
	return STEP_STAY;
}

enum step turn_queue(struct turn *t)
{
	struct queueing *q = &t->queue;

	if (q->waiter.queue == NULL)
		return enter(t);
	/* It was called, but others had been faster, or the place is at a replica that has failed it. */
	q->granted = false;
	place_queue_return(&q->waiter);
	wake_next(t);
	return STEP_STAY;
}

/* A place is there for it; or its ticket was lost, and it enters again if there is none. */
enum step turn_queue_called(struct turn *t)
{
	t->queue.granted = place_queue_is_granted(&t->queue.waiter);
	if (!t->queue.granted)
		turn_queue_leave(t);
	return STEP_CHOOSE;
}

enum step turn_queue_late(struct turn *t)
{
	struct queueing *q = &t->queue;
	const struct protocol *p = t->answer.reply->protocol;
	int64_t now_ms = clock_mono_ms(), retry_ns;

	if (now_ms >= q->until_ms) {
		retry_ns = place_queue_left_ns(&q->waiter);
		turn_queue_leave(t);
		return refuse(t, QUEUE_REFUSED_LATE, retry_ns);
	}
	if (p->heartbeat != NULL && now_ms >= q->beat_ms) {
		p->heartbeat(t->answer.reply);
		q->beat_ms = now_ms + BEAT_MS;
	}
	wake_next(t);
	return STEP_STAY;
}
