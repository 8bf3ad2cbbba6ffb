/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting threads that nobody uses any more. Rows are in the order of their commits, so this
 * walks from the oldest on, and a stored position spares it the rows that it has seen: whatever
 * thread they belong to has a later turn, or is gone. */
#include "core/store/database_internal.h"

#define ROWS_MAX 4000 /* in one transaction, so that no turn waits for long */

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

	*more = false;
	if (!is_due(db, &sweeps[0]) && !is_due(db, &sweeps[1]))
		return 0;
	if (database_begin_writing(db, e) < 0)
		return -1;
	for (size_t i = 0; i < sizeof sweeps / sizeof sweeps[0]; i++) {
		int result = sweep_some(db, &sweeps[i], &deleted, e);

		if (result < 0)
			goto fail;
		*more |= result > 0;
	}
	if (deleted > 0 && database_mark(db, deleted, e) < 0)
		goto fail;
	if (database_commit(db, e) < 0)
		return -1;
	if (deleted > 0)
		sqlite3_exec(db->sqlite, "PRAGMA incremental_vacuum(256)", NULL, NULL, NULL);
	return deleted;
fail:
	database_roll_back(db);
	return -1;
}
