/* SPDX-License-Identifier: Apache-2.0 */
/* Stored conversations for administrators: list, show, delete, export. Blocking, so never
 * called on a loop; the service may use the same store meanwhile. */
#ifndef TT_STORE_STORE_ADMIN_H
#define TT_STORE_STORE_ADMIN_H

#include "core/store/store.h"

struct store_admin;

/* Opens the store of that URL (threads.store), with what else the configuration says of it (NULL: nothing). One that
 * was never written to is empty and is not made. NULL with e: it cannot be opened, or nobody but the responder can read
 * it. */
struct store_admin *store_admin_open(const char *url, const struct config *c, struct err *e);
void store_admin_close(struct store_admin *a); /* NULL is fine */

/* A thread, valid within the callback. */
struct store_thread {
	const char *subject, *thread_id;
	int64_t created_ms, used_ms; /* wall clock */
	int64_t turns, bytes;
	bool short_id;
	const char *place; /* by which the store finds it: its own */
};

/* Calls found for each thread, the last used first; stops where it returns false. -1 with e. */
typedef bool store_thread_fn(void *arg, const struct store_thread *t);
int store_admin_list(struct store_admin *a, store_thread_fn *found, void *arg, struct err *e);

/* The thread of that key, the last used where short ids make several, as {"subject",
 * "thread_id","created","used","turns":[{"number","at","messages":[...]}]}: a new reference.
 * NULL with e. */
json_t *store_admin_show(struct store_admin *a, const struct store_key *k, struct err *e);

/* Deletes a thread for good, every thread of a subject (thread_id NULL), or all (k NULL).
 * Returns how many; -1 with e, also where a single thread is not there. */
int64_t store_admin_delete(struct store_admin *a, const struct store_key *k, struct err *e);

/* Calls each with every thread as store_admin_show gives it, the last used first; stops where
 * it returns false. -1 with e. */
typedef bool store_export_fn(void *arg, const json_t *thread);
int store_admin_export(struct store_admin *a, store_export_fn *each, void *arg, struct err *e);

/* Copies every thread to another store, but those of short ids, which end with the run of their service. Turns that are
 * there already are left as they are; a thread whose last turn there is none of this one's is not touched. progress is
 * called after each thread; NULL is fine. -1 with e: what was copied until then remains, and copying again goes on. */
struct store_copied {
	int64_t threads, turns;    /* that were read; that were written */
	int64_t short_ids, differ; /* threads that were left out */
};
typedef void store_copied_fn(void *arg, const struct store_copied *copied);
int store_admin_copy(struct store_admin *from, struct store_admin *to, struct store_copied *copied,
                     store_copied_fn *progress, void *arg, struct err *e);

struct store_size {
	int64_t threads, turns;
	int64_t bytes; /* of the turns, as JSON */
	int64_t disk_bytes;
	int64_t oldest_ms; /* wall clock: the last use of the thread that was not used for the longest time; 0: none */
	/* Because of limits, ever; evicted_ms: the last time, wall clock, 0: never. */
	int64_t evicted_threads, evicted_turns, evicted_bytes, evicted_ms;
};
int store_admin_size(struct store_admin *a, struct store_size *size, struct err *e); /* -1 with e */

#endif
