/* SPDX-License-Identifier: Apache-2.0 */
/* Former layouts. In that of tt-agent 0.1.0 `threads` has a row for each thread and `turns` one for each turn; in
 * that of 0.2.0 before its release `log` has the rows that `history` has now, without a hash.
 *
 * Each thread is moved whole, some in a transaction, so a program that is killed meanwhile loses nothing and the next
 * one goes on; several processes may do it at once. Rows of `history` are in the order of the last use of their
 * threads, while new turns are appended: so the moved ones have the rows before STATE_CONVERTED_TO. A thread that is
 * used before its turn comes is moved first.
 *
 * The emptied tables stay for a while. A program of that version which still has the file open, such as a worker that
 * answers its last chats, goes on storing turns there; they are moved too. */
#include "core/store/database_internal.h"

#include "core/base/clock.h"

#include <stdlib.h>

#define THREADS_AT_ONCE 64
#define BYTES_AT_ONCE   (2 << 20)
#define EMPTY_MS        86400000 /* how long the emptied tables stay */

#define COPY_COLUMNS "id, thread, first, number, bytes, threads, created_ms, at_ms, subject, thread_id, run, messages"

static const struct layout {
	const char *table;
	const char *last_row; /* what is known of it as a whole: rows that its turns need, threads */
	const char *next;     /* the next thread to move: subject, thread_id, run, created_ms */
	const char *find;     /* the same for ?1 to ?3 */
	const char *turns;    /* of ?1 to ?3: at_ms, messages, the row to go on with or NULL */
	const char *mark;     /* so that no number of a row is used again; NULL: rows are numbered */
	const char *copy;     /* moves the rows of ?1 to ?3 up to ?5 as they are; NULL: they are numbered */
	const char *delete;   /* what was moved, of ?1 to ?3 */
	const char *drop;
} layouts[] = {
	{.table = "threads",
         .last_row = "SELECT (SELECT count(*) FROM turns), (SELECT count(*) FROM threads)",
         .next = "SELECT subject, thread_id, run, created_ms FROM threads WHERE id = (SELECT id FROM ("
                 "SELECT * FROM (SELECT id, used_ms FROM threads WHERE run = '' ORDER BY used_ms LIMIT 1)"
                 " UNION ALL"
                 " SELECT * FROM (SELECT id, used_ms FROM threads WHERE run <> '' ORDER BY used_ms LIMIT 1))"
                 " ORDER BY used_ms LIMIT 1)",
         .find = "SELECT subject, thread_id, run, created_ms FROM threads"
                 " WHERE subject = ?1 AND thread_id = ?2 AND run = ?3",
         .turns = "SELECT at_ms, messages FROM turns WHERE thread = (SELECT id FROM threads"
                  " WHERE subject = ?1 AND thread_id = ?2 AND run = ?3) ORDER BY number",
         .delete = "DELETE FROM threads WHERE subject = ?1 AND thread_id = ?2 AND run = ?3",
         .drop = "DROP TABLE turns; DROP TABLE threads"},
	{.table = "log",
         .mark = "INSERT INTO log SELECT max(id) + 1, 0, 0, 0, 0, (SELECT threads FROM log ORDER BY id DESC LIMIT 1), 0, 0,"
                 " '', '', '" MARKER_RUN "', '' FROM log HAVING max(id) IS NOT NULL",
         .last_row = "SELECT id, threads FROM log ORDER BY id DESC LIMIT 1",
         .next = "SELECT subject, thread_id, run, created_ms FROM log WHERE thread > 0 ORDER BY id LIMIT 1",
         .find = "SELECT subject, thread_id, run, created_ms FROM log"
                 " WHERE subject = ?1 AND thread_id = ?2 AND run = ?3 ORDER BY id DESC LIMIT 1",
         .turns = "SELECT at_ms, messages FROM log WHERE subject = ?1 AND thread_id = ?2 AND run = ?3 ORDER BY id",
         .copy = "INSERT INTO history(" COPY_COLUMNS ", key) SELECT " COPY_COLUMNS ", ?4 FROM log"
                 " WHERE subject = ?1 AND thread_id = ?2 AND run = ?3 AND (SELECT max(id) FROM log"
                 " WHERE subject = ?1 AND thread_id = ?2 AND run = ?3) <= ?5 ORDER BY id",
         .delete = "DELETE FROM log WHERE subject = ?1 AND thread_id = ?2 AND run = ?3",
         .drop = "DROP TABLE log"},
};
#define LAYOUTS (sizeof layouts / sizeof layouts[0])

enum step { NEXT, FIND, TURNS, COPY, DELETE, STEPS };

struct conversion {
	const struct layout *layout;
	sqlite3_stmt *steps[STEPS];
	int64_t to, row, copied_to; /* STATE_CONVERTED_TO and so on, in a transaction */
	int64_t bytes;              /* moved in it */
};

static sqlite3_stmt *prepare(struct database *db, const char *sql, struct err *e)
{
	sqlite3_stmt *s = NULL;

	if (sqlite3_prepare_v2(db->sqlite, sql, -1, &s, NULL) != SQLITE_OK)
		database_fail(db, e, DATABASE_NOT_CONVERTED);
	return s;
}

/* 1: it is there, 0: it is not, -1: that cannot be read. */
static int has_table(struct database *db, const struct layout *l)
{
	sqlite3_stmt *s = prepare(db, "SELECT 1 FROM sqlite_schema WHERE name = ?1", NULL);
	int code;

	if (s == NULL)
		return -1;
	database_bind_text(s, 1, l->table);
	code = sqlite3_step(s);
	sqlite3_finalize(s);
	return code == SQLITE_ROW ? 1 : code == SQLITE_DONE ? 0 : -1;
}

/* ---- begin and end ---- */

/* The first row of this layout: it leaves those before it to what is converted. */
int database_begin_conversion(struct database *db, struct err *e)
{
	int64_t rows = STORE_TURNS_MAX, threads = 0, copied = 0;

	for (size_t i = 0; i < LAYOUTS; i++) {
		sqlite3_stmt *s;
		int code;

		if (has_table(db, &layouts[i]) <= 0)
			continue;
		s = prepare(db, layouts[i].last_row, e);
		if (s == NULL)
			return -1;
		code = database_step(db, s, DATABASE_NOT_CONVERTED, e);
		/* Both may be there: the former one was still in use. */
		if (code == SQLITE_ROW) {
			rows += sqlite3_column_int64(s, 0);
			threads += sqlite3_column_int64(s, 1);
			copied = layouts[i].copy != NULL ? sqlite3_column_int64(s, 0) : copied;
		}
		sqlite3_finalize(s);
		if (code < 0)
			return -1;
		if (layouts[i].mark != NULL && sqlite3_exec(db->sqlite, layouts[i].mark, NULL, NULL, NULL) != SQLITE_OK)
			return database_fail(db, e, DATABASE_NOT_CONVERTED);
	}
	db->top_known = true;
	db->top = rows < 0 || rows >= INT64_MAX / 2 ? 0 : rows;
	db->threads = threads < 0 ? 0 : threads;
	if (database_mark(db, 0, e) < 0 || database_set_state(db, STATE_CONVERTED_TO, db->top, e) < 0 ||
	    database_set_state(db, STATE_CONVERTED_ROW, copied, e) < 0 ||
	    database_set_state(db, STATE_COPIED_TO, copied, e) < 0)
		return -1;
	return database_set_state(db, STATE_CONVERTED, clock_wall_ms(), e);
}

static struct conversion *conversion_new(struct database *db, const struct layout *l)
{
	struct conversion *c = calloc(1, sizeof *c);
	const char *const texts[STEPS] = {l->next, l->find, l->turns, l->copy, l->delete};

	if (c == NULL)
		return NULL;
	c->layout = l;
	sqlite3_exec(db->sqlite, "PRAGMA cache_size = -32768", NULL, NULL, NULL); /* it touches two indexes anywhere */
	for (enum step i = 0; i < STEPS; i++)
		c->steps[i] = texts[i] != NULL ? prepare(db, texts[i], NULL) : NULL;
	return c;
}

void database_end_conversion(struct database *db)
{
	struct conversion *c = db->conversion;

	if (c == NULL)
		return;
	for (enum step i = 0; i < STEPS; i++)
		sqlite3_finalize(c->steps[i]);
	free(c);
	db->conversion = NULL;
	sqlite3_exec(db->sqlite, DATABASE_CACHE_SIZE, NULL, NULL, NULL);
}

/* Drops the tables, if they are still empty. */
static void drop(struct database *db, const struct conversion *c)
{
	if (database_begin_writing(db, NULL) < 0)
		return;
	if (sqlite3_step(c->steps[NEXT]) == SQLITE_DONE && sqlite3_reset(c->steps[NEXT]) == SQLITE_OK &&
	    sqlite3_exec(db->sqlite, c->layout->drop, NULL, NULL, NULL) == SQLITE_OK)
		database_commit(db, NULL);
	else
		database_roll_back(db);
}

void database_check_former(struct database *db)
{
	for (size_t i = 0; i < LAYOUTS && db->conversion == NULL; i++) {
		struct conversion *c = has_table(db, &layouts[i]) > 0 ? conversion_new(db, &layouts[i]) : NULL;
		int code;

		if (c == NULL)
			continue;
		db->conversion = c;
		code = c->steps[NEXT] != NULL ? sqlite3_step(c->steps[NEXT]) : SQLITE_ERROR;
		if (c->steps[NEXT] != NULL)
			sqlite3_reset(c->steps[NEXT]);
		if (code != SQLITE_DONE) /* if it cannot be read, moving it says why */
			break;
		if (clock_wall_ms() - database_state(db, STATE_CONVERTED) > EMPTY_MS)
			drop(db, c);
		database_end_conversion(db);
	}
}

bool database_has_former(struct database *db)
{
	int found = 0;

	for (size_t i = 0; i < LAYOUTS && found == 0; i++) {
		found = has_table(db, &layouts[i]);
		if (found > 0) {
			sqlite3_stmt *s = prepare(db, layouts[i].next, NULL);

			found = s == NULL || sqlite3_step(s) != SQLITE_DONE;
			sqlite3_finalize(s);
		}
	}
	return found != 0;
}

bool database_is_converting(const struct database *db)
{
	return db->conversion != NULL;
}

/* ---- moving a thread ---- */

/* Runs it for that thread; a changed row or more: 1, none: 0, -1 with e. */
static int run(struct database *db, sqlite3_stmt *s, const struct thread_key *k, struct err *e)
{
	int code;

	if (s == NULL)
		return err_set(e, "%s: %s: no memory", db->file, DATABASE_NOT_CONVERTED);
	database_bind_key(s, k);
	code = database_step(db, s, DATABASE_NOT_CONVERTED, e);
	database_done(s);
	return code < 0 ? -1 : sqlite3_changes(db->sqlite) > 0;
}

/* Appends the turns to what `history` has of the thread, which range describes. */
static int64_t append_turns(struct database *db, struct conversion *c, const struct thread_key *k, struct range *range,
                            struct err *e)
{
	sqlite3_stmt *s = c->steps[TURNS];
	int64_t moved = 0;
	int code = -1;

	if (s == NULL)
		return err_set(e, "%s: %s: no memory", db->file, DATABASE_NOT_CONVERTED);
	database_bind_key(s, k);
	while ((code = database_step(db, s, DATABASE_NOT_CONVERTED, e)) == SQLITE_ROW) {
		const int64_t at_ms = sqlite3_column_int64(s, 0);
		const char *messages = (const char *)sqlite3_column_text(s, 1);
		const size_t len = (size_t)sqlite3_column_bytes(s, 1);

		if (database_append_to(db, k, range, messages != NULL ? messages : "", len, at_ms, 0, e) < 0)
			break;
		c->bytes += (int64_t)len;
		moved++;
	}
	database_done(s);
	return code == SQLITE_DONE ? moved : -1;
}

/* How many turns were moved; -1 with e. */
static int64_t move_turns(struct database *db, struct conversion *c, const struct thread_key *k, int64_t created_ms,
                          struct err *e)
{
	const int64_t top = db->top, threads = db->threads;
	struct range range;
	int64_t moved;
	bool before;

	if (database_range(db, k, &range, e) < 0)
		return -1;
	database_touch(db, k);
	if (range.last == 0)
		range.created_ms = created_ms;
	if (range.last == 0 && c->steps[COPY] != NULL) {
		sqlite3_bind_int64(c->steps[COPY], 5, c->copied_to);
		if (run(db, c->steps[COPY], k, e) < 0)
			return -1;
		moved = sqlite3_changes64(db->sqlite);
		if (database_range(db, k, &range, NULL) == 0)
			c->bytes += range.bytes;
		if (moved > 0)
			return moved;
	}
	/* Was it used in this layout already, by a program that did not see those turns? */
	before = range.last == 0 && c->steps[COPY] == NULL && c->row + STORE_TURNS_MAX < c->to;
	if (before)
		db->top = c->row;
	moved = append_turns(db, c, k, &range, e);
	if (before) { /* these threads are counted */
		c->row = db->top;
		db->top = top;
		db->threads = threads;
	}
	return moved;
}

/* The thread in the row of s, or none: how many turns were moved, -1 with e. */
static int64_t move_thread(struct database *db, struct conversion *c, sqlite3_stmt *s, struct err *e)
{
	int code = s != NULL ? database_step(db, s, DATABASE_NOT_CONVERTED, e) : -1;
	int64_t moved = -1;

	if (code == SQLITE_ROW) {
		const struct thread_key k = {.subject = (const char *)sqlite3_column_text(s, 0),
		                             .thread_id = (const char *)sqlite3_column_text(s, 1),
		                             .run = (const char *)sqlite3_column_text(s, 2)};

		if (k.subject != NULL && k.thread_id != NULL && k.run != NULL)
			moved = move_turns(db, c, &k, sqlite3_column_int64(s, 3), e);
		if (moved >= 0 && run(db, c->steps[DELETE], &k, e) < 0)
			moved = -1;
	}
	if (s != NULL)
		database_done(s);
	if (code == SQLITE_DONE)
		return 0;
	if (moved < 0)
		err_set(e, "%s: %s: no memory", db->file, DATABASE_NOT_CONVERTED);
	return moved;
}

/* Moves the next threads, or (k) that one. */
static int64_t move_some(struct database *db, const struct thread_key *k, struct err *e)
{
	struct conversion *c = db->conversion;
	int64_t turns = 0, moved = 1;

	if (database_begin_writing(db, e) < 0)
		return -1;
	c->bytes = 0;
	c->to = database_state(db, STATE_CONVERTED_TO);
	c->row = database_state(db, STATE_CONVERTED_ROW);
	c->copied_to = database_state(db, STATE_COPIED_TO);
	if (database_find_top(db, e) < 0)
		goto fail;
	for (int i = 0; i < (k != NULL ? 1 : THREADS_AT_ONCE) && c->bytes < BYTES_AT_ONCE && moved > 0; i++) {
		sqlite3_stmt *s = c->steps[k != NULL ? FIND : NEXT];

		if (k != NULL && s != NULL)
			database_bind_key(s, k);
		moved = move_thread(db, c, s, e);
		turns += moved;
	}
	if (moved < 0 || database_set_state(db, STATE_CONVERTED_ROW, c->row, e) < 0)
		goto fail;
	/* What was moved last may be before what was swept. */
	if (k == NULL && turns == 0 &&
	    (database_set_state(db, STATE_SWEPT_LONG, 0, e) < 0 ||
	     database_set_state(db, STATE_SWEPT_SHORT, 0, e) < 0 || database_set_state(db, STATE_EVICTED, 0, e) < 0))
		goto fail;
	return database_commit(db, e) < 0 ? -1 : turns;
fail:
	database_roll_back(db);
	return -1;
}

int64_t database_convert(struct database *db, struct err *e)
{
	int64_t moved = db->conversion != NULL ? move_some(db, NULL, e) : 0;

	if (moved == 0) {
		database_end_conversion(db);
		database_check_former(db); /* another layout may be there as well */
	}
	return moved;
}

int database_convert_thread(struct database *db, const struct store_key *store_key, struct err *e)
{
	const struct thread_key k = database_thread_key(db, store_key);
	sqlite3_stmt *s = db->conversion != NULL ? db->conversion->steps[FIND] : NULL;
	int code;

	if (db->conversion == NULL)
		return 0;
	if (s == NULL)
		return err_set(e, "%s: %s: no memory", db->file, DATABASE_NOT_CONVERTED);
	/* Without a lock, since most threads are moved already, or new. */
	database_bind_key(s, &k);
	code = database_step(db, s, DATABASE_NOT_CONVERTED, e);
	database_done(s);
	if (code == SQLITE_ROW)
		return move_some(db, &k, e) < 0 ? -1 : 0;
	return code < 0 ? -1 : 0;
}
