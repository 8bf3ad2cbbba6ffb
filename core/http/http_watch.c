/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include "core/base/clock.h"

/* A transfer ends at its deadline, or after too long a silence: a time that moves with every
 * byte. One timer is set to the earliest of these times; when it fires, most have moved, and
 * the earliest is searched again. So a byte costs one store, and no timer is ever reset. */

#define BEAT_MS 500  /* the timer fires at least this often while transfers run ... */
#define GAP_MS  1000 /* ... so if it is this late, our own loop stalled, and no server is to blame */

static int64_t silence_ends_ms(const struct http_transfer *t)
{
	if (t->silence_ms == 0 || t->paused || t->state == TRANSFER_LOOKING_UP)
		return NEVER;
	return t->last_ms + t->silence_ms;
}

static int64_t due_of(const struct http_transfer *t)
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
	http_watch_consider(t->http, due_of(t));
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
	return h->stalled_ms >= since_ms || (h->watch_due_ms != NEVER && clock_mono_ms() - h->watch_due_ms >= GAP_MS);
}

static void extend(struct http_transfer *t, int64_t late)
{
	t->last_ms += late;
	t->started_ms += late;
	if (t->deadline_ms != NEVER)
		t->deadline_ms += late;
}

static void expire(struct http_transfer *t, int64_t now)
{
	if (t->deadline_ms <= now) {
		http_end(t, HTTP_TIMEOUT);
	} else if (t->state == TRANSFER_LOOKING_UP) {
		http_error(t, "the name was not looked up within %lld ms", (long long)t->connect_ms);
		http_end(t, HTTP_NO_HOST);
	} else {
		http_end(t, HTTP_SILENCE);
	}
}

/* Returns when the next transfer may be over. */
static int64_t check_all(struct http *h, int64_t now, int64_t late)
{
	struct http_transfer *t, *following;
	int64_t next = NEVER;

	for (t = TAILQ_FIRST(&h->all); t != NULL; t = following) {
		int64_t due;

		following = TAILQ_NEXT(t, link);
		if (t->state == TRANSFER_ENDED)
			continue;
		if (late >= GAP_MS)
			extend(t, late);
		due = due_of(t);
		if (due <= now)
			expire(t, now);
		else if (due < next)
			next = due;
	}
	return next;
}

void http_watch_fire(evutil_socket_t fd, short what, void *arg)
{
	struct http *h = arg;
	int64_t now = clock_mono_ms(), late = now - h->watch_due_ms;

	(void)fd;
	(void)what;
	h->watch_due_ms = NEVER;
	if (late >= GAP_MS)
		h->stalled_ms = now;
	if (now >= h->check_due_ms || late >= GAP_MS || h->active == 0) {
		int64_t next = check_all(h, now, late), shards = http_shard_prune(h, now);

		h->check_due_ms = shards < next ? shards : next;
	}
	if (h->check_due_ms != NEVER)
		http_watch_consider(h, h->check_due_ms);
}
