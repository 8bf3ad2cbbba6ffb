/* SPDX-License-Identifier: Apache-2.0 */
/* Where turns wait for an LLM while there is none: in the order in which they came, and not
 * more of them than fit. They are called as soon as one was published. */
#ifndef TT_TURN_WAIT_QUEUE_H
#define TT_TURN_WAIT_QUEUE_H

#include "core/base/err.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct wait_queue;

/* Part of who waits. */
struct waiter {
	TAILQ_ENTRY(waiter) link;
	void (*called)(void *arg); /* there is an LLM; it waits no more */
	void *arg;
	struct wait_queue *room; /* NULL: it does not wait */
};

/* there_is_one is asked often while somebody waits, so it must cost next to nothing. */
struct wait_queue *wait_queue_new(struct event_base *base, bool (*there_is_one)(void *arg), void *arg, struct err *e);
void wait_queue_free(struct wait_queue *r); /* nobody is called; NULL is fine */

/* False: `most` wait already, or no memory. */
bool wait_queue_enter(struct wait_queue *r, struct waiter *w, size_t most);
void wait_queue_leave(struct waiter *w); /* one that does not wait is fine */

#endif
