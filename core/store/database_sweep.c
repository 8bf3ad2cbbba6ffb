/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting threads that nobody uses any more. Rows are in the order of their commits, so this
 * walks from the oldest on, and a stored position spares it the rows that it has seen: whatever
 * thread they belong to has a later turn, or is gone. */
#include "core/store/database_internal.h"

#include "core/base/clock.h"

#include <stdlib.h>
#include <string.h>

/* In one transaction, so that no turn waits for long. */
#define ROWS_MAX        4000 /* that are only read */
#define SWEPT_BYTES     (4 << 20)
#define EVICTED_AT_ONCE (16 << 20) /* bytes: far more than a transaction appends */

/* A thread whose last turn is in that row. */
struct expired {
	int64_t row, number;
	char *subject, *thread_id, *run;
};

struct sweep {
	const char *state; /* the name of its position */
	bool short_ids;
	int64_t expiry_ms; /* threads that were last used before */
	int64_t from, at;  /* the position before and after the rows that were read */
	bool more;         /* there may be expired ones behind it */
	struct expired *found;
	int count, max;
};

static void free_found(struct sweep *sweep)
{
	for (int i = 0; i < sweep->count; i++) {
		free(sweep->found[i].subject);
		free(sweep->found[i].thread_id);
		free(sweep->found[i].run);
	}
	free(sweep->found);
	sweep->found = NULL;
	sweep->count = 0;
}

static int note_expired(struct sweep *sweep, const struct row *row, struct err *e)
{
	struct expired *x = &sweep->found[sweep->count++];

	*x = (struct expired){.row = row->id,
	                      .number = row->number,
	                      .subject = strdup(row->key.subject),
	                      .thread_id = strdup(row->key.thread_id),
	                      .run = strdup(row->key.run)};
	if (x->subject != NULL && x->thread_id != NULL && x->run != NULL)
		return 0;
	return err_set(e, "no memory to delete expired threads");
}

/* 1: read on, 0: no more have expired, -1 with e. */
static int read_row(struct database *db, struct sweep *sweep, const struct row *row, struct err *e)
{
	struct range range;

	if (row->number == 0) /* a marker */
		return 1;
	if (row->at_ms >= sweep->expiry_ms)
		return 0;
	if ((row->key.run[0] != '\0') != sweep->short_ids)
		return 1;
	if (database_range(db, &row->key, &range, e) < 0)
		return -1;
	return range.last == row->number && note_expired(sweep, row, e) < 0 ? -1 : 1;
}

/* Reads rows from the position on and notes which threads have expired. Nobody waits for that. */
static int find_expired(struct database *db, struct sweep *sweep, struct err *e)
{
	int found = 1, on = 1;

	sweep->at = sweep->from = database_state(db, sweep->state);
	sweep->found = calloc((size_t)sweep->max, sizeof *sweep->found);
	if (sweep->found == NULL)
		return err_set(e, "no memory to delete expired threads");
	for (int i = 0; i < ROWS_MAX && sweep->count < sweep->max && found > 0 && on > 0; i++) {
		struct row row;
		sqlite3_stmt *s;

		found = database_next_row(db, sweep->at, &row, &s, e);
		if (found > 0)
			on = read_row(db, sweep, &row, e);
		if (found > 0 && on > 0)
			sweep->at = row.id;
		if (s != NULL)
			database_done(s);
	}
	sweep->more = found > 0 && on > 0;
	return found < 0 || on < 0 ? -1 : 0;
}

/* In a transaction that writes: those that were not used meanwhile. -1 with e. */
static int delete_expired(struct database *db, struct sweep *sweep, int64_t *bytes, struct err *e)
{
	int deleted = 0;

	for (int i = 0; i < sweep->count; i++) {
		const struct expired *x = &sweep->found[i];
		const struct thread_key k = {.subject = x->subject, .thread_id = x->thread_id, .run = x->run};
		struct range range;

		if (*bytes >= SWEPT_BYTES) { /* the others the next time */
			sweep->at = x->row - 1;
			sweep->more = true;
			break;
		}
		if (database_range(db, &k, &range, e) < 0)
			return -1;
		if (range.last != x->number)
			continue;
		if (database_delete_thread(db, &k, e) < 0)
			return -1;
		*bytes += range.bytes;
		deleted++;
	}
	/* Another process may have got further. */
	if (sweep->at > database_state(db, sweep->state) && database_set_state(db, sweep->state, sweep->at, e) < 0)
		return -1;
	return deleted;
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

/* What the last row says might be wrong, if somebody changed the file by hand. Reads the whole index, which takes a
 * second for many millions of turns: not while others wait to write. */
static int count_threads(struct database *db, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_COUNT, e);
	int code = -1;

	if (s == NULL || database_begin_reading(db, e) < 0)
		return -1;
	db->top_known = false;
	if (database_find_top(db, e) == 0)
		code = database_step(db, s, "cannot be read", e);
	if (code == SQLITE_ROW)
		db->miscounted = sqlite3_column_int64(s, 0) - db->threads;
	db->corrections = database_state(db, STATE_CORRECTIONS);
	database_done(s);
	database_end_reading(db);
	if (code < 0)
		return -1;
	db->counted = true;
	db->must_count = false;
	return 0;
}

/* In a transaction that writes: unless another process has done so since they were counted. */
static int correct_count(struct database *db, struct err *e)
{
	const int64_t difference = db->miscounted;

	db->miscounted = 0;
	if (difference == 0 || database_state(db, STATE_CORRECTIONS) != db->corrections)
		return 0;
	db->threads = db->threads + difference > 0 ? db->threads + difference : 0;
	if (database_set_state(db, STATE_CORRECTIONS, db->corrections + 1, e) < 0)
		return -1;
	return database_mark(db, 0, e);
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

	if (database_is_converting(db)) /* the oldest ones are not there yet */
		return 0;
	if (database_find_top(db, e) < 0)
		return -1;
	if (correct_count(db, e) < 0)
		return -1;
	over = is_over(db, max_threads, max_bytes, e);
	if (over > 0 && !db->counted && max_threads > 0 && db->threads > max_threads) {
		db->must_count = true; /* by the next sweep, which is due at once */
		return 0;
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

bool database_must_count(const struct database *db)
{
	return db->must_count;
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

/* What was found to have expired, and what exceeds the limits. How many have expired, or -1 with e. */
static int sweep_all(struct database *db, struct sweep sweeps[2], const struct store_limits *limits, struct err *e)
{
	int deleted = 0;
	int64_t bytes = 0;

	if (database_begin_writing(db, e) < 0)
		return -1;
	for (int i = 0; i < 2; i++) {
		int n = delete_expired(db, &sweeps[i], &bytes, e);

		if (n < 0)
			goto fail;
		deleted += n;
	}
	if ((deleted == 0 || database_mark(db, deleted, e) == 0) && database_evict(db, limits, e) == 0)
		return database_commit(db, e) < 0 ? -1 : deleted;
fail:
	database_roll_back(db);
	return -1;
}

int database_sweep(struct database *db, int64_t now_ms, const struct store_limits *limits, int max, bool *more,
                   struct err *e)
{
	struct sweep sweeps[] = {
		{.state = STATE_SWEPT_SHORT,
	         .short_ids = true,
	         .expiry_ms = limits->short_id_idle_ms > 0 ? now_ms - limits->short_id_idle_ms : INT64_MIN,
	         .max = max},
		{.state = STATE_SWEPT_LONG,
	         .expiry_ms = limits->expire_ms > 0 ? now_ms - limits->expire_ms : INT64_MIN,
	         .max = max},
	};
	int result = -1;

	*more = shrink(db);
	if (database_begin_reading(db, e) < 0)
		return -1;
	result = find_expired(db, &sweeps[0], e) < 0 || find_expired(db, &sweeps[1], e) < 0 ? -1 : 0;
	database_end_reading(db);
	if (result == 0 && db->must_count)
		result = count_threads(db, e);
	if (result == 0 && (sweeps[0].at > sweeps[0].from || sweeps[1].at > sweeps[1].from || is_over_now(db, limits)))
		result = sweep_all(db, sweeps, limits, e);
	*more |= sweeps[0].more || sweeps[1].more || db->evicted > 0 || db->must_count;
	free_found(&sweeps[0]);
	free_found(&sweeps[1]);
	return result;
}

/* ---- what clients delete ---- */

/* The turns of the thread but for the one with that answer, as rows {number, at_ms, text}; *found: it was among them. A
 * new reference; NULL with e. */
static json_t *other_turns(struct database *db, const struct thread_key *k, const char *response, bool *found,
                           struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_SHOW, e);
	json_t *others = json_array(), *messages;
	int code = -1, failed = 0;

	if (s == NULL) {
		json_decref(others);
		return NULL;
	}
	database_bind_key(s, k);
	while (failed == 0 && (code = database_step(db, s, "cannot be read", e)) == SQLITE_ROW) {
		const char *text = database_text(s, 2);
		const size_t len = (size_t)sqlite3_column_bytes(s, 2);

		messages = strstr(text, response) != NULL ? json_loadb(text, len, JSON_ALLOW_NUL, NULL) : NULL;
		if (strcmp(store_answer_of(messages), response) == 0)
			*found = true;
		else
			failed = json_array_append_new(others, json_pack("{s:I, s:s%}", "at",
			                                                 (json_int_t)sqlite3_column_int64(s, 1), "text",
			                                                 text, len));
		json_decref(messages);
	}
	database_done(s);
	if (code == SQLITE_DONE)
		return others;
	json_decref(others);
	err_set(e, "%s: no memory to delete an answer, or its conversation is no UTF-8", db->file);
	return NULL;
}

/* In the place of the thread, which is deleted: a row cannot leave the middle of one. */
static int store_others(struct database *db, const struct thread_key *k, const struct range *was, const json_t *others,
                        struct err *e)
{
	struct range range = {.created_ms = was->created_ms};
	const json_t *turn, *text;
	size_t i;

	db->threads -= db->threads > 0;
	json_array_foreach(others, i, turn)
	{
		text = json_object_get(turn, "text");
		if (database_append_to(db, k, &range, json_string_value(text), json_string_length(text),
		                       json_integer_value(json_object_get(turn, "at")), STORE_THREAD_BYTES_MAX, e) < 0)
			return -1;
	}
	return 0;
}

int database_delete(struct database *db, const struct store_key *k, const char *response, int64_t now_ms,
                    const struct store_limits *limits, bool *found, struct err *e)
{
	const struct thread_key key = database_thread_key(db, k);
	json_t *others = NULL;
	struct range range;
	int failed = 0;

	*found = false;
	if (database_range(db, &key, &range, e) < 0) {
		if (response != NULL)
			return -1;
		err_clear(e); /* damaged: all the more a reason to delete it */
		range = (struct range){.last = 1, .at_ms = now_ms};
	}
	if (range.last == 0)
		return 0;
	if (response == NULL)
		*found = !database_has_expired(&key, range.at_ms, now_ms, limits);
	else if (database_has_expired(&key, range.at_ms, now_ms, limits))
		return 0;
	else if ((others = other_turns(db, &key, response, found, e)) == NULL)
		return -1;
	if (response == NULL || *found)
		failed = database_delete_thread(db, &key, e) < 0 ? -1 : 0;
	if (failed == 0 && json_array_size(others) > 0 && *found)
		failed = store_others(db, &key, &range, others, e);
	else if (failed == 0 && (response == NULL || *found))
		failed = database_mark(db, 1, e);
	json_decref(others);
	return failed;
}
