/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/database_internal.h"

#include "core/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Only reads the index: the rows of all threads' last turns. */
#define LAST_TURNS "SELECT max(id) FROM history WHERE thread > 0 GROUP BY key, thread"
/* Threads of another key may have the same hash. Their rows have another number in "thread", by which the index is
 * sorted next, so this order takes no sorting: a thread's rows have the same one. */
#define OF_THREAD "key = ?4 AND subject = ?1 AND thread_id = ?2 AND run = ?3"

static const char *const texts[STATEMENTS] = {
	[SQL_BEGIN_READING] = "BEGIN",
	[SQL_BEGIN_WRITING] = "BEGIN IMMEDIATE",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_TOP] = "SELECT id, threads FROM history ORDER BY id DESC LIMIT 1",
	[SQL_LAST] = "SELECT thread, first, number, bytes, created_ms, at_ms FROM history WHERE " OF_THREAD
		     " ORDER BY thread DESC, id DESC LIMIT 1",
	[SQL_LOAD] = "SELECT number, messages, id FROM history WHERE " OF_THREAD
		     " AND thread = ?5 AND id > ?6"
		     " ORDER BY id",
	[SQL_APPEND] =
		"INSERT INTO history(subject, thread_id, run, key, id, thread, first, number, bytes, threads,"
		" created_ms, at_ms, messages) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
	[SQL_DROP_TURN] = "DELETE FROM history WHERE id = (SELECT id FROM history WHERE " OF_THREAD
			  " ORDER BY thread, id LIMIT 1) RETURNING length(CAST(messages AS BLOB))",
	[SQL_NEXT] = "SELECT id, at_ms, number, subject, thread_id, run FROM history WHERE id > ?1 ORDER BY id LIMIT 1",
	[SQL_DELETE_THREAD] = "DELETE FROM history WHERE " OF_THREAD,
	[SQL_DROP_MARKERS] = "DELETE FROM history WHERE " OF_THREAD " AND id < ?5",
	[SQL_PAGES] = "PRAGMA page_count",
	[SQL_FREE_PAGES] = "PRAGMA freelist_count",
	[SQL_STATE] = "SELECT value FROM state WHERE name = ?1",
	[SQL_SET_STATE] = "INSERT OR REPLACE INTO state(name, value) VALUES(?1, ?2)",
	[SQL_LIST] =
		"SELECT subject, thread_id, run, created_ms, at_ms, number - first + 1, bytes"
		" FROM history WHERE id IN (" LAST_TURNS ") ORDER BY at_ms DESC, id DESC",
	[SQL_FIND] =
		"SELECT run FROM history WHERE key BETWEEN ?3 AND ?4 AND subject = ?1 AND thread_id = ?2 AND thread > 0"
		" ORDER BY id DESC LIMIT 1",
	[SQL_SHOW] = "SELECT number, at_ms, messages FROM history WHERE " OF_THREAD " ORDER BY id",
	[SQL_SIZE] =
		"SELECT count(*), coalesce(sum(number - first + 1), 0), coalesce(sum(bytes), 0),"
		" coalesce(min(at_ms), 0) FROM history WHERE id IN (" LAST_TURNS ")",
	[SQL_KEYS] = "SELECT DISTINCT key FROM history WHERE key >= ?1 ORDER BY key LIMIT ?2",
	[SQL_IS_STORED] = "SELECT 1 FROM history WHERE id = ?5 AND " OF_THREAD " AND messages = ?6",
	[SQL_COUNT] = "SELECT count(*) FROM (SELECT DISTINCT key, thread FROM history WHERE thread > 0)",
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
	case SQLITE_FULL:
		db->full = true;
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

const char *database_text(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);

	return text != NULL ? text : "";
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
	db->top_known = false;
	db->deleted = false;
	if (database_run(db, SQL_BEGIN_WRITING, e) < 0)
		return -1;
	if (db->hooks != NULL)
		db->hooks->begun(db);
	return 0;
}

int database_commit(struct database *db, struct err *e)
{
	if (db->hooks != NULL)
		db->hooks->commits(db);
	if (database_run(db, SQL_COMMIT, e) < 0) {
		database_roll_back(db);
		return -1;
	}
	if (db->hooks != NULL)
		db->hooks->committed(db);
	return 0;
}

void database_roll_back(struct database *db)
{
	/* Some errors have done so already. */
	if (sqlite3_get_autocommit(db->sqlite) == 0)
		database_run(db, SQL_ROLLBACK, NULL);
}

int database_wal_pages(const struct database *db)
{
	return db->wal_pages;
}

void database_checkpoint(struct database *db)
{
	/* Does not wait for readers: they or the next checkpoint finish it. */
	sqlite3_wal_checkpoint_v2(db->sqlite, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	db->wal_pages = 0;
}

/* ---- versions ---- */

uint64_t database_touch(struct database *db, const struct thread_key *k)
{
	return db->versions != NULL ? versions_touch(db->versions, database_key(k)) : VERSIONS_UNKNOWN;
}

uint64_t database_committed(const struct database *db)
{
	return db->versions != NULL && !db->deleted ? versions_committed(db->versions) : 0;
}

uint64_t database_now(struct database *db)
{
	return db->versions != NULL ? versions_now(db->versions) : 0;
}

/* ---- keys and limits ---- */

struct thread_key database_thread_key(const struct database *db, const struct store_key *k)
{
	return (struct thread_key){.subject = k->subject,
	                           .thread_id = k->thread_id,
	                           .run = store_id_is_short(k->thread_id) ? db->run : ""};
}

/* FNV-1a. */
static uint64_t hash(uint64_t h, const char *text)
{
	for (; *text != '\0'; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3;
	return (h ^ 0xff) * 0x100000001b3; /* no character of UTF-8: "a", "b" is not "ab", "" */
}

static uint64_t spread(uint64_t h)
{
	h = (h ^ (h >> 33)) * 0xff51afd7ed558ccd;
	return h ^ (h >> 33);
}

int64_t database_key(const struct thread_key *k)
{
	const uint64_t first = 0xcbf29ce484222325, thread = spread(hash(hash(first, k->subject), k->thread_id));

	return (int64_t)((thread & ~(uint64_t)KEY_RUN_MASK) | (spread(hash(first, k->run)) & KEY_RUN_MASK));
}

int64_t database_key_of(const char *run, const struct store_key *k)
{
	const struct thread_key key = {
		.subject = k->subject, .thread_id = k->thread_id, .run = store_id_is_short(k->thread_id) ? run : ""};

	return database_key(&key);
}

void database_bind_key(sqlite3_stmt *s, const struct thread_key *k)
{
	database_bind_text(s, 1, k->subject);
	database_bind_text(s, 2, k->thread_id);
	database_bind_text(s, 3, k->run);
	sqlite3_bind_int64(s, 4, database_key(k));
}

bool database_has_expired(const struct thread_key *k, int64_t at_ms, int64_t now_ms, const struct store_limits *limits)
{
	const int64_t idle_ms = store_id_is_short(k->thread_id) ? limits->short_id_idle_ms : limits->expire_ms;

	return idle_ms > 0 && at_ms < now_ms - idle_ms;
}

/* A damaged row may hold any numbers, and loops and sums depend on them. */
static int check_range(const struct database *db, const struct range *range, struct err *e)
{
	if (range->first > 0 && range->last >= range->first && range->last < INT64_MAX / 2 &&
	    range->last - range->first <= STORE_TURNS_MAX && range->bytes >= 0 && range->bytes < INT64_MAX / 2)
		return 0;
	return err_set(e,
	               "%s: a conversation is damaged (turns %lld to %lld, %lld bytes); tt-agentctl threads lists and"
	               " deletes them",
	               db->file, (long long)range->first, (long long)range->last, (long long)range->bytes);
}

/* ---- reading ---- */

int database_range(struct database *db, const struct thread_key *k, struct range *range, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_LAST, e);
	int code;

	*range = (struct range){.last = 0};
	if (s == NULL)
		return -1;
	database_bind_key(s, k);
	code = database_step(db, s, "cannot be read", e);
	if (code == SQLITE_ROW)
		*range = (struct range){.thread = sqlite3_column_int64(s, 0),
		                        .first = sqlite3_column_int64(s, 1),
		                        .last = sqlite3_column_int64(s, 2),
		                        .bytes = sqlite3_column_int64(s, 3),
		                        .created_ms = sqlite3_column_int64(s, 4),
		                        .at_ms = sqlite3_column_int64(s, 5)};
	database_done(s);
	if (code == SQLITE_ROW)
		return check_range(db, range, e);
	return code < 0 ? -1 : 0;
}

int database_next_row(struct database *db, int64_t after, struct row *row, sqlite3_stmt **s, struct err *e)
{
	int code;

	*s = database_statement(db, SQL_NEXT, e);
	if (*s == NULL)
		return -1;
	sqlite3_bind_int64(*s, 1, after);
	code = database_step(db, *s, "cannot be read", e);
	if (code == SQLITE_ROW)
		*row = (struct row){.id = sqlite3_column_int64(*s, 0),
		                    .at_ms = sqlite3_column_int64(*s, 1),
		                    .number = sqlite3_column_int64(*s, 2),
		                    .key = {.subject = database_text(*s, 3),
		                            .thread_id = database_text(*s, 4),
		                            .run = database_text(*s, 5)}};
	return code == SQLITE_ROW ? 1 : code < 0 ? -1 : 0;
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
static int read_turns(struct database *db, const struct thread_key *k, struct cached_thread *t, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_LOAD, e);
	int code;

	if (s == NULL)
		return -1;
	database_bind_key(s, k);
	sqlite3_bind_int64(s, 5, t->id);
	sqlite3_bind_int64(s, 6, t->tag);
	while ((code = database_step(db, s, "cannot be read", e)) == SQLITE_ROW) {
		json_t *turn = sqlite3_column_int64(s, 0) == t->last + 1 ? read_turn(s) : NULL;

		if (turn_cache_add(db->cache, t, turn) < 0)
			break;
		t->tag = sqlite3_column_int64(s, 2);
	}
	database_done(s);
	return code == SQLITE_DONE ? 0 : -1;
}

json_t *database_load(struct database *db, const struct store_key *k, int64_t now_ms, const struct store_limits *limits,
                      struct err *e)
{
	const struct thread_key key = database_thread_key(db, k);
	struct cached_thread *t = NULL;
	json_t *turns = NULL;
	struct range range;

	if (database_range(db, &key, &range, e) < 0) {
		turns = NULL;
	} else if (range.last == 0 || database_has_expired(&key, range.at_ms, now_ms, limits)) {
		turns = json_array();
	} else {
		t = turn_cache_thread(db->cache, range.thread, range.first);
		/* The list is the caller's; the turns in it are shared. */
		if (t != NULL && (t->last >= range.last || read_turns(db, &key, t, e) == 0))
			turns = json_copy(t->turns);
	}
	db->thread = (struct database_thread){.turns = (int64_t)json_array_size(turns), .at_ms = range.at_ms};
	if (turns != NULL)
		return turns;
	if (t != NULL)
		turn_cache_forget(db->cache, t);
	err_set(e, "%s: a conversation cannot be read: out of memory, or turns are missing", db->file);
	return NULL;
}

/* ---- writing ---- */

/* Reads the last row of all, once in a transaction. */
int database_find_top(struct database *db, struct err *e)
{
	sqlite3_stmt *s;
	int code;

	if (db->top_known)
		return 0;
	s = database_statement(db, SQL_TOP, e);
	if (s == NULL)
		return -1;
	code = database_step(db, s, "cannot be read", e);
	db->top = code == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
	db->threads = code == SQLITE_ROW ? sqlite3_column_int64(s, 1) : 0;
	database_done(s);
	if (code < 0)
		return -1;
	if (db->top < 0 || db->top >= INT64_MAX / 2)
		return err_set(e, "%s: is damaged: its last row has the number %lld", db->file, (long long)db->top);
	if (db->threads < 0)
		db->threads = 0;
	db->top_known = true;
	return 0;
}

static int insert(struct database *db, const struct thread_key *k, const struct range *range, const char *messages,
                  size_t len, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_APPEND, e);
	int code;

	if (s == NULL)
		return -1;
	database_bind_key(s, k);
	sqlite3_bind_int64(s, 5, db->top + 1);
	sqlite3_bind_int64(s, 6, range->thread);
	sqlite3_bind_int64(s, 7, range->first);
	sqlite3_bind_int64(s, 8, range->last);
	sqlite3_bind_int64(s, 9, range->bytes);
	sqlite3_bind_int64(s, 10, db->threads);
	sqlite3_bind_int64(s, 11, range->created_ms);
	sqlite3_bind_int64(s, 12, range->at_ms);
	sqlite3_bind_text64(s, 13, messages, len, SQLITE_STATIC, SQLITE_UTF8);
	code = database_step(db, s, "cannot be written", e);
	database_done(s);
	if (code < 0)
		return -1;
	db->top++;
	return 0;
}

static int drop_oldest(struct database *db, const struct thread_key *k, struct range *range, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_DROP_TURN, e);
	int code;

	if (s == NULL)
		return -1;
	database_bind_key(s, k);
	range->first++;
	while ((code = database_step(db, s, "cannot be written", e)) == SQLITE_ROW)
		range->bytes -= sqlite3_column_int64(s, 0);
	database_done(s);
	return code < 0 ? -1 : 0;
}

int database_append_to(struct database *db, const struct thread_key *k, struct range *range, const char *messages,
                       size_t len, int64_t now_ms, size_t thread_bytes, struct err *e)
{
	const int64_t max = thread_bytes > 0 ? (int64_t)thread_bytes : STORE_THREAD_BYTES_MAX;

	if (database_find_top(db, e) < 0)
		return -1;
	if (range->last == 0) {
		range->thread = db->top + 1;
		range->first = 1;
		if (range->created_ms == 0)
			range->created_ms = now_ms;
		db->threads++;
	}
	/* Never part of a turn. */
	while (range->first <= range->last &&
	       (range->last - range->first + 1 >= STORE_TURNS_MAX || range->bytes + (int64_t)len > max))
		if (drop_oldest(db, k, range, e) < 0)
			return -1;
	range->last++;
	range->bytes += (int64_t)len;
	if (now_ms > range->at_ms)
		range->at_ms = now_ms;
	db->thread = (struct database_thread){
		.turns = range->last - range->first + 1, .at_ms = range->at_ms, .before = database_touch(db, k)};
	return insert(db, k, range, messages, len, e);
}

int database_append_turn(struct database *db, const struct thread_key *k, const char *messages, size_t len,
                         int64_t now_ms, const struct store_limits *limits, struct err *e)
{
	struct range range;

	if (database_range(db, k, &range, e) < 0)
		return -1;
	if (range.last > 0 && database_has_expired(k, range.at_ms, now_ms, limits)) {
		if (database_find_top(db, e) < 0 || database_delete_thread(db, k, e) < 0)
			return -1;
		db->threads -= db->threads > 0;
		range = (struct range){.last = 0};
	}
	return database_append_to(db, k, &range, messages, len, now_ms, limits->thread_bytes, e);
}

int database_append(struct database *db, const struct store_key *k, const char *messages, size_t len, int64_t now_ms,
                    const struct store_limits *limits, struct err *e)
{
	const struct thread_key key = database_thread_key(db, k);

	return database_append_turn(db, &key, messages, len, now_ms, limits, e);
}

/* ---- deleting ---- */

int64_t database_delete_thread(struct database *db, const struct thread_key *k, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_DELETE_THREAD, e);
	int code;

	if (s == NULL || database_find_top(db, e) < 0)
		return -1;
	database_touch(db, k);
	db->deleted = true;
	database_bind_key(s, k);
	code = database_step(db, s, "cannot be written", e);
	database_done(s);
	return code < 0 ? -1 : sqlite3_changes64(db->sqlite);
}

int database_mark(struct database *db, int64_t deleted_threads, struct err *e)
{
	static const struct thread_key marker = {.subject = "", .thread_id = "", .run = MARKER_RUN};
	const struct range nothing = {.thread = 0};
	sqlite3_stmt *s = database_statement(db, SQL_DROP_MARKERS, e);
	int code;

	if (s == NULL || database_find_top(db, e) < 0)
		return -1;
	db->threads -= deleted_threads < db->threads ? deleted_threads : db->threads;
	if (insert(db, &marker, &nothing, "", 0, e) < 0)
		return -1;
	database_bind_key(s, &marker);
	sqlite3_bind_int64(s, 5, db->top);
	code = database_step(db, s, "cannot be written", e);
	database_done(s);
	return code < 0 ? -1 : 0;
}

const struct database_thread *database_last_thread(const struct database *db)
{
	return &db->thread;
}

int64_t database_pages(struct database *db, bool free, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, free ? SQL_FREE_PAGES : SQL_PAGES, e);
	int64_t pages;

	if (s == NULL)
		return -1;
	pages = database_step(db, s, "cannot be read", e) == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;
	database_done(s);
	return pages;
}

int64_t database_state(struct database *db, const char *name)
{
	sqlite3_stmt *s = database_statement(db, SQL_STATE, NULL);
	int64_t value = 0;

	if (s == NULL)
		return 0;
	database_bind_text(s, 1, name);
	if (sqlite3_step(s) == SQLITE_ROW)
		value = sqlite3_column_int64(s, 0);
	database_done(s);
	return value;
}

int database_set_state(struct database *db, const char *name, int64_t value, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_SET_STATE, e);
	int code;

	if (s == NULL)
		return -1;
	database_bind_text(s, 1, name);
	sqlite3_bind_int64(s, 2, value);
	code = database_step(db, s, "cannot be written", e);
	database_done(s);
	return code < 0 ? -1 : 0;
}
