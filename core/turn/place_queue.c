/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/place_queue.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS    100  /* while something waits */
#define SWEEP_MS   1000 /* for dead workers */
#define REOPEN_MS  1000
#define RETURN_MS  100 /* so long others go first */
#define GROUPS_MAX 32  /* that one tick looks after */

TAILQ_HEAD(place_waiters, place_waiter);

struct place_queue {
	struct event_base *base;
	char *run_dir, *path;
	struct queue *queue;                 /* NULL: not opened */
	struct event *tick, *wake, *granted; /* wake: QUEUE_WAKE came; granted: by this process itself */
	struct place_waiters waiters;
	uint64_t round;
	int64_t tick_at_ms, open_at_ms;
	bool logged;
};

/* Each call may end any other turn, so the list is searched from its beginning again. */
static void call_granted(struct place_queue *q)
{
	struct place_waiter *w = TAILQ_FIRST(&q->waiters);

	q->round++;
	while (w != NULL) {
		if (w->round == q->round || queue_state(q->queue, &w->ticket) == QUEUE_WAITING) {
			w = TAILQ_NEXT(w, link);
			continue;
		}
		w->round = q->round;
		w->called(w->arg);
		w = TAILQ_FIRST(&q->waiters);
	}
}

static void on_granted(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	call_granted(arg);
}

/* From within queue_grant. */
static void on_own_grant(void *arg)
{
	const struct place_queue *q = arg;

	event_active(q->granted, EV_TIMEOUT, 0);
}

/* What is free in each group that something waits for here. */
static void grant_free(struct place_queue *q)
{
	uint64_t groups[GROUPS_MAX];
	size_t count = 0, i;
	struct place_waiter *w;

	TAILQ_FOREACH(w, &q->waiters, link)
	{
		for (i = 0; i < count && groups[i] != w->group; i++)
			;
		if (i < count || count == GROUPS_MAX)
			continue;
		groups[count++] = w->group;
		queue_grant(q->queue, w->group, w->free_places(w->arg), clock_boot_ns());
	}
}

static void log_once(struct place_queue *q, const struct err *e)
{
	if (err_is_set(e) && !q->logged)
		log_event(LOG_QUEUE_NOT_SHARED, L_STR("error", e->text));
	q->logged = err_is_set(e);
}

static void schedule(struct place_queue *q)
{
	const struct timeval tv = clock_timeval_ms(TICK_MS);

	if (TAILQ_EMPTY(&q->waiters))
		event_del(q->tick);
	else if (!event_pending(q->tick, EV_TIMEOUT, NULL))
		event_add(q->tick, &tv);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct place_queue *q = arg;

	(void)fd, (void)what;
	grant_free(q);
	call_granted(q);
	schedule(q);
}

struct place_queue *place_queue_new(struct event_base *base, const char *run_dir, struct err *e)
{
	struct place_queue *q = calloc(1, sizeof *q);

	if (q != NULL) {
		TAILQ_INIT(&q->waiters);
		q->base = base;
		q->run_dir = strdup(run_dir);
		if (asprintf(&q->path, "%s/" QUEUE_FILE, run_dir) < 0)
			q->path = NULL;
		q->tick = evtimer_new(base, on_tick, q);
		q->granted = evtimer_new(base, on_granted, q);
		q->wake = evsignal_new(base, QUEUE_WAKE, on_granted, q);
	}
	if (q == NULL || q->run_dir == NULL || q->path == NULL || q->tick == NULL || q->granted == NULL ||
	    q->wake == NULL) {
		err_set(e, "no memory for the queue of turns that wait for a place");
		place_queue_free(q);
		return NULL;
	}
	return q;
}

void place_queue_free(struct place_queue *q)
{
	struct event *const events[] = {q != NULL ? q->tick : NULL, q != NULL ? q->granted : NULL,
	                                q != NULL ? q->wake : NULL};
	struct place_waiter *w;

	if (q == NULL)
		return;
	while ((w = TAILQ_FIRST(&q->waiters)) != NULL)
		place_queue_leave(w);
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
		if (events[i] != NULL)
			event_free(events[i]);
	queue_close(q->queue);
	free(q->run_dir);
	free(q->path);
	free(q);
}

static bool have_queue(struct place_queue *q)
{
	struct err e = ERR_INIT;

	if (q->queue != NULL)
		return true;
	if (clock_mono_ms() < q->open_at_ms)
		return false;
	q->open_at_ms = clock_mono_ms() + REOPEN_MS;
	if (event_add(q->wake, NULL) == 0) /* before others can send it */
		q->queue = queue_open(q->run_dir, on_own_grant, q, &e);
	else
		err_set(&e, "no memory for a signal");
	log_once(q, &e);
	return q->queue != NULL;
}

void place_queue_tick(struct place_queue *q)
{
	struct err e = ERR_INIT;

	if (clock_mono_ms() < q->tick_at_ms)
		return;
	q->tick_at_ms = clock_mono_ms() + SWEEP_MS;
	if (q->queue == NULL && access(q->path, F_OK) == 0)
		have_queue(q);
	if (q->queue == NULL)
		return;
	queue_tick(q->queue, &e);
	log_once(q, &e);
	call_granted(q); /* tickets may have been lost */
}

bool place_queue_has_group(struct place_queue *q, uint64_t group)
{
	return have_queue(q) && queue_has_group(q->queue, group);
}

enum queue_verdict place_queue_enter(struct place_queue *q, struct place_waiter *w, const struct queue_request *r,
                                     int64_t *retry_ns)
{
	enum queue_verdict v = have_queue(q) ? queue_enter(q->queue, r, &w->ticket, retry_ns) : QUEUE_UNUSABLE;

	if (v != QUEUE_WAITS)
		return v;
	w->queue = q;
	w->group = r->group;
	TAILQ_INSERT_TAIL(&q->waiters, w, link);
	schedule(q);
	/* A place may have become free since it was looked for. */
	queue_grant(q->queue, w->group, w->free_places(w->arg), r->now_ns);
	return v;
}

void place_queue_leave(struct place_waiter *w)
{
	struct place_queue *q = w->queue;

	if (q == NULL)
		return;
	TAILQ_REMOVE(&q->waiters, w, link);
	w->queue = NULL;
	queue_leave(q->queue, &w->ticket);
	schedule(q);
	/* If it was granted a place and has not taken it, that is another one's. */
	if (queue_is_used(q->queue))
		queue_grant(q->queue, w->group, w->free_places(w->arg), clock_boot_ns());
}

void place_queue_return(struct place_waiter *w)
{
	queue_return(w->queue->queue, &w->ticket, clock_boot_ns() + RETURN_MS * INT64_C(1000000));
	place_queue_freed(w->queue, w->group, w->free_places(w->arg));
}

bool place_queue_is_granted(const struct place_waiter *w)
{
	return queue_state(w->queue->queue, &w->ticket) == QUEUE_GRANTED;
}

int64_t place_queue_left_ns(const struct place_waiter *w)
{
	return queue_left_ns(w->queue->queue, &w->ticket, clock_boot_ns());
}

void place_queue_freed(struct place_queue *q, uint64_t group, uint32_t free_places)
{
	queue_grant(q->queue, group, free_places, clock_boot_ns());
}

bool place_queue_is_used(const struct place_queue *q)
{
	return queue_is_used(q->queue);
}
