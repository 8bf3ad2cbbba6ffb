/* SPDX-License-Identifier: Apache-2.0 */
/* Limits that several hosts count together, in Redis: the same numbers as in limits.h, and the same verdicts.
 *
 * Each decision is one script, which changes all its numbers or none, by the clock of Redis. All keys of a client
 * have one hash tag, or all keys of all clients where they have a limit together: so a script finds them on one node
 * of a cluster. Turns at once are leases, which are renewed: those of a host that dies end after a while.
 * One thread. */
#ifndef TT_ACCESS_SHARED_LIMITS_H
#define TT_ACCESS_SHARED_LIMITS_H

#include "core/access/limits.h"
#include "core/redis/redis.h"

#include <event2/event.h>

struct shared_limits;
struct shared_share; /* what a turn has, or waits for */

/* redis outlives it, and calls no callbacks any more when this is freed. NULL: no memory. */
struct shared_limits *shared_limits_new(struct event_base *base, struct redis *redis);
void shared_limits_free(struct shared_limits *s); /* after the last share was given back; NULL is fine */

/* answer NULL: Redis did not decide, and the share is gone. So it is if it was not granted. */
typedef void shared_limits_fn(void *arg, enum limits_verdict verdict, const struct limits_answer *answer);

/* taken is called once, later, unless the share is given back before. NULL: Redis is away, or no memory. */
struct shared_share *shared_limits_take(struct shared_limits *s, const struct limits_request *r,
                                        shared_limits_fn *taken, void *arg);

/* The turn has ended and took so many tokens (-1: as many as reserved). NULL is fine. */
void shared_limits_give(struct shared_share *share, int64_t tokens);

#endif
