/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access/usage_log.h"

#include "core/access/shared_usage.h"
#include "core/base/background.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITE_MS     200   /* rows are collected for so long */
#define RETRY_MS     2000  /* after they could not be written */
#define ROWS_MAX     50000 /* that wait; the oldest are dropped beyond */
#define BUSY_MS      2000
#define PRUNE_MS     60000
#define PRUNE_ROWS   10000 /* at once */
#define QUERY_MS     5000  /* of a sum for an endpoint: rows are written on the same thread */
#define QUERY_STEPS  10000 /* of SQLite, between two looks at the clock */
#define FILE_DEFAULT "usage.db"

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS usage("
	" id INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, took_ms INTEGER NOT NULL, key_id TEXT NOT NULL,"
	" subject TEXT NOT NULL, model TEXT NOT NULL, outcome TEXT NOT NULL, prompt_tokens INTEGER,"
	" completion_tokens INTEGER NOT NULL) STRICT;";

struct row {
	struct row *next;
	int64_t at_ms, took_ms, prompt_tokens, completion_tokens;
	char texts[]; /* key_id, subject, model, outcome, each with its NUL */
};

struct rows {
	struct row *first, **end;
	size_t count;
};

/* One writing, on the thread. */
struct writing {
	struct usage_log *log;
	struct rows rows;
	char *file;
	int64_t retain_ms, max_rows;
	bool prune;
	struct err e;
};

struct usage_log {
	struct background *background; /* of its own: a slow disk must hold up nothing else */
	struct background_job *job;
	struct event *timer;
	struct rows rows;
	char *file; /* NULL: nothing is stored */
	int64_t retain_ms, max_rows;
	int64_t pruned_ms;
	unsigned queries; /* that wait or run */
	/* The thread's, while it writes. */
	sqlite3 *sqlite;
	char *opened; /* its file */
	bool failed;  /* logged */
};

/* ---- rows ------------------------------------------------------------------------------------- */

static void rows_init(struct rows *r)
{
	r->first = NULL;
	r->end = &r->first;
	r->count = 0;
}

static void rows_drop_first(struct rows *r)
{
	struct row *row = r->first;

	r->first = row->next;
	if (r->first == NULL)
		r->end = &r->first;
	r->count--;
	free(row);
}

static void rows_clear(struct rows *r)
{
	while (r->first != NULL)
		rows_drop_first(r);
}

/* All of from, which is empty then, before those of r. */
static void rows_put_back(struct rows *r, struct rows *from)
{
	if (from->first == NULL)
		return;
	*from->end = r->first;
	if (r->first == NULL)
		r->end = from->end;
	r->first = from->first;
	r->count += from->count;
	rows_init(from);
	while (r->count > ROWS_MAX)
		rows_drop_first(r);
}

static char *put(char *at, const char *text)
{
	size_t len = strlen(text) + 1;

	memcpy(at, text, len);
	return at + len;
}

void usage_log_add(struct usage_log *u, const struct usage_row *r)
{
	const struct timeval tv = clock_timeval_ms(WRITE_MS);
	struct row *row;
	char *at;

	if (u->file == NULL)
		return;
	row = malloc(sizeof *row + strlen(r->key_id) + strlen(r->subject) + strlen(r->model) + strlen(r->outcome) + 4);
	if (row == NULL)
		return;
	*row = (struct row){.at_ms = r->at_ms,
	                    .took_ms = r->took_ms,
	                    .prompt_tokens = r->prompt_tokens,
	                    .completion_tokens = r->completion_tokens};
	at = put(put(put(put(row->texts, r->key_id), r->subject), r->model), r->outcome);
	(void)at;
	*u->rows.end = row;
	u->rows.end = &row->next;
	if (++u->rows.count > ROWS_MAX)
		rows_drop_first(&u->rows);
	if (!evtimer_pending(u->timer, NULL))
		evtimer_add(u->timer, &tv);
}

/* ---- the database, on the thread ----------------------------------------------------------------- */

static int sqlite_error(sqlite3 *db, const char *file, struct err *e)
{
	return err_set(e, "%s: %s", file, db != NULL ? sqlite3_errmsg(db) : "out of memory");
}

/* Made here, so that nobody else may read it. */
static int make_file(const char *file, struct err *e)
{
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_set_errno(e, errno, "%s: cannot be made", file);
	close(fd);
	return 0;
}

static int open_database(struct usage_log *u, const char *file, struct err *e)
{
	int moved = 0;

	if (u->sqlite != NULL && strcmp(u->opened, file) == 0 &&
	    sqlite3_file_control(u->sqlite, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved == 0)
		return 0;
	sqlite3_close(u->sqlite);
	u->sqlite = NULL;
	free(u->opened);
	u->opened = strdup(file);
	if (u->opened == NULL || (access(file, F_OK) < 0 && make_file(file, e) < 0))
		return err_set(e, "no memory for usage");
	if (sqlite3_open_v2(file, &u->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK) {
		sqlite3_busy_timeout(u->sqlite, BUSY_MS);
		if (sqlite3_exec(u->sqlite,
		                 "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA trusted_schema = OFF",
		                 NULL, NULL, NULL) == SQLITE_OK &&
		    sqlite3_exec(u->sqlite, schema, NULL, NULL, NULL) == SQLITE_OK)
			return 0;
	}
	sqlite_error(u->sqlite, file, e);
	sqlite3_close(u->sqlite);
	u->sqlite = NULL;
	return -1;
}

static bool insert_all(sqlite3_stmt *s, const struct rows *rows)
{
	for (const struct row *r = rows->first; r != NULL; r = r->next) {
		const char *text = r->texts;

		sqlite3_bind_int64(s, 1, r->at_ms);
		sqlite3_bind_int64(s, 2, r->took_ms);
		for (int i = 3; i <= 6; i++, text += strlen(text) + 1)
			sqlite3_bind_text(s, i, text, -1, SQLITE_STATIC);
		if (r->prompt_tokens >= 0)
			sqlite3_bind_int64(s, 7, r->prompt_tokens);
		else
			sqlite3_bind_null(s, 7);
		sqlite3_bind_int64(s, 8, r->completion_tokens);
		if (sqlite3_step(s) != SQLITE_DONE)
			return false;
		sqlite3_reset(s);
	}
	return true;
}

/* The oldest rows beyond the limits; they come first. */
static bool prune(sqlite3 *db, const struct writing *w)
{
	char sql[400];

	snprintf(sql, sizeof sql,
	         "DELETE FROM usage WHERE id IN (SELECT id FROM (SELECT id, at_ms FROM usage ORDER BY id LIMIT %d)"
	         " WHERE at_ms < %lld OR id <= (SELECT max(id) FROM usage) - %lld)",
	         PRUNE_ROWS, (long long)(clock_wall_ms() - w->retain_ms), (long long)w->max_rows);
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

static void write_rows(void *arg)
{
	struct writing *w = arg;
	sqlite3_stmt *insert = NULL;
	sqlite3 *db;
	bool done;

	if (open_database(w->log, w->file, &w->e) < 0)
		return;
	db = w->log->sqlite;
	done = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
	       sqlite3_prepare_v2(db,
	                          "INSERT INTO usage(at_ms, took_ms, key_id, subject, model, outcome, prompt_tokens,"
	                          " completion_tokens) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
	                          -1, &insert, NULL) == SQLITE_OK &&
	       insert_all(insert, &w->rows) && (!w->prune || prune(db, w));
	if (!done)
		sqlite_error(db, w->file, &w->e);
	sqlite3_finalize(insert);
	if (sqlite3_exec(db, done ? "COMMIT" : "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK && done)
		sqlite_error(db, w->file, &w->e);
	if (!err_is_set(&w->e))
		rows_clear(&w->rows);
}

/* ---- on the loop --------------------------------------------------------------------------------------- */

static void writing_free(void *arg)
{
	struct writing *w = arg;

	rows_put_back(&w->log->rows, &w->rows);
	free(w->file);
	free(w);
}

static void on_written(void *arg)
{
	struct writing *w = arg;
	struct usage_log *u = w->log;
	const struct timeval tv = clock_timeval_ms(err_is_set(&w->e) ? RETRY_MS : WRITE_MS);

	u->job = NULL;
	if (err_is_set(&w->e) && !u->failed)
		log_event(LOG_USAGE_NOT_STORED, L_STR("error", w->e.text));
	u->failed = err_is_set(&w->e);
	writing_free(w);
	if (u->rows.first != NULL && u->file != NULL)
		evtimer_add(u->timer, &tv);
}

static struct writing *writing_new(struct usage_log *u)
{
	struct writing *w = calloc(1, sizeof *w);
	int64_t now = clock_mono_ms();

	if (w == NULL || (w->file = strdup(u->file)) == NULL) {
		free(w);
		return NULL;
	}
	w->log = u;
	rows_init(&w->rows);
	rows_put_back(&w->rows, &u->rows);
	w->retain_ms = u->retain_ms;
	w->max_rows = u->max_rows;
	w->prune = u->pruned_ms == 0 || now - u->pruned_ms >= PRUNE_MS;
	if (w->prune)
		u->pruned_ms = now;
	return w;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	static const struct background_work work = {.run = write_rows, .done = on_written, .drop = writing_free};
	struct usage_log *u = arg;
	struct writing *w;

	(void)fd, (void)what;
	if (u->job != NULL || u->file == NULL || u->rows.first == NULL || (w = writing_new(u)) == NULL)
		return;
	u->job = background_start(u->background, &work, w);
	if (u->job == NULL)
		writing_free(w);
}

struct usage_log *usage_log_new(struct event_base *base, struct err *e)
{
	struct usage_log *u = calloc(1, sizeof *u);

	if (u == NULL) {
		err_set(e, "no memory for usage");
		return NULL;
	}
	rows_init(&u->rows);
	u->background = background_new(base, e);
	u->timer = evtimer_new(base, on_timer, u);
	if (u->background != NULL && u->timer != NULL)
		return u;
	err_set(e, "no memory for usage");
	usage_log_free(u);
	return NULL;
}

void usage_log_free(struct usage_log *u)
{
	struct writing *w;

	if (u == NULL)
		return;
	if (u->background != NULL)
		background_free(u->background); /* after the writing that runs, whose rows come back */
	if (u->file != NULL && u->rows.first != NULL && (w = writing_new(u)) != NULL) {
		write_rows(w);
		writing_free(w);
	}
	rows_clear(&u->rows);
	sqlite3_close(u->sqlite);
	free(u->opened);
	free(u->file);
	if (u->timer != NULL)
		event_free(u->timer);
	free(u);
}

char *usage_log_file(const struct config *c)
{
	static const char sqlite[] = "sqlite:";
	const char *file = cfg_str(c, CFG_USAGE_FILE), *store = cfg_str(c, CFG_THREADS_STORE), *slash;
	char *beside;

	if (cfg_ms(c, CFG_USAGE_RETAIN) == 0)
		return NULL;
	if (file != NULL)
		return strdup(file);
	slash = strrchr(store, '/');
	if (strncmp(store, sqlite, sizeof sqlite - 1) != 0 || slash == NULL)
		return NULL;
	store += sizeof sqlite - 1;
	return asprintf(&beside, "%.*s/" FILE_DEFAULT, (int)(slash - store), store) < 0 ? NULL : beside;
}

void usage_log_configure(struct usage_log *u, const struct config *c)
{
	char *file = usage_log_file(c);

	u->retain_ms = cfg_ms(c, CFG_USAGE_RETAIN);
	u->max_rows = cfg_int(c, CFG_USAGE_MAX_ROWS);
	free(u->file);
	u->file = file;
	if (file == NULL)
		rows_clear(&u->rows);
}

/* ---- for administrators ---------------------------------------------------------------------------------- */

static const struct {
	const char *name, *expression;
} groups[] = {
	{"key", "key_id"},
	{"subject", "subject"},
	{"model", "model"},
	{"outcome", "outcome"},
	{"day", "date(at_ms / 1000, 'unixepoch')"},
};

#define GROUPS (sizeof groups / sizeof groups[0])

static size_t group_of(const char *by)
{
	size_t g = 0;

	while (g < GROUPS && strcmp(groups[g].name, by) != 0)
		g++;
	return g;
}

bool usage_log_sums_by(const char *by)
{
	return group_of(by) < GROUPS;
}

static int is_late(void *until_ms)
{
	return clock_mono_ms() > *(int64_t *)until_ms;
}

/* until_ms: CLOCK_MONOTONIC; 0: however long it takes. */
static json_t *sums_until(const char *file, const char *by, int64_t since_ms, int64_t until_ms, struct err *e)
{
	sqlite3_stmt *s = NULL;
	sqlite3 *db = NULL;
	json_t *all = NULL;
	char sql[600];
	size_t g = group_of(by);
	int code;

	if (g == GROUPS) {
		err_set(e, "'%.30s': usage is summed by key, subject, model, outcome or day", by);
		return NULL;
	}
	snprintf(sql, sizeof sql,
	         "SELECT %s, count(*), sum(outcome <> 'complete'), total(prompt_tokens), total(completion_tokens),"
	         " total(took_ms) / 1000 FROM usage WHERE at_ms >= ?1 GROUP BY 1 ORDER BY %s",
	         groups[g].expression, strcmp(by, "day") == 0 ? "1" : "4 + 5 DESC, 1");
	if (sqlite3_open_v2(file, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
	    sqlite3_busy_timeout(db, BUSY_MS) != SQLITE_OK || sqlite3_prepare_v2(db, sql, -1, &s, NULL) != SQLITE_OK) {
		sqlite_error(db, file, e);
		goto out;
	}
	sqlite3_bind_int64(s, 1, since_ms);
	if (until_ms != 0)
		sqlite3_progress_handler(db, QUERY_STEPS, is_late, &until_ms);
	all = json_array();
	while ((code = sqlite3_step(s)) == SQLITE_ROW) {
		char *group = utf8_text((const char *)sqlite3_column_text(s, 0), (size_t)sqlite3_column_bytes(s, 0));

		json_array_append_new(all, json_pack("{s:s?, s:I, s:I, s:I, s:I, s:f}", by, group, "attempts",
		                                     (json_int_t)sqlite3_column_int64(s, 1), "failed",
		                                     (json_int_t)sqlite3_column_int64(s, 2), "prompt_tokens",
		                                     (json_int_t)sqlite3_column_int64(s, 3), "completion_tokens",
		                                     (json_int_t)sqlite3_column_int64(s, 4), "seconds",
		                                     sqlite3_column_double(s, 5)));
		free(group);
	}
	if (code != SQLITE_DONE) {
		if (code == SQLITE_INTERRUPT)
			err_set(e, "%s: to sum it took longer than %d s; tt-agentctl usage has no limit", file,
			        QUERY_MS / 1000);
		sqlite_error(db, file, e);
		json_decref(all);
		all = NULL;
	}
out:
	sqlite3_finalize(s);
	sqlite3_close(db);
	return all;
}

json_t *usage_log_sums(const char *file, const char *by, int64_t since_ms, struct err *e)
{
	return sums_until(file, by, since_ms, 0, e);
}

/* ---- the same for endpoints ------------------------------------------------------------------------------ */

struct usage_query {
	struct usage_log *log;
	struct background_job *job;
	char *file, *by; /* file: NULL where it is not needed */
	int64_t since_ms;
	struct config *all_hosts; /* NULL: this one alone */
	usage_query_fn *done;
	void *arg;
	json_t *sums;
	struct err e;
};

static void query_free(void *arg)
{
	struct usage_query *q = arg;

	q->log->queries--;
	json_decref(q->sums);
	config_unref(q->all_hosts);
	free(q->file);
	free(q->by);
	free(q);
}

static void query_run(void *arg)
{
	struct usage_query *q = arg;

	q->sums = q->all_hosts != NULL ? shared_usage_sums(q->all_hosts, q->by, q->since_ms, &q->e)
	                               : sums_until(q->file, q->by, q->since_ms, clock_mono_ms() + QUERY_MS, &q->e);
}

static void query_done(void *arg)
{
	struct usage_query *q = arg;

	q->done(q->arg, q->sums, &q->e);
	query_free(q);
}

struct usage_query *usage_log_query(struct usage_log *u, const struct usage_request *r, usage_query_fn *done, void *arg,
                                    struct err *e)
{
	static const struct background_work work = {.run = query_run, .done = query_done, .drop = query_free};
	struct usage_query *q = NULL;

	if (u->file == NULL && r->all_hosts == NULL)
		err_set(e, "No usage is stored (settings usage.file and usage.retain)");
	else if (u->queries >= USAGE_QUERIES_MAX)
		err_set(e, "Too many sums of usage are requested at once; try again in a moment");
	else if ((q = calloc(1, sizeof *q)) == NULL)
		err_set(e, "Out of memory");
	if (q == NULL)
		return NULL;
	*q = (struct usage_query){.log = u, .by = strdup(r->by), .since_ms = r->since_ms, .done = done, .arg = arg};
	if (r->all_hosts != NULL)
		q->all_hosts = config_ref(r->all_hosts);
	else
		q->file = strdup(u->file);
	u->queries++;
	if ((q->file != NULL || q->all_hosts != NULL) && q->by != NULL)
		q->job = background_start(u->background, &work, q);
	if (q->job != NULL)
		return q;
	err_set(e, "Out of memory");
	query_free(q);
	return NULL;
}

void usage_query_cancel(struct usage_query *q)
{
	background_cancel(q->job);
}
