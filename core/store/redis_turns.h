/* SPDX-License-Identifier: Apache-2.0 */
/* One load of a thread from Redis: the turns that this process has parsed before, and those that were appended since,
 * which a script finds.
 *
 * Whenever a turn is appended, it gets a random mark, which the thread's hash has too, beside those of the newest turns
 * before. Where the mark of the last turn that is cached is at its place there, all turns before it are the same: the
 * thread was not deleted, did not expire, and lost nothing to a change of the master. Otherwise all turns are sent. */
#ifndef TT_STORE_REDIS_TURNS_H
#define TT_STORE_REDIS_TURNS_H

#include "core/store/redis_thread.h"
#include "core/store/turn_cache.h"

struct redis_turns {
	struct turn_cache *cache;
	int64_t id;                /* of the thread in the cache */
	int64_t sent_mark, mark;   /* of the last turn that was cached, and of the last one; 0 = none */
	int64_t first, last;       /* their numbers */
	json_t *turns;             /* each [id, messages], null where it cannot be read; NULL: no memory */
	struct redis_reply *reply; /* what is to be decoded */
};

/* Sends the request; done gets the reply for redis_turns_take. NULL: no memory. */
struct redis_request *redis_turns_send(struct redis_turns *t, struct turn_cache *cache, const struct redis_keys *keys,
                                       struct redis *r, redis_done_fn *done, void *arg);

/* -1 with e: that is no answer to it. Else how many bytes redis_turns_decode is to parse. */
int64_t redis_turns_take(struct redis_turns *t, struct redis_reply *reply, struct err *e);

/* Completes turns. On any thread. */
void redis_turns_decode(struct redis_turns *t);

/* Caches them. On the loop, as all but decode. */
void redis_turns_remember(const struct redis_turns *t);

void redis_turns_clear(struct redis_turns *t);

#endif
