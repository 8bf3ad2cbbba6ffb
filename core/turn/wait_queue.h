/* SPDX-License-Identifier: Apache-2.0 */
/* Where turns wait for an LLM while there is none: in the order in which they came, up to a
 * limit. They are called as soon as one was published. */
#ifndef TT_TURN_WAIT_QUEUE_H
#define TT_TURN_WAIT_QUEUE_H

#include "core/base/err.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct wait_queue;

/* Part of what waits. */
struct waiter {
	TAILQ_ENTRY(waiter) link;
	void (*called)(void *arg); /* there is an LLM; it no longer waits */
	void *arg;
	struct wait_queue *queue; /* NULL: it does not wait */
};

/* has_llm is called often while something waits, so it must cost next to nothing. */
struct wait_queue *wait_queue_new(struct event_base *base, bool (*has_llm)(void *arg), void *arg, struct err *e);
void wait_queue_free(struct wait_queue *q); /* none is called; NULL is fine */

/* False: `most` wait already. */
bool wait_queue_enter(struct wait_queue *q, struct waiter *w, size_t most);
void wait_queue_leave(struct waiter *w); /* need not be waiting */

#endif
