/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite database of conversations, one connection. Blocking: called by the store's
 * own thread and by the admin tool, never on a loop. Only database*.c knows SQLite.
 *
 * Several processes share the file (WAL). A turn is one row, written in one transaction
 * and numbered in it, so that a reader sees whole turns only, whoever is killed when. */
#ifndef TT_STORE_DATABASE_H
#define TT_STORE_DATABASE_H

#include "core/base/err.h"
#include "core/store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct database;

/* run: short ids (store_id_is_short) belong to one run of the service and are not seen by
 * another. Makes the file (0600, its folder must be there) where create. */
struct database *database_open(const char *file, const char *run, bool create, struct err *e);
void database_close(struct database *db); /* NULL is fine */

/* The file cannot be used any more: only opening it again may help. */
bool database_is_lost(const struct database *db);
/* Its name now belongs to another file, or to none. */
bool database_has_moved(struct database *db);

/* The turns of a thread, oldest first, as an array of arrays: a new reference. One that
 * cannot be read is left out. NULL with e. */
json_t *database_load(struct database *db, const struct store_key *k, int64_t now_ms, const struct store_limits *limits,
                      struct err *e);

/* Between these two all that is read is of one moment, which costs less than each for itself. */
int database_begin_reading(struct database *db, struct err *e);
void database_end_reading(struct database *db);

/* Between these two all that is appended is stored together, or nothing of it: which it was
 * is what the second one returns. */
int database_begin_writing(struct database *db, struct err *e);
int database_commit(struct database *db, struct err *e);
void database_roll_back(struct database *db); /* in place of database_commit */

/* Appends one turn, its messages as JSON text, and lets old turns leave. Where it fails, the
 * transaction must be rolled back. */
int database_append(struct database *db, const struct store_key *k, const char *messages, size_t len, int64_t now_ms,
                    const struct store_limits *limits, struct err *e);

/* Forgets up to max expired threads; how many it were, or -1. */
int database_sweep(struct database *db, int64_t now_ms, const struct store_limits *limits, int max, struct err *e);

/* Pages in the write-ahead log that were not moved into the database; moves them. */
int database_wal_pages(const struct database *db);
void database_checkpoint(struct database *db);

/* ---- for the admin tool ---- */

struct database_thread {
	int64_t id;
	const char *subject, *thread_id;
	int64_t created_ms, used_ms, turns, bytes;
	bool short_id;
};

/* Calls found for each thread, the last used first; stops where it returns false. */
typedef bool database_thread_fn(void *arg, const struct database_thread *t);
int database_list(struct database *db, database_thread_fn *found, void *arg, struct err *e);

/* The number of the thread, the last used of that key; -1 with e where there is none. */
int64_t database_find(struct database *db, const struct store_key *k, struct err *e);

/* One thread as {"subject","thread_id","created","used","turns":[{"number","at",
 * "messages":[...]}]}: a new reference; NULL with e. */
json_t *database_show(struct database *db, int64_t id, struct err *e);

/* Deletes a thread, every thread of a subject (thread_id NULL), or all (k NULL), also
 * what lies in the write-ahead log. How many it were, or -1. */
int64_t database_delete(struct database *db, const struct store_key *k, struct err *e);

#endif
