/* SPDX-License-Identifier: Apache-2.0 */
/* The layout of tt-agent 0.1.0: `threads` has a row for each thread, `turns` one for each turn. Each
 * thread is moved whole and in the order of its last use, some in a transaction, so a program
 * that is killed meanwhile loses nothing and the next one goes on.
 *
 * The emptied tables stay for a while. A program of that version which still has the file open,
 * such as a worker that answers its last chats, goes on storing turns there; they are moved too. */
#include "core/store/database_internal.h"

#include "core/base/clock.h"

#define FAILED          "cannot be converted to the layout of this version"
#define THREADS_AT_ONCE 200
#define EMPTY_MS        86400000 /* how long the emptied tables stay */

static sqlite3_stmt *prepare(struct database *db, const char *sql, struct err *e)
{
	sqlite3_stmt *s = NULL;

	if (sqlite3_prepare_v2(db->sqlite, sql, -1, &s, NULL) != SQLITE_OK)
		database_fail(db, e, FAILED);
	return s;
}

static int64_t number_of(struct database *db, const char *sql)
{
	sqlite3_stmt *s = prepare(db, sql, NULL);
	int64_t number = 0;

	if (s != NULL && sqlite3_step(s) == SQLITE_ROW)
		number = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return number;
}

struct conversion {
	sqlite3_stmt *thread, *turns, *delete;
	int64_t moved_turns;
};

static int open_conversion(struct database *db, struct conversion *c, struct err *e)
{
	*c = (struct conversion){.moved_turns = 0};
	c->thread = prepare(db,
	                    "SELECT id, subject, thread_id, run, created_ms FROM threads WHERE id = (SELECT id FROM ("
	                    "SELECT * FROM (SELECT id, used_ms FROM threads WHERE run = '' ORDER BY used_ms LIMIT 1)"
	                    " UNION ALL"
	                    " SELECT * FROM (SELECT id, used_ms FROM threads WHERE run <> '' ORDER BY used_ms LIMIT 1))"
	                    " ORDER BY used_ms LIMIT 1)",
	                    e);
	c->turns = prepare(db, "SELECT at_ms, messages FROM turns WHERE thread = ?1 ORDER BY number", e);
	c->delete = prepare(db, "DELETE FROM threads WHERE id = ?1", e);
	return c->thread != NULL && c->turns != NULL && c->delete != NULL ? 0 : -1;
}

static void close_conversion(struct conversion *c)
{
	sqlite3_finalize(c->thread);
	sqlite3_finalize(c->turns);
	sqlite3_finalize(c->delete);
}

static int move_turns(struct database *db, struct conversion *c, const struct thread_key *k, struct err *e)
{
	struct range range;
	int code = -1;

	if (database_range(db, k, &range, e) < 0)
		return -1;
	if (range.last == 0)
		range.created_ms = sqlite3_column_int64(c->thread, 4);
	sqlite3_bind_int64(c->turns, 1, sqlite3_column_int64(c->thread, 0));
	while ((code = database_step(db, c->turns, FAILED, e)) == SQLITE_ROW) {
		const int64_t at_ms = sqlite3_column_int64(c->turns, 0);
		const char *messages = (const char *)sqlite3_column_text(c->turns, 1);

		if (database_append_to(db, k, &range, messages != NULL ? messages : "",
		                       (size_t)sqlite3_column_bytes(c->turns, 1), at_ms, 0, e) < 0)
			break;
		c->moved_turns++;
	}
	sqlite3_reset(c->turns);
	return code == SQLITE_DONE ? 0 : -1;
}

/* 1: moved, 0: there is none, -1 with e. */
static int move_thread(struct database *db, struct conversion *c, struct err *e)
{
	int code = database_step(db, c->thread, FAILED, e), result = code < 0 ? -1 : 0;

	if (code == SQLITE_ROW) {
		const int64_t id = sqlite3_column_int64(c->thread, 0);
		const struct thread_key k = {.subject = (const char *)sqlite3_column_text(c->thread, 1),
		                             .thread_id = (const char *)sqlite3_column_text(c->thread, 2),
		                             .run = (const char *)sqlite3_column_text(c->thread, 3)};

		sqlite3_bind_int64(c->delete, 1, id);
		if (k.subject != NULL && k.thread_id != NULL && k.run != NULL && move_turns(db, c, &k, e) == 0 &&
		    database_step(db, c->delete, FAILED, e) == SQLITE_DONE)
			result = 1;
		else
			result = err_set(e, "%s: cannot be converted: no memory", db->file);
		sqlite3_reset(c->delete);
	}
	sqlite3_reset(c->thread);
	return result;
}

/* 1: there may be more, 0: all are moved, -1 with e. */
static int move_some(struct database *db, struct conversion *c, struct err *e)
{
	int moved = 1;

	if (database_begin_writing(db, e) < 0)
		return -1;
	for (int i = 0; i < THREADS_AT_ONCE && moved > 0; i++)
		moved = move_thread(db, c, e);
	if (moved < 0) {
		database_roll_back(db);
		return -1;
	}
	return database_commit(db, e) < 0 ? -1 : moved;
}

int64_t database_convert(struct database *db, struct err *e)
{
	struct conversion c;
	int more;

	if (number_of(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'threads'") == 0)
		return 0;
	if (number_of(db, "SELECT 1 FROM threads LIMIT 1") == 0) {
		if (clock_wall_ms() - database_state(db, STATE_CONVERTED) > EMPTY_MS)
			sqlite3_exec(db->sqlite, "DROP TABLE turns; DROP TABLE threads", NULL, NULL, NULL);
		return 0;
	}
	more = open_conversion(db, &c, e) < 0 ? -1 : 1;
	while (more > 0) {
		more = move_some(db, &c, e);
		database_checkpoint(db); /* or the log would grow as large as the database */
	}
	close_conversion(&c);
	return more < 0 ? -1 : c.moved_turns;
}
