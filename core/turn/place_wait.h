/* SPDX-License-Identifier: Apache-2.0 */
/* The wait for a place at one of the replicas that may answer: of a turn before an attempt, and of a request that is
 * relayed. The rules are the same for both: fair by key, bounded (queue.*), by priority, and refused with a time after
 * which it may try again. One thread. */
#ifndef TT_TURN_PLACE_WAIT_H
#define TT_TURN_PLACE_WAIT_H

#include "core/trace/trace.h"
#include "core/turn/candidates.h"
#include "core/turn/place_queue.h"

struct chat_services;

/* Part of what waits; zeroed, but for the first members, which its owner sets. */
struct place_wait {
	const struct chat_services *services;
	/* From the loop, while it waits: place_wait_called follows, and the choice again. */
	void (*called)(void *arg);
	void *arg;
	const char *what; /* what is refused, in a sentence: "chats" */
	uint64_t key;     /* whose it is, among those that wait */
	struct trace *trace;
	const struct span *parent; /* of the span of its wait */

	struct place_waiter waiter;
	uint64_t group;    /* of replicas */
	unsigned model;    /* of these, for counters */
	bool granted;      /* a place: it need not let others go first */
	bool forced;       /* there is no queue: it takes one even if there is none */
	int64_t began_ns;  /* 0: it does not wait */
	int64_t waited_ns; /* all times together */
	int64_t until_ms;  /* CLOCK_MONOTONIC */
	struct span span;
};

/* Takes a place at one of the group, which is not empty. NULL: it must wait, as all of them are full, or as others wait
 * already; w->model is of the group then. wish->forced is set here. */
const struct status_llm *place_wait_take(struct place_wait *w, const struct status_snapshot *s,
                                         const struct candidate_group *g, struct candidate_wish *wish,
                                         struct balance_place *place);

struct place_terms {
	const struct config *config;
	const struct access_identity *client; /* whose priority it has; NULL: the usual one */
	bool begun;          /* it is not turned away by the bounds any more, and rises by a priority */
	int64_t deadline_ms; /* it waits no longer, whatever queue.wait is; CLOCK_MONOTONIC */
};

#define PLACE_REFUSAL_MAX 200
struct place_refusal {
	const char *reason;           /* for the log */
	unsigned retry_s;             /* Retry-After */
	char text[PLACE_REFUSAL_MAX]; /* for the client */
};

enum place_verdict {
	PLACE_WAITS,   /* until w->until_ms at the latest: then place_wait_late */
	PLACE_REFUSED, /* counted and noted; out says why */
	PLACE_FORCED,  /* the queue cannot be used: the choice again, which ignores capacities */
};

/* After place_wait_take gave none. If it waits already, it waits on: it was called, but others had been faster, or the
 * place is at a replica that has failed it. */
enum place_verdict place_wait_enter(struct place_wait *w, const struct place_terms *terms, struct place_refusal *out);

/* In its callback: a place is there for it; or its ticket was lost, and it enters again if there is none. */
void place_wait_called(struct place_wait *w);

/* It has waited in vain: refused as by place_wait_enter. */
void place_wait_late(struct place_wait *w, struct place_refusal *out);

/* It has taken a place, or wants none. Need not wait. */
void place_wait_leave(struct place_wait *w);

#endif
