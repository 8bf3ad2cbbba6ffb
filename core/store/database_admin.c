/* SPDX-License-Identifier: Apache-2.0 */
/* What administrators do with the database. */
#include "core/store/database_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct sqlite_admin {
	struct store_admin base;
	struct database *db; /* NULL: there is no file, so nothing was ever stored */
	char *file;
};

static struct database *database_of(struct store_admin *a)
{
	return ((struct sqlite_admin *)a)->db;
}

static const char *text_of(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);

	return text != NULL ? text : "";
}

/* Calls found for each thread with its row's id. */
typedef bool row_fn(void *arg, int64_t id, const struct store_thread *t);

static int list_rows(struct database *db, row_fn *found, void *arg, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_LIST, e);
	int code;

	if (s == NULL)
		return -1;
	while ((code = database_step(db, s, "cannot be read", e)) == SQLITE_ROW) {
		const struct store_thread t = {
			.subject = text_of(s, 1),
			.thread_id = text_of(s, 2),
			.created_ms = sqlite3_column_int64(s, 3),
			.used_ms = sqlite3_column_int64(s, 4),
			.turns = sqlite3_column_int64(s, 5),
			.bytes = sqlite3_column_int64(s, 6),
			.short_id = sqlite3_column_int(s, 7) != 0,
		};

		if (!found(arg, sqlite3_column_int64(s, 0), &t))
			break;
	}
	database_done(s);
	return code < 0 ? -1 : 0;
}

/* As in 2026-11-23T14:05:06Z. */
static json_t *time_of(int64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return json_null();
	return json_string(text);
}

static json_t *turns_of(struct database *db, int64_t thread, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_SHOW, e);
	json_t *turns = json_array();
	int code;

	if (s == NULL) {
		json_decref(turns);
		return NULL;
	}
	sqlite3_bind_int64(s, 1, thread);
	while ((code = database_step(db, s, "cannot be read", e)) == SQLITE_ROW)
		json_array_append_new(
			turns,
			json_pack("{s:I, s:o, s:o*}", "number", (json_int_t)sqlite3_column_int64(s, 0), "at",
		                  time_of(sqlite3_column_int64(s, 1)), "messages",
		                  json_loadb(text_of(s, 2), (size_t)sqlite3_column_bytes(s, 2), JSON_ALLOW_NUL, NULL)));
	database_done(s);
	if (code == SQLITE_DONE)
		return turns;
	json_decref(turns);
	return NULL;
}

static int no_thread(const struct store_key *k, struct err *e)
{
	if (k->subject[0] == '\0')
		return err_set(e, "there is no thread %s", k->thread_id);
	return err_set(e, "there is no thread %s of %s", k->thread_id, k->subject);
}

/* The row of the thread, the last used of that key; -1 with e where there is none. */
static int64_t find_row(struct database *db, const struct store_key *k, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_FIND, e);
	int64_t id = -1;
	int code;

	if (s == NULL)
		return -1;
	database_bind_text(s, 1, k->subject);
	database_bind_text(s, 2, k->thread_id);
	code = database_step(db, s, "cannot be read", e);
	if (code == SQLITE_ROW)
		id = sqlite3_column_int64(s, 0);
	else if (code == SQLITE_DONE)
		no_thread(k, e);
	database_done(s);
	return id;
}

static json_t *show_row(struct database *db, int64_t id, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_HEAD, e);
	json_t *head = NULL, *turns;
	int code;

	if (s == NULL)
		return NULL;
	sqlite3_bind_int64(s, 1, id);
	code = database_step(db, s, "cannot be read", e);
	if (code == SQLITE_ROW)
		head = json_pack("{s:s, s:s, s:o, s:o}", "subject", text_of(s, 0), "thread_id", text_of(s, 1),
		                 "created", time_of(sqlite3_column_int64(s, 2)), "used",
		                 time_of(sqlite3_column_int64(s, 3)));
	database_done(s);
	turns = head != NULL ? turns_of(db, id, e) : NULL;
	if (turns == NULL || json_object_set_new(head, "turns", turns) < 0) {
		json_decref(head);
		err_set(e, "the thread cannot be shown: it was deleted meanwhile, or there is no memory");
		return NULL;
	}
	return head;
}

/* ---- the operations ---- */

static void admin_close(struct store_admin *base)
{
	struct sqlite_admin *a = (struct sqlite_admin *)base;

	database_close(a->db);
	free(a->file);
	free(a);
}

static struct store_admin *admin_open(const char *file, struct err *e)
{
	struct sqlite_admin *a = calloc(1, sizeof *a);

	if (a == NULL || (a->file = strdup(file)) == NULL)
		err_set(e, "no memory for the database of conversations");
	else if (access(file, F_OK) < 0 && errno == ENOENT)
		return &a->base;
	else if ((a->db = database_open(file, "", false, e)) != NULL)
		return &a->base;
	if (a != NULL)
		admin_close(&a->base);
	return NULL;
}

struct listing {
	store_thread_fn *found;
	void *arg;
};

static bool list_one(void *arg, int64_t id, const struct store_thread *t)
{
	const struct listing *l = arg;

	(void)id;
	return l->found(l->arg, t);
}

static int admin_list(struct store_admin *a, store_thread_fn *found, void *arg, struct err *e)
{
	struct database *db = database_of(a);
	struct listing l = {.found = found, .arg = arg};

	return db != NULL ? list_rows(db, list_one, &l, e) : 0;
}

static json_t *admin_show(struct store_admin *a, const struct store_key *k, struct err *e)
{
	struct database *db = database_of(a);
	int64_t id = -1;

	if (db == NULL)
		no_thread(k, e);
	else
		id = find_row(db, k, e);
	return id >= 0 ? show_row(db, id, e) : NULL;
}

static int64_t admin_delete(struct store_admin *a, const struct store_key *k, struct err *e)
{
	struct database *db = database_of(a);
	bool one = k != NULL && k->thread_id != NULL;
	sqlite3_stmt *s;
	int64_t deleted = -1;

	if (db == NULL)
		return one ? no_thread(k, e) : 0;
	/* A single thread that does not exist is most likely a typing error. */
	if (one && find_row(db, k, e) < 0)
		return -1;
	s = database_statement(db, SQL_DELETE, e);
	if (s == NULL)
		return -1;
	if (k != NULL)
		database_bind_text(s, 1, k->subject);
	if (one)
		database_bind_text(s, 2, k->thread_id);
	if (database_step(db, s, "cannot be written", e) == SQLITE_DONE)
		deleted = sqlite3_changes64(db->sqlite);
	database_done(s);
	if (deleted > 0) {
		sqlite3_exec(db->sqlite, "PRAGMA incremental_vacuum", NULL, NULL, NULL);
		/* Also from the log, unless the service is reading: then the next checkpoint does it. */
		sqlite3_wal_checkpoint_v2(db->sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	}
	return deleted;
}

struct exporting {
	struct database *db;
	store_export_fn *each;
	void *arg;
	struct err *e;
	bool failed;
};

/* Called within the listing: both read the same state of the database. */
static bool export_one(void *arg, int64_t id, const struct store_thread *t)
{
	struct exporting *x = arg;
	json_t *thread = show_row(x->db, id, x->e);
	bool more = thread != NULL && x->each(x->arg, thread);

	(void)t;
	x->failed = thread == NULL;
	json_decref(thread);
	return more;
}

static int admin_export(struct store_admin *a, store_export_fn *each, void *arg, struct err *e)
{
	struct exporting x = {.db = database_of(a), .each = each, .arg = arg, .e = e};

	if (x.db == NULL)
		return 0;
	return list_rows(x.db, export_one, &x, e) < 0 || x.failed ? -1 : 0;
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
	if (a->db == NULL)
		return 0;
	s = database_statement(a->db, SQL_SIZE, e);
	if (s == NULL)
		return -1;
	code = database_step(a->db, s, "cannot be read", e);
	if (code == SQLITE_ROW) {
		size->threads = sqlite3_column_int64(s, 0);
		size->turns = sqlite3_column_int64(s, 1);
		size->bytes = sqlite3_column_int64(s, 2);
	}
	database_done(s);
	return code < 0 ? -1 : 0;
}

const struct store_admin_ops database_admin_ops = {
	.open = admin_open,
	.close = admin_close,
	.list = admin_list,
	.show = admin_show,
	.delete = admin_delete,
	.export = admin_export,
	.size = admin_size,
};
