/* SPDX-License-Identifier: Apache-2.0 */
/* Opening the database: file, settings, schema. */
#include "core/store/database_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SCHEMA_VERSION 3
#define APPLICATION_ID 0x74744167 /* "ttAg" */
#define BUSY_TRIES     250        /* about two seconds */
#define WAL_TRIES      50
#define CACHE_BYTES    (8u << 20)
#define RESERVE_BYTES  (8 << 20) /* more than the log holds when nobody waits */

static const char schema[] =
	"CREATE TABLE history("
	" id INTEGER PRIMARY KEY, key INTEGER NOT NULL, thread INTEGER NOT NULL, first INTEGER NOT NULL,"
	" number INTEGER NOT NULL, bytes INTEGER NOT NULL, threads INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
	" at_ms INTEGER NOT NULL, subject TEXT NOT NULL, thread_id TEXT NOT NULL, run TEXT NOT NULL,"
	" messages TEXT NOT NULL) STRICT;"
	"CREATE INDEX history_key ON history(key, thread);"
	"CREATE TABLE IF NOT EXISTS state(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;";

static int execute(struct database *db, const char *sql, struct err *e)
{
	if (sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	return database_fail(db, e, "cannot be opened");
}

static int first_number(void *arg, int columns, char **values, char **names)
{
	(void)names;
	*(long *)arg = columns > 0 && values[0] != NULL ? strtol(values[0], NULL, 10) : 0;
	return 0;
}

static int read_number(struct database *db, const char *sql, long *number, struct err *e)
{
	*number = 0;
	if (sqlite3_exec(db->sqlite, sql, first_number, number, NULL) == SQLITE_OK)
		return 0;
	return database_fail(db, e, "cannot be opened");
}

/* Several workers may start at once: the first one makes the tables. Those of former layouts are converted later, in
 * steps. */
static int make_schema(struct database *db, const char *failure, struct err *e)
{
	char version[64];
	long found = 0;
	int result = -1;

	if (sqlite3_exec(db->sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
		return database_fail(db, e, failure);
	if (read_number(db, "PRAGMA user_version", &found, e) < 0)
		goto out;
	snprintf(version, sizeof version, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID,
	         SCHEMA_VERSION);
	if (found < SCHEMA_VERSION && (execute(db, schema, e) < 0 || execute(db, version, e) < 0))
		goto out;
	if (found > 0 && found < SCHEMA_VERSION && database_begin_conversion(db, e) < 0)
		goto out;
	result = 0;
out:
	if (execute(db, result == 0 ? "COMMIT" : "ROLLBACK", e) < 0)
		result = -1;
	return result;
}

static int check_schema(struct database *db, struct err *e)
{
	long version, application;

	if (read_number(db, "PRAGMA user_version", &version, e) < 0 ||
	    read_number(db, "PRAGMA application_id", &application, e) < 0)
		return -1;
	if (version > SCHEMA_VERSION)
		return err_set(e, "%s: made by a newer version of tt-agent (layout %ld, this one knows %d)", db->file,
		               version, SCHEMA_VERSION);
	if (version > 0 && application != APPLICATION_ID)
		return err_set(e, "%s: a database of another program; name another file in threads.store", db->file);
	if (version < SCHEMA_VERSION &&
	    make_schema(db, version > 0 ? DATABASE_NOT_CONVERTED : "cannot be opened", e) < 0)
		return -1;
	database_check_former(db);
	return 0;
}

/* Several processes may change to WAL at once, and SQLite does not wait for the others. */
static int set_wal(struct database *db, struct err *e)
{
	const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};

	for (int i = 0; i < WAL_TRIES; i++) {
		int code = sqlite3_exec(db->sqlite, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);

		if (code == SQLITE_OK)
			return 0;
		if (code != SQLITE_BUSY && code != SQLITE_LOCKED)
			break;
		nanosleep(&pause, NULL);
	}
	return database_fail(db, e, "cannot be opened");
}

static int on_wal(void *arg, sqlite3 *sqlite, const char *name, int pages)
{
	(void)sqlite;
	(void)name;
	((struct database *)arg)->wal_pages = pages;
	return SQLITE_OK;
}

/* A writer takes less time than SQLite's own shortest wait. */
static int on_busy(void *arg, int tries)
{
	const long us = tries < 20 ? 100 : tries < 50 ? 1000 : 10000;
	const struct timespec pause = {.tv_nsec = us * 1000};

	(void)arg;
	if (tries >= BUSY_TRIES)
		return 0;
	nanosleep(&pause, NULL);
	return 1;
}

static int set_up(struct database *db, struct err *e)
{
	long pages;

	sqlite3_extended_result_codes(db->sqlite, 1);
	sqlite3_busy_handler(db->sqlite, on_busy, NULL);
	sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	/* Deleted text is overwritten. */
	if (execute(db,
	            "PRAGMA trusted_schema = OFF; PRAGMA foreign_keys = ON;"
	            "PRAGMA synchronous = NORMAL; " DATABASE_CACHE_SIZE "; PRAGMA journal_size_limit = 33554432;"
	            "PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY",
	            e) < 0)
		return -1;
	if (read_number(db, "PRAGMA page_size", &pages, e) < 0)
		return -1;
	db->page_size = (int)pages;
	/* It has an effect only before the first table, and later takes a lock. */
	if (read_number(db, "PRAGMA page_count", &pages, e) < 0 ||
	    (pages == 0 && execute(db, "PRAGMA auto_vacuum = INCREMENTAL", e) < 0))
		return -1;
	if (set_wal(db, e) < 0 || check_schema(db, e) < 0)
		return -1;
	/* The database thread moves the log into the database when nobody waits for it. */
	sqlite3_wal_hook(db->sqlite, on_wal, db);
	return 0;
}

/* Made here, so that nobody else may read it. An existing file is never opened: closing it
 * would release the locks of other connections of this process. */
static int make_file(const char *file, struct err *e)
{
	int fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd >= 0)
		close(fd);
	else if (errno != EEXIST)
		return err_set_errno(e, errno, "%s: cannot be made", file);
	return 0;
}

static char *reserve_of(const char *file)
{
	char *name = NULL;

	return asprintf(&name, "%s-reserve", file) >= 0 ? name : NULL;
}

void database_hold_reserve(const char *file)
{
	char *name = reserve_of(file);
	int fd = name != NULL ? open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;

	if (fd >= 0) {
		if (posix_fallocate(fd, 0, RESERVE_BYTES) != 0)
			unlink(name);
		close(fd);
	}
	free(name);
}

bool database_release_reserve(const char *file)
{
	char *name = reserve_of(file);
	bool released = name != NULL && unlink(name) == 0;

	free(name);
	return released;
}

struct database *database_open(const char *file, const char *run, bool create, struct err *e)
{
	struct database *db = calloc(1, sizeof *db);

	if (db == NULL || (db->file = strdup(file)) == NULL || (db->run = strdup(run)) == NULL ||
	    (db->cache = turn_cache_new(CACHE_BYTES)) == NULL) {
		err_set(e, "no memory for the database of conversations");
		goto fail;
	}
	if (create && make_file(file, e) < 0)
		goto fail;
	if (sqlite3_open_v2(file, &db->sqlite, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
		database_fail(db, e, "cannot be opened");
		goto fail;
	}
	if (set_up(db, e) < 0)
		goto fail;
	if (create)
		database_hold_reserve(file);
	return db;
fail:
	database_close(db);
	return NULL;
}

void database_close(struct database *db)
{
	if (db == NULL)
		return;
	database_end_conversion(db);
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(db->statements[i]);
	sqlite3_close(db->sqlite);
	if (db->versions != NULL)
		versions_detach(db->versions);
	free(db->shared);
	free(db->pending);
	turn_cache_free(db->cache);
	free(db->file);
	free(db->run);
	free(db);
}

bool database_is_lost(const struct database *db)
{
	return db->lost;
}

bool database_has_moved(struct database *db)
{
	int moved = 0;

	return sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0;
}
