/* SPDX-License-Identifier: Apache-2.0 */
/* Turns of this process that are not stored in Redis yet. Those of a thread are sent in the order in which they came;
 * what Redis does not take now waits until it does, within limits: beyond these the oldest are lost, which is counted
 * and logged. Nothing here takes longer where turns of more threads wait. All calls are made from the loop. */
#ifndef TT_STORE_REDIS_UNSAVED_H
#define TT_STORE_REDIS_UNSAVED_H

#include "core/base/background.h"
#include "core/store/store_redis.h"

struct unsaved;

struct unsaved_options {
	struct event_base *base;
	struct background *background;     /* long turns become JSON there */
	const struct store_limits *limits; /* may change between calls */
	const char *run;                   /* of short ids */
};

/* What the options point to outlives it. NULL: no memory. */
struct unsaved *unsaved_new(const struct unsaved_options *o);
/* What was not flushed is dropped without callbacks. After the background; NULL is fine. */
void unsaved_free(struct unsaved *u);

/* By which turns are stored. Before the first of them. */
void unsaved_set_client(struct unsaved *u, struct redis *redis);
/* What that client reports (redis_changed_fn). */
void unsaved_client_changed(struct unsaved *u, bool usable, const struct err *why);

/* As store_append. */
struct redis_store_request *unsaved_append(struct unsaved *u, const struct store_key *k, json_t *messages,
                                           store_saved_fn *done, void *arg);

/* Adds the messages of the thread's turns to all, but of those that are in stored: an array of [id, messages]. */
void unsaved_add_turns(struct unsaved *u, const struct store_key *k, const json_t *stored, json_t *all);

/* From now on the thread's turns, or (response) those with the answer of that id, are neither sent nor shown, until the
 * deletion ends: then they are deleted, or go on. deletion names it. Whether there are any. */
bool unsaved_begin_deletion(struct unsaved *u, const struct store_key *k, const char *response, const void *deletion);
void unsaved_end_deletion(struct unsaved *u, const struct store_key *k, const void *deletion, bool deleted);

bool unsaved_is_empty(const struct unsaved *u);

/* At the end, when the client and the background are gone: sends what waits by another client, on that loop, which has
 * nothing else to do, and waits for a moment at most. What was sent before is sent again: it is stored once. redis
 * NULL: there is none. */
void unsaved_flush(struct unsaved *u, struct event_base *base, struct redis *redis);

#endif
