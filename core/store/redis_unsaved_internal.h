/* SPDX-License-Identifier: Apache-2.0 */
/* What the files redis_unsaved*.c share: the turns in memory (redis_unsaved.c), and their way to the disk and back
 * while Redis does not take them (redis_unsaved_spool.c). */
#ifndef TT_STORE_REDIS_UNSAVED_INTERNAL_H
#define TT_STORE_REDIS_UNSAVED_INTERNAL_H

#include "core/store/redis_spool.h"
#include "core/store/redis_thread.h"
#include "core/store/redis_unsaved.h"

#define UNSAVED_BYTES        (16 << 20) /* where no limit says how much, and in memory on their way to the disk */
#define UNSAVED_SENT_AT_ONCE 32         /* appends; as many ids are remembered of each thread */

/* A turn, and only what is sent of it: thousands may wait. */
struct append {
	struct redis_store_request request; /* the caller's until saved was called */
	TAILQ_ENTRY(append) next, next_of_thread;
	struct thread *thread;
	struct encoding *encoding; /* NULL: it is text */
	char *text;
	size_t len, weight;
	int64_t at_ms;
	int64_t row;           /* in the spool, of which this is a copy; 0: it is not there */
	store_saved_fn *saved; /* NULL: nobody waits */
	void *arg;
	const struct unsaved_deletion *deletion; /* while it is under way; NULL: none is to delete this turn */
	enum { APPEND_ENCODING, APPEND_WAITING, APPEND_SENT, APPEND_SPOOLING } state;
	uint8_t tries;
	bool late; /* it could not be stored at once */
	bool deleted;
	bool flushed; /* at the end: the server has it */
	char id[REDIS_TURN_ID + 1];
	char answer[]; /* store_answer_of */
};
TAILQ_HEAD(append_queue, append);

/* The turns of one thread, as long as there are any. */
struct thread {
	struct unsaved *unsaved;
	struct append_queue appends;
	TAILQ_ENTRY(thread) next;
	struct thread_list *list; /* ready or blocked; NULL: it has nothing to be sent */
	struct store_key *key;
};
TAILQ_HEAD(thread_list, thread);

struct unsaved {
	struct unsaved_options options;
	struct redis *redis;
	struct append_queue queue;
	void *tree;                        /* of threads, for tsearch */
	struct thread_list ready, blocked; /* blocked: Redis did not take the last turn that was sent */
	size_t waiting, bytes, sent;       /* waiting: those that are not in the spool */
	int64_t spooled;                   /* turns in the spool, after the last job */
	int64_t counted;                   /* of COUNTER_TURNS_UNSAVED */
	struct event *pump, *retry;
	bool away, refuses; /* as logged */
	int64_t lost;       /* since that was logged */
	LIST_HEAD(, unsaved_deletion) deletions;
	struct spooling *spooling; /* NULL: turns wait in memory only */
};

/* ---- redis_unsaved_turns.c ---- */

/* NULL: none of its turns is in memory. */
struct thread *thread_find(struct unsaved *u, const struct store_key *k);
void thread_put(struct thread *t, struct thread_list *list); /* NULL: into none */
void thread_ready(struct thread *t);                  /* something of it may have to be sent, unless it is blocked */
void threads_unblock(struct unsaved *u, size_t most); /* the first ones, or all: SIZE_MAX */

/* A turn of that thread, without its text; it is waiting. NULL: no memory. */
struct append *append_new(struct unsaved *u, const struct store_key *k, const char *answer);
/* Its text, from now on; stolen. Its thread is ready. */
void append_set_text(struct append *a, char *text, size_t len);
void append_weigh(struct append *a, size_t weight);
void append_free(struct append *a);

/* After any of these, and whenever what is in the spool has changed. */
void unsaved_count(struct unsaved *u);
void unsaved_count_lost(struct unsaved *u, int64_t turns);
void unsaved_retry_later(struct unsaved *u);
size_t unsaved_max_bytes(const struct unsaved *u);

/* ---- redis_unsaved_spool.c ---- */

/* No memory, or no directory for it: there is none. */
void spooling_open(struct unsaved *u);
void spooling_close(struct unsaved *u);
bool spooling_works(const struct unsaved *u); /* turns do not stay in memory */

/* Looks for what other processes left. */
void spooling_scan(struct unsaved *u);
/* Puts there what is blocked. again: although that failed before. */
void spooling_put(struct unsaved *u, bool again);
/* Takes the next turns from there, where Redis is usable. again: although it did not take the last ones. */
void spooling_take(struct unsaved *u, bool again);
/* A turn that was taken is freed: it is not to be taken again, or (!settled) it is. */
void spooling_settle(struct unsaved *u, const struct append *a, bool settled);
/* Deletes there as well, and then calls ended; e: nothing was deleted. */
typedef void spooling_deleted_fn(struct unsaved *u, struct unsaved_deletion *d, const struct err *e);
void spooling_delete(struct unsaved *u, struct unsaved_deletion *d, spooling_deleted_fn *ended);
/* At the end, at once: all that are not flushed. How many could not be put there. */
size_t spooling_put_rest(struct unsaved *u);

#endif
