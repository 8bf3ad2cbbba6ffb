/* SPDX-License-Identifier: Apache-2.0 */
/* Turns that were read from a store, parsed, so that a long conversation is not
 * parsed again for each of its turns. One thread; the turns in it are shared with those who
 * loaded them and never change (their reference counts are atomic). */
#ifndef TT_STORE_TURN_CACHE_H
#define TT_STORE_TURN_CACHE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct turn_cache;

struct cached_thread {
	int64_t id;
	int64_t first, last; /* numbers of its turns; last = first - 1: none */
	int64_t tag;         /* by which the owner knows the last one: its to set, 0 at first */
	json_t *turns;       /* exactly these */
};

struct turn_cache *turn_cache_new(size_t max_bytes); /* of memory, about; NULL: none left */
void turn_cache_free(struct turn_cache *c);          /* NULL is fine */

/* NULL: none of its turns are cached. Valid as below. */
struct cached_thread *turn_cache_find(struct turn_cache *c, int64_t id);

/* The thread's turns from number first on, made where there is none. NULL: no memory.
 * Valid until the next call of this function or turn_cache_forget, or of turn_cache_add for another thread. */
struct cached_thread *turn_cache_thread(struct turn_cache *c, int64_t id, int64_t first);

/* Adds the next turn, which is stolen. -1: no memory. */
int turn_cache_add(struct turn_cache *c, struct cached_thread *t, json_t *turn);

void turn_cache_forget(struct turn_cache *c, struct cached_thread *t);

/* About the memory that jansson and the allocator need for a value: several times its text, where the
 * text is short. */
size_t turn_cache_weight(const json_t *value);

#endif
