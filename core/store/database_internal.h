/* SPDX-License-Identifier: Apache-2.0 */
/* What the files database*.c share. */
#ifndef TT_STORE_DATABASE_INTERNAL_H
#define TT_STORE_DATABASE_INTERNAL_H

#include "core/store/database.h"
#include "core/store/turn_cache.h"
#include "core/store/versions.h"

#include <sqlite3.h>

/* The table `history` has a row for each turn, in the order of their commits, and one index, by a hash of
 * the thread's key. Storing a turn thus writes two pages, and nothing is updated in place: what is known
 * of a thread (number, first, bytes, created_ms) is in the row of its last turn, and how many
 * threads there are is in the last row of all. What deletes threads leaves a marker as that last
 * row (thread 0, run MARKER_RUN), so that no id is used twice. */
#define MARKER_RUN "(marker)"

enum statement {
	SQL_BEGIN_READING,
	SQL_BEGIN_WRITING,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_TOP,
	SQL_LAST,
	SQL_LOAD,
	SQL_APPEND,
	SQL_DROP_TURN,
	SQL_NEXT,
	SQL_DELETE_THREAD,
	SQL_DROP_MARKERS,
	SQL_PAGES,
	SQL_FREE_PAGES,
	SQL_STATE,
	SQL_SET_STATE,
	SQL_LIST,
	SQL_FIND,
	SQL_SHOW,
	SQL_SIZE,
	SQL_COUNT,
	SQL_KEYS,
	SQL_IS_STORED,
	STATEMENTS,
};

struct database {
	sqlite3 *sqlite;
	char *file;
	char *run;
	bool lost;
	bool full; /* there was no space on the disk */
	int wal_pages;
	struct turn_cache *cache;
	sqlite3_stmt *statements[STATEMENTS];
	int page_size;
	/* threads were counted in this process, not only read; or the next sweep is to count them; by how many the last
	 * row is wrong, if nobody has corrected it since */
	bool counted, must_count;
	int64_t miscounted, corrections;
	int64_t evicted;                 /* since database_take_evicted */
	struct conversion *conversion;   /* NULL: there is nothing of a former layout to convert, so far as is known */
	struct versions *versions;       /* NULL: none are shared, as is */
	struct shared_versions *shared;  /* database_versions.c's */
	struct shared_pending *pending;  /* database_write_behind.c's; NULL: none */
	const struct write_hooks *hooks; /* likewise */
	struct database_thread thread;   /* of the last load or append */
	bool deleted;                    /* threads, since database_begin_writing */
	/* of the last row, read once in each transaction that writes */
	bool top_known;
	int64_t top, threads;
};

/* Called in each transaction that writes: when it has the lock, before its commit, after it. */
struct write_hooks {
	void (*begun)(struct database *db);
	void (*commits)(struct database *db);
	void (*committed)(struct database *db);
};

/* A thread as the database knows it; run is "" unless the id is short. */
struct thread_key {
	const char *subject, *thread_id, *run;
};

/* The turns that a thread has; last = 0: there is no such thread. */
struct range {
	int64_t thread; /* the id of its first row, also after that was dropped */
	int64_t first, last, bytes;
	int64_t created_ms, at_ms;
};

/* Space beside the database that is in reserve for deletions: these write before they free, which
 * a full disk would not let them. */
void database_hold_reserve(const char *file);
bool database_release_reserve(const char *file); /* false: there is none */

/* Fills e with SQLite's message; always -1. */
int database_fail(struct database *db, struct err *e, const char *what);

/* A statement ready to be bound and run; NULL with e. database_done ends its use. */
sqlite3_stmt *database_statement(struct database *db, enum statement s, struct err *e);
void database_done(sqlite3_stmt *s);

/* Runs a statement that gives no rows. */
int database_run(struct database *db, enum statement s, struct err *e);

/* SQLITE_ROW or SQLITE_DONE; -1 with e. */
int database_step(struct database *db, sqlite3_stmt *s, const char *what, struct err *e);

const char *database_text(sqlite3_stmt *s, int column); /* never NULL */
void database_bind_text(sqlite3_stmt *s, int at, const char *text);
void database_bind_key(sqlite3_stmt *s, const struct thread_key *k); /* as ?1 to ?3, its hash as ?4 */

/* As this run of the service knows it. */
struct thread_key database_thread_key(const struct database *db, const struct store_key *k);

/* What the index is sorted by: a hash that never changes. The runs of a short id only differ in these bits. */
#define KEY_RUN_MASK 0xffff
int64_t database_key(const struct thread_key *k);

/* What is known of a thread, expired or not; -1 with e. */
int database_range(struct database *db, const struct thread_key *k, struct range *range, struct err *e);

/* Whether a thread whose last turn is of at_ms has expired. */
bool database_has_expired(const struct thread_key *k, int64_t at_ms, int64_t now_ms, const struct store_limits *limits);

/* The first row after that id, valid until database_done(*s), which must follow unless *s is NULL. 1: there is one, 0:
 * there is none, -1 with e. */
struct row {
	int64_t id, at_ms, number; /* number = 0: a marker */
	struct thread_key key;
};
int database_next_row(struct database *db, int64_t after, struct row *row, sqlite3_stmt **s, struct err *e);

/* In a transaction that writes: appends a turn to the thread that range describes, which it
 * updates, and drops the thread's oldest turns beyond the limits. A thread that begins with it
 * (range->last is 0) was created at range->created_ms unless that is 0. */
int database_append_to(struct database *db, const struct thread_key *k, struct range *range, const char *messages,
                       size_t len, int64_t now_ms, size_t thread_bytes, struct err *e);

/* In a transaction that writes: deletes a thread's turns; how many, or -1 with e. What has deleted
 * threads calls database_mark with their number in the end. */
int64_t database_delete_thread(struct database *db, const struct thread_key *k, struct err *e);
int database_mark(struct database *db, int64_t deleted_threads, struct err *e);

/* Pages of the file, all or those that are free; -1 with e. */
int64_t database_pages(struct database *db, bool free, struct err *e);
/* What is known of the last row of all is in db->top and db->threads; -1 with e. */
int database_find_top(struct database *db, struct err *e);

/* The tables of former layouts (database_convert.c). When this layout is made beside one, in its transaction: */
int database_begin_conversion(struct database *db, struct err *e);
void database_end_conversion(struct database *db);
#define DATABASE_CACHE_SIZE    "PRAGMA cache_size = -1024"
#define DATABASE_NOT_CONVERTED "cannot be converted to the layout of this version"

/* Whether programs of a former layout have turns that were not moved. */
bool database_has_former(struct database *db);

/* Before a thread's rows change, in a transaction that writes; versions_touch. */
uint64_t database_touch(struct database *db, const struct thread_key *k);

/* Appends to that thread, whose turns are dropped first if it has expired, in a transaction that writes. -1 with e. */
int database_append_turn(struct database *db, const struct thread_key *k, const char *messages, size_t len,
                         int64_t now_ms, const struct store_limits *limits, struct err *e);

/* Numbers that are rarely written; 0 where there is none. */
#define STATE_SWEPT_LONG      "passed_long"    /* no thread with a long id has its last turn in this row */
#define STATE_SWEPT_SHORT     "passed_short"   /* or before it; the same for short ids */
#define STATE_EVICTED         "passed_evicted" /* the same for all ids, and what was evicted so far: */
#define STATE_EVICTED_THREADS "evicted_threads"
#define STATE_EVICTED_TURNS   "evicted_turns"
#define STATE_EVICTED_BYTES   "evicted_bytes"
#define STATE_EVICTED_AT      "evicted_at"    /* wall clock, ms */
#define STATE_CORRECTIONS     "corrections"   /* how often the number of threads was corrected */
#define STATE_CONVERTED       "converted"     /* when (wall clock, ms) this layout was made beside a former one, */
#define STATE_CONVERTED_TO    "converted_to"  /* its first row: those before are of converted turns, */
#define STATE_CONVERTED_ROW   "converted_row" /* and of those that had no row (0.1.0), the last so far */
#define STATE_COPIED_TO       "copied_to"     /* the last row that a former layout had then */
int64_t database_state(struct database *db, const char *name);
int database_set_state(struct database *db, const char *name, int64_t value, struct err *e);

#endif
