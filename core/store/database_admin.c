/* SPDX-License-Identifier: Apache-2.0 */
/* What an administrator asks of the database. */
#include "core/store/database_internal.h"

#include <stdio.h>
#include <time.h>

static const char *text_of(sqlite3_stmt *s, int column)
{
	const char *text = (const char *)sqlite3_column_text(s, column);

	return text != NULL ? text : "";
}

int database_list(struct database *db, database_thread_fn *found, void *arg, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_LIST, e);
	int code;

	if (s == NULL)
		return -1;
	while ((code = database_step(db, s, "cannot be read", e)) == SQLITE_ROW) {
		const struct database_thread t = {
			.id = sqlite3_column_int64(s, 0),
			.subject = text_of(s, 1),
			.thread_id = text_of(s, 2),
			.created_ms = sqlite3_column_int64(s, 3),
			.used_ms = sqlite3_column_int64(s, 4),
			.turns = sqlite3_column_int64(s, 5),
			.bytes = sqlite3_column_int64(s, 6),
			.short_id = sqlite3_column_int(s, 7) != 0,
		};

		if (!found(arg, &t))
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

int64_t database_find(struct database *db, const struct store_key *k, struct err *e)
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
	else if (code == SQLITE_DONE && k->subject[0] == '\0')
		err_set(e, "there is no thread %s", k->thread_id);
	else if (code == SQLITE_DONE)
		err_set(e, "there is no thread %s of %s", k->thread_id, k->subject);
	database_done(s);
	return id;
}

json_t *database_show(struct database *db, int64_t id, struct err *e)
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
		err_set(e, "the thread cannot be shown: it is gone, or memory is out");
		return NULL;
	}
	return head;
}

int64_t database_delete(struct database *db, const struct store_key *k, struct err *e)
{
	sqlite3_stmt *s = database_statement(db, SQL_DELETE, e);
	int64_t gone = -1;

	if (s == NULL)
		return -1;
	if (k != NULL)
		database_bind_text(s, 1, k->subject);
	if (k != NULL && k->thread_id != NULL)
		database_bind_text(s, 2, k->thread_id);
	if (database_step(db, s, "cannot be written", e) == SQLITE_DONE)
		gone = sqlite3_changes64(db->sqlite);
	database_done(s);
	if (gone > 0) {
		sqlite3_exec(db->sqlite, "PRAGMA incremental_vacuum", NULL, NULL, NULL);
		/* Also out of the log, unless the service is just reading: then the next checkpoint does it. */
		sqlite3_wal_checkpoint_v2(db->sqlite, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	}
	return gone;
}
