/* SPDX-License-Identifier: Apache-2.0 */
/* The turns of threads that were loaded or appended to last, by their keys. One thread; turns are shared with
 * whoever has them and never change. */
#ifndef TT_STORE_RECENT_H
#define TT_STORE_RECENT_H

#include "core/store/store.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define RECENT_TEXT_MAX 8192

struct recent;

struct recent_thread {
	int64_t turns;   /* how many it had: all of them */
	int64_t at_ms;   /* when the last one was stored */
	uint64_t number; /* at that version (versions.h) */
};

struct recent *recent_new(size_t max_bytes); /* of memory, about; NULL: none left */
void recent_free(struct recent *r);          /* NULL is fine */

/* hash: of the key, which is compared as well. NULL: it is not there. Valid until the next call of another function. */
const struct recent_thread *recent_find(struct recent *r, int64_t hash, const struct store_key *k);
/* All turns of one that is there, a new reference to an array that is the caller's; NULL: no memory. */
json_t *recent_turns(struct recent *r, int64_t hash, const struct store_key *k);

/* Turns as an array, whose items are shared; weight: turn_cache_weight. */
void recent_put(struct recent *r, int64_t hash, const struct store_key *k, const struct recent_thread *t,
                const json_t *turns, size_t weight);
/* A single turn as JSON text, at most RECENT_TEXT_MAX bytes: most threads get no other one, and the values of a turn
 * take many times the memory, in many pieces. */
void recent_put_text(struct recent *r, int64_t hash, const struct store_key *k, const struct recent_thread *t,
                     const char *turn, size_t len);
/* Adds a turn, which is shared, to a thread that is there; t is what it becomes. */
void recent_add(struct recent *r, int64_t hash, const struct store_key *k, const struct recent_thread *t, json_t *turn,
                size_t weight);
void recent_drop(struct recent *r, int64_t hash, const struct store_key *k);

#endif
