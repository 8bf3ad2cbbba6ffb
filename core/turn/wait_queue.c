/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/wait_queue.h"

#include <stdlib.h>

#define CHECK_MS 10 /* nobody notices that much; a check is one load from memory */

TAILQ_HEAD(waiters, waiter);

struct wait_queue {
	struct event *check;
	bool (*has_llm)(void *arg);
	void *arg;
	struct waiters waiters;
	size_t count;
};

static void check_soon(struct wait_queue *q)
{
	const struct timeval soon = {.tv_usec = CHECK_MS * 1000};

	if (q->count > 0)
		event_add(q->check, &soon);
}

static void on_check(evutil_socket_t fd, short what, void *arg)
{
	struct wait_queue *q = arg;
	struct waiter *w;
	size_t left = q->count; /* what begins to wait meanwhile is called at the next check */

	(void)fd;
	(void)what;
	while (left-- > 0 && (w = TAILQ_FIRST(&q->waiters)) != NULL && q->has_llm(q->arg)) {
		wait_queue_leave(w);
		w->called(w->arg);
	}
	check_soon(q);
}

struct wait_queue *wait_queue_new(struct event_base *base, bool (*has_llm)(void *arg), void *arg, struct err *e)
{
	struct wait_queue *q = calloc(1, sizeof *q);

	if (q != NULL) {
		TAILQ_INIT(&q->waiters);
		q->has_llm = has_llm;
		q->arg = arg;
		q->check = evtimer_new(base, on_check, q);
	}
	if (q == NULL || q->check == NULL) {
		err_set(e, "no memory for the queue of turns that wait for an LLM");
		free(q);
		return NULL;
	}
	return q;
}

void wait_queue_free(struct wait_queue *q)
{
	struct waiter *w;

	if (q == NULL)
		return;
	while ((w = TAILQ_FIRST(&q->waiters)) != NULL)
		wait_queue_leave(w);
	event_free(q->check);
	free(q);
}

bool wait_queue_enter(struct wait_queue *q, struct waiter *w, size_t most)
{
	if (q->count >= most)
		return false;
	TAILQ_INSERT_TAIL(&q->waiters, w, link);
	w->queue = q;
	if (q->count++ == 0)
		check_soon(q);
	return true;
}

void wait_queue_leave(struct waiter *w)
{
	struct wait_queue *q = w->queue;

	if (q == NULL)
		return;
	TAILQ_REMOVE(&q->waiters, w, link);
	w->queue = NULL;
	if (--q->count == 0)
		event_del(q->check);
}
