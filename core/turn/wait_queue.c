/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/wait_queue.h"

#include <stdlib.h>

#define LOOK_MS 10 /* nobody notices that much; looking is one load from memory */

TAILQ_HEAD(waiters, waiter);

struct wait_queue {
	struct event *look;
	bool (*there_is_one)(void *arg);
	void *arg;
	struct waiters waiters;
	size_t count;
};

static void look_again(struct wait_queue *r)
{
	const struct timeval soon = {.tv_usec = LOOK_MS * 1000};

	if (r->count > 0)
		event_add(r->look, &soon);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
	struct wait_queue *r = arg;
	struct waiter *w;
	size_t turn = r->count; /* who waits again is asked the next time */

	(void)fd;
	(void)what;
	while (turn-- > 0 && (w = TAILQ_FIRST(&r->waiters)) != NULL && r->there_is_one(r->arg)) {
		wait_queue_leave(w);
		w->called(w->arg);
	}
	look_again(r);
}

struct wait_queue *wait_queue_new(struct event_base *base, bool (*there_is_one)(void *arg), void *arg, struct err *e)
{
	struct wait_queue *r = calloc(1, sizeof *r);

	if (r != NULL) {
		TAILQ_INIT(&r->waiters);
		r->there_is_one = there_is_one;
		r->arg = arg;
		r->look = evtimer_new(base, on_look, r);
	}
	if (r == NULL || r->look == NULL) {
		err_set(e, "no memory for turns that wait");
		free(r);
		return NULL;
	}
	return r;
}

void wait_queue_free(struct wait_queue *r)
{
	struct waiter *w;

	if (r == NULL)
		return;
	while ((w = TAILQ_FIRST(&r->waiters)) != NULL)
		wait_queue_leave(w);
	event_free(r->look);
	free(r);
}

bool wait_queue_enter(struct wait_queue *r, struct waiter *w, size_t most)
{
	if (r->count >= most)
		return false;
	TAILQ_INSERT_TAIL(&r->waiters, w, link);
	w->room = r;
	if (r->count++ == 0)
		look_again(r);
	return true;
}

void wait_queue_leave(struct waiter *w)
{
	struct wait_queue *r = w->room;

	if (r == NULL)
		return;
	TAILQ_REMOVE(&r->waiters, w, link);
	w->room = NULL;
	if (--r->count == 0)
		event_del(r->look);
}
