/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/redis_spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES          1024       /* more than there are processes */
#define APPLICATION_ID 1953781107 /* "ttUs" */
#define SCHEMA_VERSION 1
#define OVERHEAD       256 /* what one takes besides its text */
#define MOVED_AT_ONCE  64
#define MOVED_BYTES    (1u << 20)

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

/* Nothing of it changes a file, which may be another program's. */
static const char settings[] =
	"PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -256;"
	"PRAGMA secure_delete = ON; PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;"
	"PRAGMA journal_size_limit = 0; SELECT count(*) FROM sqlite_schema";
static const char settings_of_own[] = "PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; COMMIT";

static const char schema[] =
	"BEGIN;"
	"CREATE TABLE unsaved("
	" row INTEGER PRIMARY KEY, subject TEXT NOT NULL, thread_id TEXT NOT NULL, run TEXT NOT NULL, id TEXT NOT NULL,"
	" answer TEXT NOT NULL, at_ms INTEGER NOT NULL, messages TEXT NOT NULL) STRICT;"
	"CREATE INDEX unsaved_thread ON unsaved(thread_id, subject);"
	"PRAGMA application_id = " TEXT(APPLICATION_ID) "; PRAGMA user_version = " TEXT(SCHEMA_VERSION) ";"
	"COMMIT";

#define BYTES     "length(CAST(messages AS BLOB)) + " TEXT(OVERHEAD)
#define TURN      "row, subject, thread_id, run, id, answer, at_ms, messages"
#define OF_THREAD "thread_id = ?2 AND subject = ?1 AND run IN ('', ?3)"

enum statement { BEGIN, COMMIT, ROLLBACK, PUT, OLDEST, THREAD, REMOVE, DELETE, DROP, OTHER_RUNS, SIZE, STATEMENTS };

static const char *const texts[STATEMENTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[PUT] = "INSERT INTO unsaved(subject, thread_id, run, id, answer, at_ms, messages) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[OLDEST] = "SELECT " TURN " FROM unsaved WHERE row > ?1 ORDER BY row LIMIT ?2",
	[THREAD] = "SELECT " TURN " FROM unsaved WHERE " OF_THREAD " ORDER BY row",
	[REMOVE] = "DELETE FROM unsaved WHERE row = ?1 RETURNING " BYTES,
	[DELETE] = "DELETE FROM unsaved WHERE " OF_THREAD " AND (?4 IS NULL OR answer = ?4) RETURNING " BYTES,
	[DROP] =
		"DELETE FROM unsaved WHERE row = (SELECT min(row) FROM unsaved WHERE row NOT BETWEEN ?1 AND ?2) RETURNING " BYTES,
	[OTHER_RUNS] = "DELETE FROM unsaved WHERE run NOT IN ('', ?1)",
	[SIZE] = "SELECT count(*), coalesce(sum(" BYTES "), 0) FROM unsaved",
};

struct file {
	int number;
	char *name;
	sqlite3 *sqlite;
	sqlite3_stmt *statements[STATEMENTS];
	struct spool_size size;
};

struct spool {
	char *directory, *run;
	struct file *own; /* NULL: nothing waits */
};

/* ---- statements ---- */

static int fail(const struct file *f, struct err *e, const char *what)
{
	return err_set(e, "%s: %s: %s", f->name, what, sqlite3_errmsg(f->sqlite));
}

static sqlite3_stmt *statement(struct file *f, enum statement s, struct err *e)
{
	if (f->statements[s] == NULL && sqlite3_prepare_v3(f->sqlite, texts[s], -1, SQLITE_PREPARE_PERSISTENT,
	                                                   &f->statements[s], NULL) != SQLITE_OK)
		fail(f, e, "cannot be read");
	return f->statements[s];
}

static void end(sqlite3_stmt *s)
{
	sqlite3_reset(s);
	sqlite3_clear_bindings(s);
}

static void bind_text(sqlite3_stmt *s, int at, const char *text)
{
	/* Fails only without memory, and then so does the step. */
	sqlite3_bind_text(s, at, text, -1, SQLITE_STATIC);
}

/* One that gives no rows. */
static int run(struct file *f, enum statement which, struct err *e)
{
	sqlite3_stmt *s = statement(f, which, e);
	int code;

	if (s == NULL)
		return -1;
	code = sqlite3_step(s);
	end(s);
	return code == SQLITE_DONE ? 0 : fail(f, e, "cannot be written");
}

static const char *text_of(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);

	return text != NULL ? text : "";
}

/* One that deletes and returns the bytes of each: how many, and of size. */
static int64_t run_deletion(struct file *f, sqlite3_stmt *s, struct spool_size *size, struct err *e)
{
	int64_t count = 0;
	int code;

	while ((code = sqlite3_step(s)) == SQLITE_ROW) {
		count++;
		size->bytes -= sqlite3_column_int64(s, 0);
	}
	size->turns -= count;
	end(s);
	return code == SQLITE_DONE ? count : fail(f, e, "cannot be written");
}

/* Each turn that it finds, until there are enough of them. */
static int run_reading(struct file *f, sqlite3_stmt *s, size_t bytes, spool_turn_fn *found, void *arg, struct err *e)
{
	size_t total = 0;
	int code;

	while ((code = sqlite3_step(s)) == SQLITE_ROW) {
		const struct spool_turn t = {.row = sqlite3_column_int64(s, 0),
		                             .subject = text_of(s, 1),
		                             .thread_id = text_of(s, 2),
		                             .run = text_of(s, 3),
		                             .id = text_of(s, 4),
		                             .answer = text_of(s, 5),
		                             .at_ms = sqlite3_column_int64(s, 6),
		                             .messages = text_of(s, 7),
		                             .len = (size_t)sqlite3_column_bytes(s, 7)};

		if (total > 0 && total + t.len > bytes) {
			code = SQLITE_DONE;
			break;
		}
		total += t.len + OVERHEAD;
		found(arg, &t);
	}
	end(s);
	return code == SQLITE_DONE ? 0 : fail(f, e, "cannot be read");
}

/* ---- files ---- */

static void file_close(struct file *f)
{
	if (f == NULL)
		return;
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(f->statements[i]);
	sqlite3_close(f->sqlite);
	free(f->name);
	free(f);
}

static int read_number(const struct file *f, const char *sql, int *number)
{
	sqlite3_stmt *s = NULL;
	int code = sqlite3_prepare_v2(f->sqlite, sql, -1, &s, NULL);

	if (code == SQLITE_OK && (code = sqlite3_step(s)) == SQLITE_ROW) {
		*number = sqlite3_column_int(s, 0);
		code = SQLITE_OK;
	}
	sqlite3_finalize(s);
	return code == SQLITE_OK ? 0 : -1;
}

static int count(struct file *f, struct err *e)
{
	sqlite3_stmt *s = statement(f, SIZE, e);

	if (s == NULL)
		return -1;
	if (sqlite3_step(s) != SQLITE_ROW) {
		end(s);
		return fail(f, e, "cannot be read");
	}
	f->size = (struct spool_size){sqlite3_column_int64(s, 0), sqlite3_column_int64(s, 1)};
	end(s);
	return 0;
}

static int drop_other_runs(struct file *f, const char *own_run, struct err *e)
{
	sqlite3_stmt *s = statement(f, OTHER_RUNS, e);
	int code;

	if (s == NULL)
		return -1;
	bind_text(s, 1, own_run);
	code = sqlite3_step(s);
	end(s);
	return code == SQLITE_DONE ? 0 : fail(f, e, "cannot be written");
}

/* Whether it is ours, or empty. */
static int check(struct file *f, bool *is_new, struct err *e)
{
	int application = 0, version = 0, tables = 0;

	if (read_number(f, "PRAGMA application_id", &application) < 0 ||
	    read_number(f, "PRAGMA user_version", &version) < 0 ||
	    read_number(f, "SELECT count(*) FROM sqlite_schema", &tables) < 0)
		return fail(f, e, "cannot be read");
	*is_new = application == 0 && version == 0 && tables == 0;
	if (!*is_new && (application != APPLICATION_ID || version != SCHEMA_VERSION))
		return err_set(e, "%s: made by another program, or a newer version", f->name);
	return 0;
}

static int prepare(struct file *f, bool is_new, const char *own_run, struct err *e)
{
	if (is_new && sqlite3_exec(f->sqlite, schema, NULL, NULL, NULL) != SQLITE_OK)
		return fail(f, e, "cannot be made");
	return drop_other_runs(f, own_run, e) < 0 ? -1 : count(f, e);
}

/* With its lock. NULL with *held: another process has that; NULL without e: it is not there, and is not to be made. */
static struct file *file_open(const struct spool *s, int number, bool make, bool *held, struct err *e)
{
	struct file *f = calloc(1, sizeof *f);
	bool is_new;
	int fd, code;

	*held = false;
	if (f != NULL)
		f->number = number;
	if (f == NULL || asprintf(&f->name, "%s/unsaved-%d.db", s->directory, number) < 0) {
		err_set(e, "no memory for what waits for Redis");
		free(f);
		return NULL;
	}
	if (!make && access(f->name, F_OK) < 0)
		goto fail;
	/* An existing one is not opened here: closing it would release the locks that this process may have. */
	fd = open(f->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno != EEXIST) {
		err_set_errno(e, errno, "%s: cannot be made", f->name);
		goto fail;
	}
	if (fd >= 0)
		close(fd);
	code = sqlite3_open_v2(f->name, &f->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (code == SQLITE_OK)
		code = sqlite3_exec(f->sqlite, settings, NULL, NULL, NULL);
	if (code == SQLITE_OK && check(f, &is_new, e) < 0)
		goto fail;
	if (code == SQLITE_OK)
		code = sqlite3_exec(f->sqlite, settings_of_own, NULL, NULL, NULL);
	*held = code == SQLITE_BUSY || code == SQLITE_LOCKED;
	if (code == SQLITE_OK && prepare(f, is_new, s->run, e) == 0)
		return f;
	if (code != SQLITE_OK && !*held)
		fail(f, e, "cannot be opened");
fail:
	file_close(f);
	return NULL;
}

/* The first file that nobody else has. One that cannot be used keeps none from being found after it. */
static int open_own(struct spool *s, struct err *e)
{
	struct err first = ERR_INIT;
	bool held;

	for (int i = 0; i < FILES && s->own == NULL; i++) {
		struct err why = ERR_INIT;

		s->own = file_open(s, i, true, &held, &why);
		if (s->own == NULL && !held && first.text[0] == '\0')
			first = why;
		if (s->own == NULL && !held && access(s->directory, W_OK | X_OK) < 0)
			break;
	}
	if (s->own != NULL)
		return 0;
	*e = first;
	return first.text[0] != '\0' ? -1 : err_set(e, "%s: too many files of other processes", s->directory);
}

/* The rest of an empty file is given back to the disk. */
static void close_if_empty(struct spool *s)
{
	if (s->own == NULL || s->own->size.turns > 0)
		return;
	sqlite3_exec(s->own->sqlite, "VACUUM", NULL, NULL, NULL);
	file_close(s->own);
	s->own = NULL;
}

/* ---- turns ---- */

static int put(struct file *f, const struct spool_turn *t, struct spool_size *size, struct err *e)
{
	sqlite3_stmt *s = statement(f, PUT, e);
	int code;

	if (s == NULL)
		return -1;
	bind_text(s, 1, t->subject);
	bind_text(s, 2, t->thread_id);
	bind_text(s, 3, t->run);
	bind_text(s, 4, t->id);
	bind_text(s, 5, t->answer);
	sqlite3_bind_int64(s, 6, t->at_ms);
	sqlite3_bind_text64(s, 7, t->messages, t->len, SQLITE_STATIC, SQLITE_UTF8);
	code = sqlite3_step(s);
	end(s);
	if (code != SQLITE_DONE)
		return fail(f, e, "cannot be written");
	size->turns++;
	size->bytes += (int64_t)t->len + OVERHEAD;
	return 0;
}

/* -1: nothing of it was written. */
static int end_writing(struct file *f, bool complete, const struct spool_size *size, struct err *e)
{
	struct err ignored = ERR_INIT;

	if (complete && run(f, COMMIT, e) == 0) {
		f->size = *size;
		return 0;
	}
	if (!sqlite3_get_autocommit(f->sqlite))
		run(f, ROLLBACK, &ignored);
	return -1;
}

static int put_all(struct file *f, const struct spool_turn *turns, size_t n, struct err *e)
{
	struct spool_size size = f->size;
	size_t done = 0;

	if (run(f, BEGIN, e) < 0)
		return -1;
	while (done < n && put(f, &turns[done], &size, e) == 0)
		done++;
	return end_writing(f, done == n, &size, e);
}

static int remove_all(struct file *f, const int64_t *rows, size_t n, struct err *e)
{
	struct spool_size size = f->size;
	sqlite3_stmt *s = statement(f, REMOVE, e);
	size_t done = 0;
	int64_t removed = 0;

	if (s == NULL || run(f, BEGIN, e) < 0)
		return -1;
	for (; done < n && removed >= 0; done++) {
		sqlite3_bind_int64(s, 1, rows[done]);
		removed = run_deletion(f, s, &size, e);
	}
	return end_writing(f, removed >= 0, &size, e);
}

static int read_oldest(struct file *f, int64_t after, size_t n, size_t bytes, spool_turn_fn *found, void *arg,
                       struct err *e)
{
	sqlite3_stmt *s = statement(f, OLDEST, e);

	if (s == NULL)
		return -1;
	sqlite3_bind_int64(s, 1, after);
	sqlite3_bind_int64(s, 2, (int64_t)n);
	return run_reading(f, s, bytes, found, arg, e);
}

/* ---- what others left ---- */

struct move {
	struct file *to;
	int64_t rows[MOVED_AT_ONCE];
	size_t count;
	int result;
	struct err *e;
};

static void move_turn(void *arg, const struct spool_turn *t)
{
	struct move *m = arg;

	if (m->result == 0)
		m->result = put_all(m->to, t, 1, m->e);
	if (m->result == 0)
		m->rows[m->count++] = t->row;
}

/* If it ends in between, a turn is in both: Redis stores it once. */
static int move_all(struct file *from, struct file *to, struct err *e)
{
	while (from->size.turns > 0) {
		struct move m = {.to = to, .e = e};

		if (read_oldest(from, 0, MOVED_AT_ONCE, MOVED_BYTES, move_turn, &m, e) < 0 || m.result < 0 ||
		    remove_all(from, m.rows, m.count, e) < 0)
			return -1;
		if (m.count == 0)
			return count(from, e);
	}
	return 0;
}

/* The number of the next file there; -1: there is no more. */
static int next_number(DIR *d)
{
	const struct dirent *entry;
	int number, end;

	while (d != NULL && (entry = readdir(d)) != NULL) {
		end = 0;
		if (sscanf(entry->d_name, "unsaved-%d.db%n", &number, &end) == 1 && end > 0 &&
		    entry->d_name[end] == '\0' && number >= 0)
			return number;
	}
	return -1;
}

/* Its turns become those of the own file, or it becomes that. */
static int take_file(struct spool *s, int number, bool *held, struct err *e)
{
	struct err why = ERR_INIT;
	struct file *f = file_open(s, number, false, held, &why);
	int result = 0;

	if (f != NULL && s->own == NULL && f->size.turns > 0) {
		s->own = f;
		return 0;
	}
	if (why.text[0] != '\0' || (f != NULL && move_all(f, s->own, &why) < 0)) {
		*e = why;
		result = -1;
	}
	file_close(f);
	return result;
}

int spool_take_over(struct spool *s, bool *held, struct err *e)
{
	DIR *d = opendir(s->directory);
	int number, result = 0;

	*held = false;
	while ((number = next_number(d)) >= 0) {
		bool is_held = false;

		if ((s->own == NULL || s->own->number != number) && take_file(s, number, &is_held, e) < 0)
			result = -1;
		*held = *held || is_held;
	}
	if (d != NULL)
		closedir(d);
	return result;
}

/* ---- the interface ---- */

int spool_put(struct spool *s, const struct spool_turn *turns, size_t n, struct err *e)
{
	if (s->own == NULL && open_own(s, e) < 0)
		return -1;
	return put_all(s->own, turns, n, e);
}

int spool_read(struct spool *s, int64_t after, size_t n, size_t bytes, spool_turn_fn *found, void *arg, struct err *e)
{
	return s->own != NULL ? read_oldest(s->own, after, n, bytes, found, arg, e) : 0;
}

static sqlite3_stmt *of_thread(struct spool *s, enum statement which, const struct store_key *k, struct err *e)
{
	sqlite3_stmt *found = statement(s->own, which, e);

	if (found == NULL)
		return NULL;
	bind_text(found, 1, k->subject);
	bind_text(found, 2, k->thread_id);
	bind_text(found, 3, s->run);
	return found;
}

int spool_read_thread(struct spool *s, const struct store_key *k, spool_turn_fn *found, void *arg, struct err *e)
{
	sqlite3_stmt *statement = s->own != NULL ? of_thread(s, THREAD, k, e) : NULL;

	if (statement == NULL)
		return s->own != NULL ? -1 : 0;
	return run_reading(s->own, statement, SIZE_MAX, found, arg, e);
}

int spool_remove(struct spool *s, const int64_t *rows, size_t n, struct err *e)
{
	if (s->own == NULL || n == 0)
		return 0;
	if (remove_all(s->own, rows, n, e) < 0)
		return -1;
	close_if_empty(s);
	return 0;
}

int64_t spool_delete(struct spool *s, const struct store_key *k, const char *response, struct err *e)
{
	sqlite3_stmt *statement = s->own != NULL ? of_thread(s, DELETE, k, e) : NULL;
	struct spool_size size;
	int64_t deleted;

	if (statement == NULL)
		return s->own != NULL ? -1 : 0;
	size = s->own->size;
	if (response != NULL)
		bind_text(statement, 4, response);
	deleted = run_deletion(s->own, statement, &size, e);
	if (deleted >= 0)
		s->own->size = size;
	close_if_empty(s);
	return deleted;
}

int64_t spool_drop_surplus(struct spool *s, int64_t first, int64_t last, int64_t max_bytes, struct err *e)
{
	int64_t dropped = 0, n = 1;
	struct file *f = s->own;

	while (f != NULL && f->size.bytes > max_bytes && n > 0) {
		sqlite3_stmt *statement_of = statement(f, DROP, e);

		if (statement_of == NULL)
			return -1;
		sqlite3_bind_int64(statement_of, 1, first);
		sqlite3_bind_int64(statement_of, 2, last);
		n = run_deletion(f, statement_of, &f->size, e);
		if (n < 0)
			return -1;
		dropped += n;
	}
	close_if_empty(s);
	return dropped;
}

struct spool_size spool_size(const struct spool *s)
{
	return s->own != NULL ? s->own->size : (struct spool_size){0};
}

bool spool_exists(const struct spool *s)
{
	DIR *d = opendir(s->directory);
	const bool exists = next_number(d) >= 0;

	if (d != NULL)
		closedir(d);
	return exists;
}

struct spool *spool_new(const char *directory, const char *run_name)
{
	struct spool *s = calloc(1, sizeof *s);

	if (s != NULL && (s->directory = strdup(directory)) != NULL && (s->run = strdup(run_name)) != NULL)
		return s;
	spool_free(s);
	return NULL;
}

void spool_free(struct spool *s)
{
	if (s == NULL)
		return;
	file_close(s->own);
	free(s->directory);
	free(s->run);
	free(s);
}
