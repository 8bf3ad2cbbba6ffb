/* SPDX-License-Identifier: Apache-2.0 */
/* Turns that wait for a place because all replicas that may answer them are full: one queue for each group of
 * replicas, over all workers of this host, in a file of the run directory (core/status/shared_file.h).
 *
 * It is bounded, in total and for each key (who sent the turn), and fair: keys take turns, as in start-time fair
 * queueing, so that one with a hundred waiting turns and one with a single one alternate. Before that the priority
 * counts. Ageing ends that: a turn that has waited for a third of the time that it may wait rises by one priority,
 * and after two thirds by two, so nothing waits for ever because of others.
 *
 * Whoever frees a place grants it: it marks the ticket that is next and wakes the one worker that has it, with
 * QUEUE_WAKE, a signal that does nothing to a process that does not expect it. The queue counts no places. It is
 * given their number, and subtracts the grants that nobody has used yet.
 *
 * What a dead worker had is dropped within a second. One thread. */
#ifndef TT_BALANCE_QUEUE_H
#define TT_BALANCE_QUEUE_H

#include "core/base/err.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define QUEUE_FILE        "queue.v1"
#define QUEUE_WAKE        SIGURG
#define QUEUE_TICKETS_MAX 2048u /* of one worker */
#define QUEUE_PRIORITIES  3

struct queue;

/* After the fork, like counters_open. NULL with e: no memory. Only e: the file cannot be used, and nothing waits until
 * queue_tick could make it. granted is called whenever a turn of this process was granted a place by this process; by
 * others, QUEUE_WAKE comes. Neither says which: queue_state does. */
struct queue *queue_open(const char *run_dir, void (*granted)(void *arg), void *arg, struct err *e);
void queue_close(struct queue *q); /* NULL is fine */

/* Once a second: what dead workers had is dropped, and a file that is gone is made again. e is set where it cannot
 * be. */
void queue_tick(struct queue *q, struct err *e);

struct queue_request {
	uint64_t group, key;         /* not 0 */
	unsigned priority;           /* less than QUEUE_PRIORITIES; 0 is the lowest */
	uint32_t length;             /* how many may wait, in all groups together */
	uint32_t per_key;            /* how many of its key; 0: no limit of its own */
	int64_t now_ns, deadline_ns; /* CLOCK_BOOTTIME */
};

struct queue_ticket {
	uint64_t file, serial; /* serial 0: none */
	uint32_t at;
};

enum queue_verdict {
	QUEUE_WAITS,
	QUEUE_FULL,
	QUEUE_KEY_FULL,
	QUEUE_UNUSABLE, /* the file cannot be used now */
};

/* Where it is refused, *retry_ns is how long it takes, about, until a turn that enters now would be granted a place. */
enum queue_verdict queue_enter(struct queue *q, const struct queue_request *r, struct queue_ticket *out,
                               int64_t *retry_ns);

enum queue_state {
	QUEUE_WAITING,
	QUEUE_GRANTED,
	QUEUE_LOST, /* the file was replaced: it may enter again */
};
enum queue_state queue_state(const struct queue *q, const struct queue_ticket *t); /* one load from memory */

/* It waits no longer, or has taken the place that it was granted. The ticket is none then. */
void queue_leave(struct queue *q, struct queue_ticket *t);

/* It was granted a place but found none that it can use: it waits on, where it was, and is granted none before
 * that time. */
void queue_return(struct queue *q, const struct queue_ticket *t, int64_t not_before_ns);

/* So many places of the group are free: grants them to those that wait. Returns how many. */
unsigned queue_grant(struct queue *q, uint64_t group, uint32_t free_places, int64_t now_ns);

/* Whether anybody waits, in any group: one load from memory. NULL is fine. */
bool queue_is_used(const struct queue *q);
/* Whether a turn that comes now must wait because others do. */
bool queue_has_group(struct queue *q, uint64_t group);

/* How long it takes, about, until the place of this one would be there. */
int64_t queue_left_ns(struct queue *q, const struct queue_ticket *t, int64_t now_ns);

#endif
