/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/database_internal.h"

#include "core/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const texts[STATEMENTS] = {
	[SQL_BEGIN_READING] = "BEGIN",
	[SQL_BEGIN_WRITING] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_RANGE] =
		"SELECT id, first, last, bytes FROM threads"
		" WHERE subject = ?1 AND thread_id = ?2 AND run = ?3 AND used_ms >= ?4",
	[SQL_LOAD] = "SELECT number, messages FROM turns WHERE thread = ?1 AND number > ?2 ORDER BY number",
	[SQL_DELETE_EXPIRED] =
		"DELETE FROM threads WHERE subject = ?1 AND thread_id = ?2 AND run = ?3 AND used_ms < ?4",
	[SQL_TOUCH] =
		"INSERT INTO threads(subject, thread_id, run, created_ms, used_ms, first, last, bytes)"
		" VALUES(?1, ?2, ?3, ?4, ?4, 1, 1, ?5)"
		" ON CONFLICT(subject, thread_id, run) DO UPDATE"
		" SET used_ms = max(used_ms, excluded.used_ms), last = last + 1, bytes = bytes + excluded.bytes"
		" RETURNING id, first, last, bytes",
	[SQL_APPEND] = "INSERT INTO turns(thread, number, at_ms, messages) VALUES(?1, ?2, ?3, ?4)",
	[SQL_DROP_TURN] =
		"DELETE FROM turns WHERE thread = ?1 AND number = ?2 RETURNING length(CAST(messages AS BLOB))",
	[SQL_SET_RANGE] = "UPDATE threads SET first = ?2, bytes = ?3 WHERE id = ?1",
	[SQL_SWEEP] =
		"DELETE FROM threads WHERE id IN (SELECT id FROM threads WHERE"
		" (run = '' AND used_ms < ?1) OR (run <> '' AND used_ms < ?2) LIMIT ?3)",
	[SQL_LIST] =
		"SELECT id, subject, thread_id, created_ms, used_ms, last - first + 1, bytes, run <> ''"
		" FROM threads ORDER BY used_ms DESC, id",
	[SQL_FIND] = "SELECT id FROM threads WHERE subject = ?1 AND thread_id = ?2 ORDER BY used_ms DESC LIMIT 1",
	[SQL_HEAD] = "SELECT subject, thread_id, created_ms, used_ms FROM threads WHERE id = ?1",
	[SQL_SHOW] = "SELECT number, at_ms, messages FROM turns WHERE thread = ?1 ORDER BY number",
	[SQL_SIZE] = "SELECT count(*), coalesce(sum(last - first + 1), 0), coalesce(sum(bytes), 0) FROM threads",
	[SQL_DELETE] = "DELETE FROM threads WHERE (?1 IS NULL OR subject = ?1) AND (?2 IS NULL OR thread_id = ?2)",
};

int database_fail(struct database *db, struct err *e, const char *what)
{
	int code = sqlite3_extended_errcode(db->sqlite);

	switch (code & 0xff) { /* not a damaged page: those of other threads may be fine */
	case SQLITE_NOTADB:
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
		db->lost = true;
		break;
	default:
		break;
	}
	return err_set(e, "%s: %s: %s", db->file, what, sqlite3_errmsg(db->sqlite));
}

sqlite3_stmt *database_statement(struct database *db, enum statement s, struct err *e)
{
	if (db->statements[s] == NULL && sqlite3_prepare_v3(db->sqlite, texts[s], -1, SQLITE_PREPARE_PERSISTENT,
	                                                    &db->statements[s], NULL) != SQLITE_OK)
		database_fail(db, e, "cannot be read");
	return db->statements[s];
}

void database_done(sqlite3_stmt *s)
{
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
}

void database_bind_text(sqlite3_stmt *s, int at, const char *text)
{
	/* Fails only without memory, and then so does the step. */
	sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

int database_step(struct database *db, sqlite3_stmt *s, const char *what, struct err *e)
{
	int code = sqlite3_step(s);

	return code == SQLITE_ROW || code == SQLITE_DONE ? code : database_fail(db, e, what);
}

int database_run(struct database *db, enum statement which, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, which, e);
	int code;

	if (s == NULL)
		return -1;
	code = database_step(db, s, "cannot be written", e);
	database_done(s);
	return code < 0 ? -1 : 0;
}

/* ---- transactions ---- */

int database_begin_reading(struct database *db, struct err *e)
{
	return database_run(db, SQL_BEGIN_READING, e);
}

void database_end_reading(struct database *db)
{
	database_run(db, SQL_COMMIT, NULL);
}

int database_begin_writing(struct database *db, struct err *e)
{
	return database_run(db, SQL_BEGIN_WRITING, e);
}

int database_commit(struct database *db, struct err *e)
{
	if (database_run(db, SQL_COMMIT, e) == 0)
		return 0;
	database_roll_back(db);
	return -1;
}

void database_roll_back(struct database *db)
{
	/* Some errors have done so already. */
	if (sqlite3_get_autocommit(db->sqlite) == 0)
		database_run(db, SQL_ROLLBACK, NULL);
}

/* ---- keys and limits ---- */

/* The turns that a thread has. */
struct range {
	int64_t thread, first, last, bytes;
};

static const char *run_of(const struct database *db, const struct store_key *k)
{
	return store_id_is_short(k->thread_id) ? db->run : "";
}

/* Threads that were last used before this time have expired. */
static int64_t expiry(int64_t now_ms, int64_t idle_ms)
{
	return idle_ms > 0 ? now_ms - idle_ms : INT64_MIN;
}

static void bind_key(struct database *db, sqlite3_stmt *s, const struct store_key *k)
{
	database_bind_text(s, 1, k->subject);
	database_bind_text(s, 2, k->thread_id);
	database_bind_text(s, 3, run_of(db, k));
}

static int64_t expiry_of(const struct store_key *k, int64_t now_ms, const struct store_limits *limits)
{
	return expiry(now_ms, store_id_is_short(k->thread_id) ? limits->short_id_idle_ms : limits->expire_ms);
}

/* A damaged row may hold any numbers, and loops and sums depend on them. */
static int check_range(const struct database *db, const struct range *range, struct err *e)
{
	if (range->first > 0 && range->last >= range->first && range->last < INT64_MAX / 2 &&
	    range->last - range->first <= STORE_TURNS_MAX && range->bytes >= 0)
		return 0;
	return err_set(e,
	               "%s: a conversation is damaged (turns %lld to %lld, %lld bytes); tt-agentctl threads lists and"
	               " deletes them",
	               db->file, (long long)range->first, (long long)range->last, (long long)range->bytes);
}

/* ---- reading ---- */

/* The turns that a thread has; 1: the thread exists, 0: it does not, -1 with e. */
static int find_range(struct database *db, const struct store_key *k, int64_t expiry_ms, struct range *range,
                      struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_RANGE, e);
	int code;

	if (s == NULL)
		return -1;
	bind_key(db, s, k);
	sqlite3_bind_int64(s, 4, expiry_ms);
	code = database_step(db, s, "cannot be read", e);
	if (code == SQLITE_ROW)
		*range = (struct range){.thread = sqlite3_column_int64(s, 0),
		                        .first = sqlite3_column_int64(s, 1),
		                        .last = sqlite3_column_int64(s, 2),
		                        .bytes = sqlite3_column_int64(s, 3)};
	database_done(s);
	if (code == SQLITE_ROW)
		return check_range(db, range, e) < 0 ? -1 : 1;
	return code < 0 ? -1 : 0;
}

/* A turn that cannot be read counts as one without messages. NULL: out of memory, for which
 * jansson leaves the allocator's errno. */
static json_t *read_turn(sqlite3_stmt *s)
{
	const char *text = (const char *)sqlite3_column_text(s, 1);
	size_t size = (size_t)sqlite3_column_bytes(s, 1);
	json_t *messages;

	if (text == NULL && sqlite3_column_type(s, 1) != SQLITE_NULL)
		return NULL;
	errno = 0;
	messages = text != NULL ? json_loadb(text, size, JSON_ALLOW_NUL, NULL) : NULL;
	if (json_is_array(messages) || (messages == NULL && errno == ENOMEM))
		return messages;
	json_decref(messages);
	log_event(LOG_TURN_UNREADABLE, L_STR("error", "a turn in the database is not a JSON array and is left out"));
	return json_array();
}

/* Adds the turns to t that the database has beyond it. */
static int read_turns(struct database *db, struct cached_thread *t, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_LOAD, e);
	int code;

	if (s == NULL)
		return -1;
	sqlite3_bind_int64(s, 1, t->id);
	sqlite3_bind_int64(s, 2, t->last);
	while ((code = database_step(db, s, "cannot be read", e)) == SQLITE_ROW) {
		json_t *turn = sqlite3_column_int64(s, 0) == t->last + 1 ? read_turn(s) : NULL;

		if (turn_cache_add(db->cache, t, turn) < 0)
			break;
	}
	database_done(s);
	return code == SQLITE_DONE ? 0 : -1;
}

json_t *database_load(struct database *db, const struct store_key *k, int64_t now_ms, const struct store_limits *limits,
                      struct err *e)
{
	struct cached_thread *t = NULL;
	json_t *turns = NULL;
	struct range range;

	switch (find_range(db, k, expiry_of(k, now_ms, limits), &range, e)) {
	case 0:
		turns = json_array();
		break;
	case 1:
		t = turn_cache_thread(db->cache, range.thread, range.first);
		if (t == NULL || (t->last < range.last && read_turns(db, t, e) < 0))
			break;
		/* The list is the caller's; the turns in it are shared. */
		turns = json_copy(t->turns);
		break;
	default:
		break;
	}
	if (turns != NULL)
		return turns;
	if (t != NULL)
		turn_cache_forget(db->cache, t);
	err_set(e, "%s: a conversation cannot be read: out of memory, or turns are missing", db->file);
	return NULL;
}

/* ---- writing ---- */

/* Makes or updates the thread for one more turn of len bytes. */
static int touch_thread(struct database *db, const struct store_key *k, size_t len, int64_t now_ms, struct range *range,
                        struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_TOUCH, e);
	int code;

	if (s == NULL)
		return -1;
	bind_key(db, s, k);
	sqlite3_bind_int64(s, 4, now_ms);
	sqlite3_bind_int64(s, 5, (int64_t)len);
	code = database_step(db, s, "cannot be written", e);
	if (code == SQLITE_ROW) {
		range->thread = sqlite3_column_int64(s, 0);
		range->first = sqlite3_column_int64(s, 1);
		range->last = sqlite3_column_int64(s, 2);
		range->bytes = sqlite3_column_int64(s, 3);
		code = database_step(db, s, "cannot be written", e);
	}
	database_done(s);
	return code == SQLITE_DONE ? check_range(db, range, e) : -1;
}

static int append_row(struct database *db, const struct range *range, const char *messages, size_t len, int64_t now_ms,
                      struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_APPEND, e);
	int code;

	if (s == NULL)
		return -1;
	sqlite3_bind_int64(s, 1, range->thread);
	sqlite3_bind_int64(s, 2, range->last);
	sqlite3_bind_int64(s, 3, now_ms);
	sqlite3_bind_text64(s, 4, messages, len, SQLITE_STATIC, SQLITE_UTF8);
	code = database_step(db, s, "cannot be written", e);
	database_done(s);
	return code < 0 ? -1 : 0;
}

static int drop_oldest(struct database *db, struct range *range, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_DROP_TURN, e);
	int code;

	if (s == NULL)
		return -1;
	sqlite3_bind_int64(s, 1, range->thread);
	sqlite3_bind_int64(s, 2, range->first++);
	while ((code = database_step(db, s, "cannot be written", e)) == SQLITE_ROW)
		range->bytes -= sqlite3_column_int64(s, 0);
	database_done(s);
	return code < 0 ? -1 : 0;
}

/* Drops the oldest turns beyond the limits, never part of a turn. */
static int enforce_limits(struct database *db, struct range *range, struct err *e)
{
	const int64_t first = range->first;
	sqlite3_stmt *s;
	int code;

	while (range->first < range->last &&
	       (range->last - range->first >= STORE_TURNS_MAX || range->bytes > STORE_THREAD_BYTES_MAX))
		if (drop_oldest(db, range, e) < 0)
			return -1;
	if (range->first == first)
		return 0;
	s = database_statement(db, SQL_SET_RANGE, e);
	if (s == NULL)
		return -1;
	sqlite3_bind_int64(s, 1, range->thread);
	sqlite3_bind_int64(s, 2, range->first);
	sqlite3_bind_int64(s, 3, range->bytes);
	code = database_step(db, s, "cannot be written", e);
	database_done(s);
	return code < 0 ? -1 : 0;
}

static int delete_expired(struct database *db, const struct store_key *k, int64_t before_ms, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_DELETE_EXPIRED, e);
	int code;

	if (s == NULL)
		return -1;
	bind_key(db, s, k);
	sqlite3_bind_int64(s, 4, before_ms);
	code = database_step(db, s, "cannot be written", e);
	database_done(s);
	return code < 0 ? -1 : 0;
}

int database_append(struct database *db, const struct store_key *k, const char *messages, size_t len, int64_t now_ms,
                    const struct store_limits *limits, struct err *e)
{
	struct range range = {0};

	if (delete_expired(db, k, expiry_of(k, now_ms, limits), e) == 0 &&
	    touch_thread(db, k, len, now_ms, &range, e) == 0 && append_row(db, &range, messages, len, now_ms, e) == 0)
		return enforce_limits(db, &range, e);
	return -1;
}

int database_sweep(struct database *db, int64_t now_ms, const struct store_limits *limits, int max, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_SWEEP, e);
	int code, deleted = 0;

	if (s == NULL)
		return -1;
	sqlite3_bind_int64(s, 1, expiry(now_ms, limits->expire_ms));
	sqlite3_bind_int64(s, 2, expiry(now_ms, limits->short_id_idle_ms));
	sqlite3_bind_int(s, 3, max);
	code = database_step(db, s, "cannot be written", e);
	if (code == SQLITE_DONE)
		deleted = sqlite3_changes(db->sqlite);
	database_done(s);
	if (deleted > 0)
		sqlite3_exec(db->sqlite, "PRAGMA incremental_vacuum(256)", NULL, NULL, NULL);
	return code < 0 ? -1 : deleted;
}
