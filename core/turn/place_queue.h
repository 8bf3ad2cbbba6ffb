/* SPDX-License-Identifier: Apache-2.0 */
/* The turns of one worker that wait for a place at a replica (core/balance/queue.h), on its event loop: they are
 * called when they were granted one.
 *
 * While none waits, no timer runs. The file is opened by the first turn that has to wait, or a moment after another
 * worker has made it. While some wait, a timer looks for what nobody may have reported: places of workers that died,
 * replicas that are new. One thread. */
#ifndef TT_TURN_PLACE_QUEUE_H
#define TT_TURN_PLACE_QUEUE_H

#include "core/balance/queue.h"

#include <event2/event.h>
#include <sys/queue.h>

struct place_queue;

/* Part of what waits. */
struct place_waiter {
	TAILQ_ENTRY(place_waiter) link;
	/* A place is there for it, or it should look for one itself: place_queue_leave or place_queue_return follow. It
	 * may wait no longer when this returns. */
	void (*called)(void *arg);
	uint32_t (*free_places)(void *arg); /* of its group, now; UINT32_MAX: there is always room */
	void *arg;
	struct place_queue *queue; /* NULL: it does not wait */
	struct queue_ticket ticket;
	uint64_t group;
	uint64_t round; /* in which it was called last */
};

/* NULL with e: no memory. */
struct place_queue *place_queue_new(struct event_base *base, const char *run_dir, struct err *e);
void place_queue_free(struct place_queue *q); /* none is called; NULL is fine */

/* At least once a second. Where others queue already, so does this worker from now on. */
void place_queue_tick(struct place_queue *q);

/* Whether a turn that comes now must let others go first. Opens the file. */
bool place_queue_has_group(struct place_queue *q, uint64_t group);

/* r->group is the waiter's. Where it waits, it may be called from the loop from now on. */
enum queue_verdict place_queue_enter(struct place_queue *q, struct place_waiter *w, const struct queue_request *r,
                                     int64_t *retry_ns);
/* It has taken a place, or waits no longer; another one is granted what is free. Need not be waiting. */
void place_queue_leave(struct place_waiter *w);
/* It was called, but there was none for it: it waits on. */
void place_queue_return(struct place_waiter *w);

/* While it is called: a place is there for it. Else its ticket was lost. */
bool place_queue_is_granted(const struct place_waiter *w);

/* How long it takes, about, until a place would be there for it. It waits. */
int64_t place_queue_left_ns(const struct place_waiter *w);

/* Whether anybody waits, also in other workers: one load from memory. Then the place that has just become free
 * is granted: so many of the group are free. */
bool place_queue_is_used(const struct place_queue *q);
void place_queue_freed(struct place_queue *q, uint64_t group, uint32_t free_places);

#endif
