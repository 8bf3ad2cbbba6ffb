/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/relay_private.h"

#include "core/base/clock.h"

/* As turns: until then a 429 stays possible, and then proxies want to see something. */
#define HOLD_MS 40000
#define BEAT_MS 10000

#define BEAT ": the answer is still coming\n\n"

static void on_called(void *arg)
{
	struct relay *r = arg;

	counters_begin_work(r->services->counters);
	place_wait_called(&r->wait);
	relay_llm_choose(r);
}

void relay_queue_init(struct relay *r, uint64_t key)
{
	r->wait = (struct place_wait){
		.services = r->services,
		.called = on_called,
		.arg = r,
		.what = "requests",
		.key = key,
		.trace = r->trace,
		.parent = &r->span,
		.forced = r->kind->needs_no_place,
	};
}

static void wake_next(struct relay *r)
{
	int64_t next_ms = r->wait.until_ms;
	struct timeval tv;

	if (r->request.streams && r->beat_ms < next_ms)
		next_ms = r->beat_ms;
	next_ms -= clock_mono_ms();
	tv = clock_timeval_ms(next_ms > 0 ? next_ms : 0);
	evtimer_add(r->again, &tv);
}

void relay_queue_enter(struct relay *r)
{
	const struct place_terms terms = {
		.config = r->config, .client = connection_identity(r->connection), .deadline_ms = r->deadline_ms};
	const bool waited = relay_queue_waits(r);
	struct place_refusal refusal;

	switch (place_wait_enter(&r->wait, &terms, &refusal)) {
	case PLACE_WAITS:
		break;
	case PLACE_REFUSED:
		relay_refuse(r, &refusal);
		return;
	case PLACE_FORCED:
		relay_llm_choose(r);
		return;
	}
	if (!waited)
		r->beat_ms = clock_mono_ms() + (r->begun ? BEAT_MS : HOLD_MS);
	wake_next(r);
}

void relay_queue_late(struct relay *r)
{
	const int64_t now_ms = clock_mono_ms();
	struct place_refusal refusal;

	if (now_ms >= r->wait.until_ms) {
		place_wait_late(&r->wait, &refusal);
		relay_refuse(r, &refusal);
		return;
	}
	if (r->request.streams && now_ms >= r->beat_ms) {
		relay_llm_begin_stream(r);
		output_write_frame(relay_output(r), BEAT, sizeof BEAT - 1, "", 0);
		r->beat_ms = now_ms + BEAT_MS;
	}
	wake_next(r);
}

void relay_queue_leave(struct relay *r)
{
	if (relay_queue_waits(r))
		evtimer_del(r->again);
	place_wait_leave(&r->wait);
}
