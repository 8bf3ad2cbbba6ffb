/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting threads that nobody uses any more. Rows are in the order of their commits, so this
 * walks from the oldest on, and a stored position spares it the rows that it has seen: whatever
 * thread they belong to has a later turn, or is gone. */
#include "core/store/database_internal.h"

#include "core/base/clock.h"

/* In one transaction, so that no turn waits for long. */
#define ROWS_MAX        4000
#define EVICTED_AT_ONCE (16 << 20) /* bytes: far more than a transaction appends */

/* Whether it is the last turn of a thread; -1 with e. */
static int is_last(struct database *db, const struct row *row, struct err *e)
{
	struct range range;

	if (row->number == 0) /* a marker */
		return 0;
	return database_range(db, &row->key, &range, e) < 0 ? -1 : range.last == row->number;
}

struct sweep {
	const char *state; /* the name of its position */
	bool short_ids;
	int64_t expiry_ms; /* threads that were last used before */
	int max;           /* that are deleted at most */
};

/* Deletes the row's thread if the row is the last of an expired one. 1: walk on, 0: no more
 * have expired, -1 with e. */
static int sweep_row(struct database *db, const struct sweep *sweep, const struct row *row, int *deleted, struct err *e)
{
	int last;

	if (row->at_ms >= sweep->expiry_ms && row->number > 0)
		return 0;
	if ((row->key.run[0] != '\0') != sweep->short_ids)
		return 1;
	last = is_last(db, row, e);
	if (last > 0) {
		if (database_delete_thread(db, &row->key, e) < 0)
			return -1;
		++*deleted;
	}
	return last < 0 ? -1 : 1;
}

/* Whether the walk would pass a row at all, which takes no lock to know. */
static bool is_due(struct database *db, const struct sweep *sweep)
{
	struct row row = {.number = 0};
	sqlite3_stmt *s;
	bool due = database_next_row(db, database_state(db, sweep->state), &row, &s, NULL) > 0 &&
	           (row.number == 0 || row.at_ms < sweep->expiry_ms);

	if (s != NULL)
		database_done(s);
	return due;
}

/* 1: there may be more, 0: there are none, -1 with e. */
static int sweep_some(struct database *db, const struct sweep *sweep, int *deleted, struct err *e)
{
	const int64_t from = database_state(db, sweep->state);
	int64_t at = from;
	int found = 1, more = 1;

	for (int i = 0; i < ROWS_MAX && *deleted < sweep->max && found > 0 && more > 0; i++) {
		struct row row;
		sqlite3_stmt *s;

		found = database_next_row(db, at, &row, &s, e);
		if (found > 0)
			more = sweep_row(db, sweep, &row, deleted, e);
		if (found > 0 && more > 0)
			at = row.id;
		if (s != NULL)
			database_done(s);
	}
	if (found < 0 || more < 0 || (at != from && database_set_state(db, sweep->state, at, e) < 0))
		return -1;
	return found > 0 && more > 0;
}

/* ---- limits ---- */

static int64_t used_bytes(struct database *db, struct err *e)
{
	int64_t pages = database_pages(db, false, e), unused = database_pages(db, true, e);

	return pages < 0 || unused < 0 ? -1 : (pages - unused) * db->page_size;
}

static int is_over(struct database *db, int64_t max_threads, int64_t max_bytes, struct err *e)
{
	int64_t pages;

	if (max_threads > 0 && db->threads > max_threads)
		return 1;
	if (max_bytes <= 0)
		return 0;
	pages = database_pages(db, false, e);
	if (pages < 0)
		return -1;
	return pages * db->page_size > max_bytes && used_bytes(db, e) > max_bytes;
}

/* What the last row says might be wrong, if somebody changed the file by hand. */
static int count_threads(struct database *db, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_SIZE, e);
	int code;

	if (s == NULL)
		return -1;
	code = database_step(db, s, "cannot be read", e);
	if (code == SQLITE_ROW)
		db->threads = sqlite3_column_int64(s, 0);
	database_done(s);
	db->counted = true;
	return code < 0 ? -1 : database_mark(db, 0, e);
}

struct evicted {
	int64_t threads, turns, bytes;
};

static int add_to_state(struct database *db, const char *name, int64_t n, struct err *e)
{
	return database_set_state(db, name, database_state(db, name) + n, e);
}

static int note_evicted(struct database *db, int64_t at, const struct evicted *evicted, struct err *e)
{
	if (database_set_state(db, STATE_EVICTED, at, e) < 0)
		return -1;
	if (evicted->threads == 0)
		return 0;
	db->evicted += evicted->threads;
	if (add_to_state(db, STATE_EVICTED_THREADS, evicted->threads, e) < 0 ||
	    add_to_state(db, STATE_EVICTED_TURNS, evicted->turns, e) < 0 ||
	    add_to_state(db, STATE_EVICTED_BYTES, evicted->bytes, e) < 0 ||
	    database_set_state(db, STATE_EVICTED_AT, clock_wall_ms(), e) < 0)
		return -1;
	return database_mark(db, 0, e);
}

/* Deletes the row's thread if the row is its last; -1 with e. */
static int evict_row(struct database *db, const struct row *row, struct evicted *evicted, struct err *e)
{
	struct range range = {.bytes = 0};
	int64_t turns;

	if (row->number == 0)
		return 0;
	if (database_range(db, &row->key, &range, e) < 0)
		err_clear(e); /* damaged: it goes as well */
	else if (range.last != row->number)
		return 0;
	turns = database_delete_thread(db, &row->key, e);
	if (turns < 0)
		return -1;
	evicted->threads++;
	evicted->turns += turns;
	evicted->bytes += range.bytes;
	db->threads -= db->threads > 0;
	return 0;
}

int database_evict(struct database *db, const struct store_limits *limits, struct err *e)
{
	const int64_t max_threads = (int64_t)limits->max_threads, max_bytes = limits->max_bytes;
	const int64_t spare_threads = max_threads / 32 < 32 ? max_threads / 32 : 32;
	const int64_t spare_bytes = max_bytes / 32 < 1 << 20 ? max_bytes / 32 : 1 << 20;
	struct evicted evicted = {.threads = 0};
	int64_t at;
	int over;

	if (database_find_top(db, e) < 0)
		return -1;
	over = is_over(db, max_threads, max_bytes, e);
	if (over > 0 && !db->counted && db->threads > max_threads) {
		if (count_threads(db, e) < 0)
			return -1;
		over = is_over(db, max_threads, max_bytes, e);
	}
	if (over == 0)
		counters_set(limits->counters, COUNTER_THREADS_STORED, db->threads);
	if (over <= 0)
		return over;
	at = database_state(db, STATE_EVICTED);
	while (over > 0 && evicted.bytes < EVICTED_AT_ONCE) {
		struct row row;
		sqlite3_stmt *s;
		int found = database_next_row(db, at, &row, &s, e);

		if (found > 0 && row.id < db->top && db->threads > 1) {
			at = row.id;
			over = evict_row(db, &row, &evicted, e) < 0
			               ? -1
			               : is_over(db, max_threads - spare_threads, max_bytes - spare_bytes, e);
		} else {
			over = found < 0 ? -1 : 0;
		}
		if (s != NULL)
			database_done(s);
	}
	if (over < 0 || note_evicted(db, at, &evicted, e) < 0)
		return -1;
	counters_add(limits->counters, COUNTER_THREADS_EVICTED, evicted.threads);
	counters_set(limits->counters, COUNTER_THREADS_STORED, db->threads);
	return 0;
}

int64_t database_take_evicted(struct database *db)
{
	const int64_t evicted = db->evicted;

	db->evicted = 0;
	return evicted;
}

/* ---- housekeeping ---- */

/* Pages that become free are used again, but not if they are many. */
static bool shrink(struct database *db)
{
	const int64_t pages = database_pages(db, false, NULL), unused = database_pages(db, true, NULL);

	if (unused < 64 || unused < pages / 8)
		return false;
	return sqlite3_exec(db->sqlite, "PRAGMA incremental_vacuum(256)", NULL, NULL, NULL) == SQLITE_OK;
}

static bool is_over_now(struct database *db, const struct store_limits *limits)
{
	db->top_known = false;
	if (database_find_top(db, NULL) < 0)
		return false;
	counters_set(limits->counters, COUNTER_THREADS_STORED, db->threads);
	return is_over(db, (int64_t)limits->max_threads, limits->max_bytes, NULL) > 0;
}

int database_sweep(struct database *db, int64_t now_ms, const struct store_limits *limits, int max, bool *more,
                   struct err *e)
{
	const struct sweep sweeps[] = {
		{.state = STATE_SWEPT_SHORT,
	         .short_ids = true,
	         .expiry_ms = limits->short_id_idle_ms > 0 ? now_ms - limits->short_id_idle_ms : INT64_MIN,
	         .max = max},
		{.state = STATE_SWEPT_LONG,
	         .expiry_ms = limits->expire_ms > 0 ? now_ms - limits->expire_ms : INT64_MIN,
	         .max = max},
	};
	int deleted = 0;

	*more = shrink(db);
	if (!is_due(db, &sweeps[0]) && !is_due(db, &sweeps[1]) && !is_over_now(db, limits))
		return 0;
	if (database_begin_writing(db, e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof sweeps / sizeof sweeps[0]; i++) {
		int result = sweep_some(db, &sweeps[i], &deleted, e);

		if (result < 0)
			goto fail;
		*more |= result > 0;
	}
	if ((deleted > 0 && database_mark(db, deleted, e) < 0) || database_evict(db, limits, e) < 0)
		goto fail;
	*more |= db->evicted > 0;
	return database_commit(db, e) < 0 ? -1 : deleted;
fail:
	database_roll_back(db);
	return -1;
}
