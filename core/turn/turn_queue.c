/* SPDX-License-Identifier: Apache-2.0 */
/* QUEUE: while all replicas that may answer are full, the turn waits for a place at one of them. */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"

#include <stdio.h>
#include <string.h>

/* Until then a 429 stays possible. Proxies wait for a response's head for 60 s, and after the queue the LLM may need
 * some time for its first token, too. */
#define HOLD_MS 40000
#define BEAT_MS 10000

#define BROKE_OFF                                                                                                      \
	"The answer broke off here because all language models that could continue it are busy. Please ask again."

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

void turn_queue_init(struct turn *t, uint64_t key)
{
	t->queue.wait = (struct place_wait){
		.services = t->services,
		.called = on_called,
		.arg = t,
		.what = "chats",
		.key = key,
		.trace = t->trace,
		.parent = &t->span,
	};
}

static void wake_next(struct turn *t)
{
	const struct queueing *q = &t->queue;
	int64_t next_ms = q->wait.until_ms;

	if (t->answer.reply->protocol->heartbeat != NULL && q->beat_ms < next_ms)
		next_ms = q->beat_ms;
	next_ms -= clock_mono_ms();
	turn_wake_in(t, next_ms > 0 ? next_ms : 0);
}

static enum step refuse(struct turn *t, const struct place_refusal *refusal)
{
	snprintf(t->log.reason, sizeof t->log.reason, "%s", refusal->reason);
	if (has_begun(t))
		return turn_fail(t, FAILURE_FULL, answer_is_shown(&t->answer) ? BROKE_OFF : TURN_NO_ANSWER);
	t->answer.reply->retry_after_s = refusal->retry_s;
	answer_fail(&t->answer, FAILURE_FULL, refusal->text);
	turn_leave(t, "refused", COUNTER_TURNS_REFUSED);
	return STEP_END; /* the client asks again: its question is not stored */
}

enum step turn_queue(struct turn *t)
{
	struct queueing *q = &t->queue;
	const bool begun = has_begun(t), waited = q->wait.waiter.queue != NULL;
	const struct place_terms terms = {
		.config = t->config, .client = t->conversation.client, .begun = begun, .deadline_ms = t->deadline_ms};
	struct place_refusal refusal;

	switch (place_wait_enter(&q->wait, &terms, &refusal)) {
	case PLACE_WAITS:
		break;
	case PLACE_REFUSED:
		return refuse(t, &refusal);
	case PLACE_FORCED:
		return STEP_CHOOSE;
	}
	if (!waited)
		q->beat_ms = clock_mono_ms() + (begun ? BEAT_MS : HOLD_MS);
	wake_next(t);
	return STEP_STAY;
}

enum step turn_queue_called(struct turn *t)
{
	place_wait_called(&t->queue.wait);
	return STEP_CHOOSE;
}

enum step turn_queue_late(struct turn *t)
{
	struct queueing *q = &t->queue;
	const struct protocol *p = t->answer.reply->protocol;
	int64_t now_ms = clock_mono_ms();
	struct place_refusal refusal;

	if (now_ms >= q->wait.until_ms) {
		place_wait_late(&q->wait, &refusal);
		return refuse(t, &refusal);
	}
	if (p->heartbeat != NULL && now_ms >= q->beat_ms) {
		p->heartbeat(t->answer.reply);
		q->beat_ms = now_ms + BEAT_MS;
	}
	wake_next(t);
	return STEP_STAY;
}

void turn_queue_leave(struct turn *t)
{
	place_wait_leave(&t->queue.wait);
}
