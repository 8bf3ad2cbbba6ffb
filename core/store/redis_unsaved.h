/* SPDX-License-Identifier: Apache-2.0 */
/* Turns of this process that are not stored in Redis yet. Those of a thread are sent in the order in which they came;
 * what Redis does not take now waits on the disk (redis_spool.h) until it does, or in memory where there is no disk for
 * it, within limits: beyond these the oldest are lost, which is counted and logged. Nothing here takes longer where
 * turns of more threads wait. All calls are made from the loop. */
#ifndef TT_STORE_REDIS_UNSAVED_H
#define TT_STORE_REDIS_UNSAVED_H

#include "core/base/background.h"
#include "core/store/store_redis.h"

#include <sys/queue.h>

struct unsaved;

struct unsaved_options {
	struct event_base *base;
	struct background *background;     /* long turns become JSON there, and the disk is used */
	const struct store_limits *limits; /* may change between calls */
	const char *run;                   /* of short ids */
	const char *directory;             /* of redis_spool.h; "": none */
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

/* Whether turns may wait on the disk: then, on the background thread, those of a thread are an array of [id, messages];
 * NULL: no memory. */
bool unsaved_has_spooled(const struct unsaved *u);
json_t *unsaved_read_spooled(const struct unsaved *u, const struct store_key *k);

/* Adds the messages of the thread's turns to all, but of those that are in stored: an array of [id, messages], as is
 * spooled (unsaved_read_spooled; NULL: none). */
void unsaved_add_turns(struct unsaved *u, const struct store_key *k, const json_t *stored, const json_t *spooled,
                       json_t *all);

/* A deletion that is under way. */
struct unsaved_deletion {
	LIST_ENTRY(unsaved_deletion) next;
	const struct store_key *key;
	const char *response; /* the id of an answer; NULL: all turns of the thread */
	bool found;           /* there was such a turn here */
	/* At its end. e: nothing here was deleted. */
	void (*ended)(struct unsaved_deletion *d, const struct err *e);
};

/* From now on those turns are neither sent nor shown, until the deletion ends: then they are deleted, or go on. */
void unsaved_begin_deletion(struct unsaved *u, struct unsaved_deletion *d);
/* Deletes those turns; or not, for that reason. Calls d->ended, maybe before it returns. */
void unsaved_end_deletion(struct unsaved *u, struct unsaved_deletion *d, const struct err *failure);

bool unsaved_is_empty(const struct unsaved *u);

/* At the end, when the client and the background are gone: sends what waits in memory by another client, on that loop,
 * which has nothing else to do, and waits for a moment at most; the rest goes to the disk. What was sent before is sent
 * again: it is stored once. redis NULL: there is none. */
void unsaved_flush(struct unsaved *u, struct event_base *base, struct redis *redis);

#endif
