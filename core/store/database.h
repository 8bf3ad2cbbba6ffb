/* SPDX-License-Identifier: Apache-2.0 */
/* The SQLite database of conversations, one connection. Blocking: called on the database
 * thread and by administrators, never on a loop. Only database*.c knows SQLite.
 *
 * Several processes share the file (WAL). A turn is one row, written in one transaction
 * and numbered in it, so that a reader sees whole turns only, even after a process was killed. */
#ifndef TT_STORE_DATABASE_H
#define TT_STORE_DATABASE_H

#include "core/store/store_impl.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct database;
struct write_behind;
struct versions;

/* run: short ids (store_id_is_short) belong to one run of the service and are not seen by
 * another. Makes the file (0600, its directory must exist) where create is set. */
struct database *database_open(const char *file, const char *run, bool create, struct err *e);
void database_close(struct database *db); /* NULL is fine */

/* The file cannot be used any more: only opening it again may help. */
bool database_is_lost(const struct database *db);
/* Its name now belongs to another file, or to none. */
bool database_has_moved(struct database *db);

/* From now on all that this connection writes is in that table of versions (versions.h), which must outlive it. -1 with
 * e: there is none as things stand; database_tend_versions tries again. */
int database_share_versions(struct database *db, struct versions *v, struct err *e);
/* Often: fills the table, a little each time, and makes it again if it is gone. 1: there is more to do soon, 0: there
 * is not, -1 with e: it cannot be used. */
int database_tend_versions(struct database *db, struct err *e);
/* The number of the transaction that was committed last, by this connection; 0: not known, or it deleted threads. */
uint64_t database_committed(const struct database *db);
uint64_t database_now(struct database *db); /* versions_now */
/* The hash of a thread's key, by which the table knows it. */
int64_t database_key_of(const char *run, const struct store_key *k);

/* From now on this connection knows the turns of all processes that are told and not yet stored (write_behind.h); p
 * must outlive it. makes: this process may tell some itself. Again each second or so: the file may be gone. -1 with e:
 * it cannot be used. */
int database_share_pending(struct database *db, struct write_behind *p, bool makes, struct err *e);
/* Stores some of them, in one transaction; *dropped: how many can never be. 1: there are more, perhaps, 0: there are
 * none, -1 with e: those that are left have to wait. Not within a transaction. */
int database_store_pending(struct database *db, const struct store_limits *limits, int64_t *dropped, struct err *e);
/* Gives those who told them so long to do so. */
void database_await_pending(struct database *db, int ms);
/* Whether a turn of that key's thread is among them. */
bool database_has_pending(struct database *db, const struct store_key *k);

/* Of the last thread that was loaded, or to which was appended. */
struct database_thread {
	int64_t turns, at_ms; /* how many it has; when the last one was stored */
	uint64_t before;      /* the number of the transaction that changed it before this one; VERSIONS_UNKNOWN */
};
const struct database_thread *database_last_thread(const struct database *db);

/* The turns of a thread, oldest first, as an array of arrays: a new reference. A turn that
 * cannot be read is left out. NULL with e. */
json_t *database_load(struct database *db, const struct store_key *k, int64_t now_ms, const struct store_limits *limits,
                      struct err *e);

/* All reads between these two are of one moment, which costs less than one by one. */
int database_begin_reading(struct database *db, struct err *e);
void database_end_reading(struct database *db);

/* All that is appended between these two is stored together or not at all; the second one
 * returns which. */
int database_begin_writing(struct database *db, struct err *e);
int database_commit(struct database *db, struct err *e);
void database_roll_back(struct database *db); /* in place of database_commit */

/* Appends one turn, its messages as JSON text, and drops the oldest turns beyond the limits.
 * Where it fails, the transaction must be rolled back. */
int database_append(struct database *db, const struct store_key *k, const char *messages, size_t len, int64_t now_ms,
                    const struct store_limits *limits, struct err *e);

/* Deletes a thread, or (response) of its turns the one with the answer of that id (store_answer_of); *found: it was
 * there. The turns that stay become rows of a thread with another number, so that no process shows the others of its
 * cache. Where it fails, the transaction must be rolled back. */
int database_delete(struct database *db, const struct store_key *k, const char *response, int64_t now_ms,
                    const struct store_limits *limits, bool *found, struct err *e);

/* Before database_commit, after appending: deletes the least recently used threads if the limits
 * are exceeded, some more than needed, so that not every turn has to. The thread that was used last
 * is never among them. -1 with e. */
int database_evict(struct database *db, const struct store_limits *limits, struct err *e);
int64_t database_take_evicted(struct database *db);  /* threads, since the last call */
bool database_must_count(const struct database *db); /* nothing is deleted for their number until a sweep has counted */

/* Deletes about max expired threads at most, evicts others if the limits were lowered, and returns
 * free space to the disk; more: there is more to do. Returns how many have expired, or -1 with e. */
int database_sweep(struct database *db, int64_t now_ms, const struct store_limits *limits, int max, bool *more,
                   struct err *e);

/* Turns in the tables of a former layout (tt-agent 0.1.0, and 0.2.0 before its release). Another program of that
 * version, such as a worker that answers its last chats, may still store turns there. */
bool database_is_converting(const struct database *db); /* there are such turns */
/* Moves some of them, in one short transaction. Returns how many, 0: there were no more, or -1 with e. */
int64_t database_convert(struct database *db, struct err *e);
/* Moves those of this thread at once, so that its next turn finds them; not within a transaction. -1 with e. */
int database_convert_thread(struct database *db, const struct store_key *k, struct err *e);
/* Whether such programs have stored turns meanwhile; drops the tables if they have been empty for a day. */
void database_check_former(struct database *db);

/* Pages of the write-ahead log that are not yet in the database; moves them there. */
int database_wal_pages(const struct database *db);
void database_checkpoint(struct database *db);

/* What administrators do with it (database_admin.c). */
extern const struct store_admin_ops database_admin_ops;

#endif
