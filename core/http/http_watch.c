/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include "core/base/clock.h"

/* A transfer ends at its deadline, or after too long a silence: a time that moves with every
 * byte. One timer is set to the earliest of these times; when it fires, most have moved, and
 * the earliest is searched again. So a byte costs one store, and no timer is ever reset. */

#define BEAT_MS 500 /* the timer fires at least this often while transfers run */

static int64_t silence_ends_ms(const struct http_transfer *t)
{
	if (t->silence_ms == 0 || t->paused || t->state == TRANSFER_LOOKING_UP)
		return NEVER;
	return t->last_ms + t->silence_ms;
}

int64_t http_watch_due(const struct http_transfer *t)
{
	int64_t silent = silence_ends_ms(t), due = t->deadline_ms;

	if (t->state == TRANSFER_LOOKING_UP && t->connect_ms > 0 && t->started_ms + t->connect_ms < due)
		due = t->started_ms + t->connect_ms;
	return silent < due ? silent : due;
}

static void arm(struct http *h, int64_t now, int64_t due)
{
	int64_t wait = due > now ? due - now : 0;
	struct timeval tv = {.tv_sec = wait / 1000, .tv_usec = wait % 1000 * 1000};

	h->watch_due_ms = due;
	event_add(h->watch, &tv);
}

void http_watch_consider(struct http *h, int64_t due_ms)
{
	int64_t now;

	if (due_ms < h->check_due_ms)
		h->check_due_ms = due_ms;
	if (h->watch_due_ms != NEVER && due_ms >= h->watch_due_ms)
		return;
	now = clock_mono_ms();
	arm(h, now, due_ms < now + BEAT_MS ? due_ms : now + BEAT_MS);
}

void http_watch_transfer(struct http_transfer *t)
{
	http_watch_consider(t->http, http_watch_due(t));
}

void http_progress(struct http_transfer *t, int64_t silence_ms)
{
	bool sooner = !t->progress_only || silence_ms < t->silence_ms;

	t->progress_only = true;
	t->last_ms = t->http->now_ms;
	t->silence_ms = silence_ms;
	if (sooner)
		http_watch_transfer(t);
}

bool http_watch_stalled_since(struct http *h, int64_t since_ms)
{
	return h->stalled_ms >= since_ms || (h->watch_due_ms != NEVER && clock_mono_ms() - h->watch_due_ms >= STALL_MS);
}
