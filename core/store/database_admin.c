/* SPDX-License-Identifier: Apache-2.0 */
/* What administrators do with the database. */
#include "core/store/database_internal.h"

#include "core/store/write_behind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DELETED_AT_ONCE 200 /* threads in one transaction, */
#define BYTES_AT_ONCE   (4 << 20)
#define WAL_PAGES       1000
#define AWAIT_MS        1000

struct sqlite_admin {
	struct store_admin base;
	struct database *db; /* NULL: there is no file, so nothing was ever stored */
	struct write_behind *pending;
	char *file;
	bool disk_is_full; /* the reserve was released */
};

/* With all turns that were told. A running service stores them itself, unless its disk is full or the like; then the
 * rest is as it is. */
static struct database *database_of(struct store_admin *base)
{
	const struct store_limits limits = {.max_threads = 0};
	struct sqlite_admin *a = (struct sqlite_admin *)base;
	struct err ignored = ERR_INIT;
	int64_t dropped;

	if (a->db == NULL)
		return NULL;
	if (a->pending == NULL)
		a->pending = write_behind_new(a->file);
	if (a->pending != NULL && database_share_pending(a->db, a->pending, false, &ignored) == 0) {
		database_await_pending(a->db, AWAIT_MS);
		while (database_store_pending(a->db, &limits, &dropped, &ignored) > 0)
			continue;
	}
	return a->db;
}

/* Calls found for each thread; its run is its place. */
static int list_rows(struct database *db, store_thread_fn *found, void *arg, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_LIST, e);
	int code;

	if (s == NULL)
		return -1;
	while ((code = database_step(db, s, "cannot be read", e)) == SQLITE_ROW) {
		const char *run = database_text(s, 2);
		const struct store_thread t = {
			.subject = database_text(s, 0),
			.thread_id = database_text(s, 1),
			.place = run,
			.created_ms = sqlite3_column_int64(s, 3),
			.used_ms = sqlite3_column_int64(s, 4),
			.turns = sqlite3_column_int64(s, 5),
			.bytes = sqlite3_column_int64(s, 6),
			.short_id = run[0] != '\0',
		};

		if (!found(arg, &t))
			break;
	}
	database_done(s);
	return code < 0 ? -1 : 0;
}

static json_t *turns_of(struct database *db, const struct thread_key *k, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_SHOW, e);
	json_t *turns = json_array();
	int code;

	if (s == NULL) {
		json_decref(turns);
		return NULL;
	}
	database_bind_key(s, k);
	while ((code = database_step(db, s, "cannot be read", e)) == SQLITE_ROW)
		json_array_append_new(turns,
		                      json_pack("{s:I, s:o, s:o*}", "number", (json_int_t)sqlite3_column_int64(s, 0),
		                                "at", store_admin_time(sqlite3_column_int64(s, 1)), "messages",
		                                json_loadb(database_text(s, 2), (size_t)sqlite3_column_bytes(s, 2),
		                                           JSON_ALLOW_NUL, NULL)));
	database_done(s);
	if (code == SQLITE_DONE)
		return turns;
	json_decref(turns);
	return NULL;
}

/* The run of the thread of that key, the last used if short ids make several. 1: there is one, 0:
 * there is none, -1 with e. */
static int find_run(struct database *db, const struct store_key *k, char run[64], struct err *e)
{
	const struct thread_key of_no_run = {.subject = k->subject, .thread_id = k->thread_id, .run = ""};
	const int64_t key = database_key(&of_no_run);
	sqlite3_stmt *s = database_statement(db, SQL_FIND, e);
	int code;

	if (s == NULL)
		return -1;
	database_bind_text(s, 1, k->subject);
	database_bind_text(s, 2, k->thread_id);
	sqlite3_bind_int64(s, 3, key & ~(int64_t)KEY_RUN_MASK);
	sqlite3_bind_int64(s, 4, key | KEY_RUN_MASK);
	code = database_step(db, s, "cannot be read", e);
	if (code == SQLITE_ROW)
		snprintf(run, 64, "%s", database_text(s, 0));
	database_done(s);
	return code == SQLITE_ROW ? 1 : code < 0 ? -1 : 0;
}

/* NULL with e, or without it: it is no longer there. */
static json_t *show_thread(struct database *db, const struct thread_key *k, struct err *e)
{
	json_t *thread = NULL, *turns;
	struct range range;

	/* Both are of one moment. */
	if (database_begin_reading(db, e) < 0)
		return NULL;
	if (database_range(db, k, &range, e) < 0)
		err_clear(e); /* damaged: what is there is shown */
	turns = turns_of(db, k, e);
	if (json_array_size(turns) == 0) {
		json_decref(turns);
	} else {
		thread = store_admin_thread(&(struct store_thread){.subject = k->subject,
		                                                   .thread_id = k->thread_id,
		                                                   .created_ms = range.created_ms,
		                                                   .used_ms = range.at_ms},
		                            turns, e);
	}
	database_end_reading(db);
	return thread;
}

/* ---- the operations ---- */

static void admin_close(struct store_admin *base)
{
	struct sqlite_admin *a = (struct sqlite_admin *)base;

	database_close(a->db);
	write_behind_free(a->pending);
	if (a->disk_is_full)
		database_hold_reserve(a->file);
	free(a->file);
	free(a);
}

/* Even the database's shared memory is a file beside it. */
static bool has_no_space(const char *file)
{
	struct statvfs fs;

	return statvfs(file, &fs) == 0 && fs.f_bavail * fs.f_frsize < 1 << 20;
}

/* An administrator sees all of it. */
static struct database *open_converted(const char *file, struct err *e)
{
	struct database *db = database_open(file, "", false, e);
	int64_t moved = 0;

	while (db != NULL && database_is_converting(db) && moved >= 0) {
		moved = database_convert(db, e);
		if (database_wal_pages(db) > WAL_PAGES) /* or the log would grow as large as the database */
			database_checkpoint(db);
	}
	if (moved >= 0)
		return db;
	database_close(db);
	return NULL;
}

static bool open_file(struct sqlite_admin *a, struct err *e)
{
	a->db = open_converted(a->file, e);
	if (a->db == NULL && has_no_space(a->file) && database_release_reserve(a->file)) {
		a->disk_is_full = true;
		err_clear(e);
		a->db = open_converted(a->file, e);
	}
	return a->db != NULL;
}

static struct store_admin *admin_open(const struct store_place *place, struct err *e)
{
	const char *file = place->path;
	struct sqlite_admin *a = calloc(1, sizeof *a);

	if (a == NULL || (a->file = strdup(file)) == NULL)
		err_set(e, "no memory for the database of conversations");
	else if ((access(file, F_OK) < 0 && errno == ENOENT) || open_file(a, e))
		return &a->base;
	if (a != NULL)
		admin_close(&a->base);
	return NULL;
}

static int admin_list(struct store_admin *a, store_thread_fn *found, void *arg, struct err *e)
{
	struct database *db = database_of(a);

	return db != NULL ? list_rows(db, found, arg, e) : 0;
}

static json_t *admin_show(struct store_admin *a, const struct store_key *k, struct err *e)
{
	struct thread_key key = {.subject = k->subject, .thread_id = k->thread_id};
	struct database *db = database_of(a);
	json_t *thread = NULL;
	char run[64];
	int found = db != NULL ? find_run(db, k, run, e) : 0;

	key.run = run;
	if (found > 0)
		thread = show_thread(db, &key, e);
	return thread;
}

/* Deletes the threads of a subject, or all (NULL), from the row after *at on, as many as fit in one
 * transaction, at most max. How many; -1 with e. *at is the last row that was looked at, 0 at the end. */
static int64_t delete_some(struct database *db, const char *subject, int max, int64_t *at, struct err *e)
{
	int64_t deleted = 0, bytes = 0;
	int found = 1;

	while (deleted < max && bytes < BYTES_AT_ONCE && found > 0) {
		sqlite3_stmt *s;
		struct row row;
		struct range range;

		found = database_next_row(db, *at, &row, &s, e);
		if (found > 0 && row.number > 0 && (subject == NULL || strcmp(row.key.subject, subject) == 0)) {
			if (database_range(db, &row.key, &range, e) < 0)
				err_clear(e); /* damaged: all the more a reason to delete it */
			bytes += range.bytes;
			deleted++;
			if (database_delete_thread(db, &row.key, e) < 0)
				found = -1;
		}
		*at = found > 0 ? row.id : 0;
		if (s != NULL)
			database_done(s);
	}
	return found < 0 ? -1 : deleted;
}

/* The same for all threads of one key: short ids may make several. */
static int64_t delete_key(struct database *db, const struct store_key *k, struct err *e)
{
	struct thread_key key = {.subject = k->subject, .thread_id = k->thread_id};
	int64_t deleted = 0;
	char run[64];
	int found;

	while ((found = find_run(db, k, run, e)) > 0) {
		key.run = run;
		if (database_delete_thread(db, &key, e) < 0)
			return -1;
		deleted++;
	}
	return found < 0 ? -1 : deleted;
}

/* One transaction of a deletion; *at as of delete_some, unchanged where it fails. */
static int64_t delete_once(struct sqlite_admin *a, const struct store_key *k, int64_t *at, struct err *e)
{
	struct database *db = a->db;
	int64_t deleted, next = *at;

	if (database_begin_writing(db, e) < 0)
		return -1;
	if (k != NULL && k->thread_id != NULL) {
		deleted = delete_key(db, k, e);
		next = 0;
	} else {
		deleted =
			delete_some(db, k != NULL ? k->subject : NULL, a->disk_is_full ? 1 : DELETED_AT_ONCE, &next, e);
	}
	if (deleted > 0 && database_mark(db, deleted, e) < 0)
		deleted = -1;
	if (deleted < 0)
		database_roll_back(db);
	else if (database_commit(db, e) < 0)
		deleted = -1;
	if (deleted >= 0)
		*at = next;
	return deleted;
}

/* From here on as little as possible is written: deleted text is not overwritten, but its pages
 * leave the file. */
static bool can_go_on_without_space(struct sqlite_admin *a, struct err *e)
{
	if (!a->db->full || a->disk_is_full)
		return false;
	database_release_reserve(a->file);
	a->disk_is_full = true;
	err_clear(e);
	/* What the log holds takes no more room in the database than the log did. */
	sqlite3_wal_checkpoint_v2(a->db->sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	return sqlite3_exec(a->db->sqlite, "PRAGMA secure_delete = FAST", NULL, NULL, NULL) == SQLITE_OK;
}

/* Gives back what a transaction has freed. */
static void shrink(const struct sqlite_admin *a, bool more)
{
	const char *vacuum = a->disk_is_full ? "PRAGMA incremental_vacuum(64)" : "PRAGMA incremental_vacuum";

	sqlite3_exec(a->db->sqlite, vacuum, NULL, NULL, NULL);
	if (a->disk_is_full)
		sqlite3_wal_checkpoint_v2(a->db->sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	else if (more) /* or the log would grow as large as the database */
		database_checkpoint(a->db);
}

static int64_t admin_delete(struct store_admin *base, const struct store_key *k, struct err *e)
{
	struct sqlite_admin *a = (struct sqlite_admin *)base;
	bool again = false;
	int64_t deleted = 0, some = 0, at = 0;

	if (database_of(base) != NULL) {
		do {
			some = delete_once(a, k, &at, e);
			again = some < 0 && can_go_on_without_space(a, e);
			deleted += some > 0 ? some : 0;
			if (some > 0)
				shrink(a, at > 0);
		} while (again || (some >= 0 && at > 0));
	}
	if (deleted > 0 && a->disk_is_full)
		sqlite3_exec(a->db->sqlite, "PRAGMA incremental_vacuum", NULL, NULL, NULL);
	/* Also from the log, unless the service is reading: then the next checkpoint does it. */
	if (deleted > 0)
		sqlite3_wal_checkpoint_v2(a->db->sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	return some < 0 ? -1 : deleted;
}

struct keys {
	json_t *all;
	bool failed;
};

static bool note_key(void *arg, const struct store_thread *t)
{
	struct keys *keys = arg;

	keys->failed = json_array_append_new(keys->all, json_pack("[s, s, s]", t->subject, t->thread_id, t->place)) < 0;
	return !keys->failed;
}

/* A reader that takes its time, as a pager does, must not read in one transaction: the log would
 * grow without end. */
static int admin_export(struct store_admin *a, store_export_fn *each, void *arg, struct err *e)
{
	struct database *db = database_of(a);
	struct keys keys = {.all = json_array()};
	json_t *key, *thread;
	bool more = true;
	size_t i;

	if (db != NULL && list_rows(db, note_key, &keys, e) == 0) {
		if (keys.failed)
			err_set(e, "a thread cannot be exported: no memory, or its id is not UTF-8");
		json_array_foreach(keys.all, i, key)
		{
			const struct thread_key k = {.subject = json_string_value(json_array_get(key, 0)),
			                             .thread_id = json_string_value(json_array_get(key, 1)),
			                             .run = json_string_value(json_array_get(key, 2))};

			thread = show_thread(db, &k, e);
			more = thread != NULL ? each(arg, thread) : !err_is_set(e);
			json_decref(thread);
			if (!more)
				break;
		}
	}
	json_decref(keys.all);
	return err_is_set(e) ? -1 : 0;
}

static int64_t file_size(const char *file, const char *suffix)
{
	char path[1100];
	struct stat st;

	snprintf(path, sizeof path, "%s%s", file, suffix);
	return stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
}

static int admin_size(struct store_admin *base, struct store_size *size, struct err *e)
{
	const struct sqlite_admin *a = (struct sqlite_admin *)base;
	sqlite3_stmt *s;
	int code;

	*size = (struct store_size){.disk_bytes = file_size(a->file, "") + file_size(a->file, "-wal")};
	if (database_of(base) == NULL)
		return 0;
	s = database_statement(a->db, SQL_SIZE, e);
	if (s == NULL)
		return -1;
	code = database_step(a->db, s, "cannot be read", e);
	if (code == SQLITE_ROW) {
		size->threads = sqlite3_column_int64(s, 0);
		size->turns = sqlite3_column_int64(s, 1);
		size->bytes = sqlite3_column_int64(s, 2);
		size->oldest_ms = sqlite3_column_int64(s, 3);
	}
	database_done(s);
	size->evicted_threads = database_state(a->db, STATE_EVICTED_THREADS);
	size->evicted_turns = database_state(a->db, STATE_EVICTED_TURNS);
	size->evicted_bytes = database_state(a->db, STATE_EVICTED_BYTES);
	size->evicted_ms = database_state(a->db, STATE_EVICTED_AT);
	return code < 0 ? -1 : 0;
}

static int admin_append(struct store_admin *base, const struct store_key *k, const json_t *messages, int64_t number,
                        int64_t at_ms, struct err *e)
{
	const struct store_limits limits = {.expire_ms = 0};
	struct sqlite_admin *a = (struct sqlite_admin *)base;
	char *text = json_dumps(messages, JSON_COMPACT);
	int failed = text != NULL ? 0 : err_set(e, "no memory for a turn, or it is not UTF-8");

	(void)number; /* turns are numbered here */
	if (failed == 0 && a->db == NULL)
		a->db = database_open(a->file, "", true, e);
	if (failed == 0)
		failed = a->db != NULL ? database_begin_writing(a->db, e) : -1;
	if (failed == 0) {
		failed = database_append(a->db, k, text, strlen(text), at_ms, &limits, e);
		if (failed < 0)
			database_roll_back(a->db);
		else
			failed = database_commit(a->db, e);
	}
	free(text);
	return failed;
}

const struct store_admin_ops database_admin_ops = {
	.open = admin_open,
	.close = admin_close,
	.list = admin_list,
	.show = admin_show,
	.append = admin_append,
	.delete = admin_delete,
	.export = admin_export,
	.size = admin_size,
};
