/* SPDX-License-Identifier: Apache-2.0 */
/* The table of versions (versions.h) as SQLite's locks drive it. */
#include "core/store/database_internal.h"

#include "core/base/clock.h"

#include <stdlib.h>
#include <sys/stat.h>

#define WRITE_LOCK     0     /* WAL_WRITE_LOCK: the first lock of the WAL index */
#define WAL_INDEX_SIZE 32768 /* of its first region */
#define MARKED_AT_ONCE 2048
#define CHECK_MS       1000
#define RETRY_MS       60000

/* The methods of the database's file: those of SQLite's VFS, but for two. */
struct shared_versions {
	struct sqlite3_io_methods methods;
	const struct sqlite3_io_methods *below;
	sqlite3_file *file;
	struct versions *versions;
	/* filling */
	int64_t check_ms;
	uint64_t from; /* 0: it is not being filled, by this process */
	int64_t next_key;
};

static struct shared_versions *shared_of(sqlite3_file *file)
{
	return (struct shared_versions *)(uintptr_t)file->pMethods;
}

static int shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
	const struct shared_versions *s = shared_of(file);
	const bool writes = offset == WRITE_LOCK && (flags & SQLITE_SHM_EXCLUSIVE) != 0;
	int code;

	if (writes && (flags & SQLITE_SHM_UNLOCK) != 0)
		versions_unlocking(s->versions);
	code = s->below->xShmLock(file, offset, n, flags);
	if (writes && (flags & SQLITE_SHM_LOCK) != 0 && code == SQLITE_OK)
		versions_locked(s->versions);
	return code;
}

/* The WAL index is no longer mapped. */
static int shm_unmap(sqlite3_file *file, int delete_it)
{
	const struct shared_versions *s = shared_of(file);

	versions_detach(s->versions);
	return s->below->xShmUnmap(file, delete_it);
}

/* The versions are of the file that is open. */
static int attach(struct database *db, struct err *e)
{
	struct shared_versions *s = db->shared;
	void volatile *region = NULL;
	struct stat st;

	if (s->below->xShmMap(s->file, 0, WAL_INDEX_SIZE, 0, &region) != SQLITE_OK || region == NULL)
		return err_set(e, "%s: its WAL index cannot be read", db->file);
	if (stat(db->file, &st) < 0 || database_has_moved(db))
		return err_set(e, "%s: is being replaced", db->file);
	return versions_attach(s->versions, (const void *)(uintptr_t)region, st.st_dev, st.st_ino, e);
}

int database_share_versions(struct database *db, struct versions *v, struct err *e)
{
	sqlite3_file *file = NULL;
	struct shared_versions *s;

	if (sqlite3_file_control(db->sqlite, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || file == NULL ||
	    file->pMethods == NULL || file->pMethods->iVersion < 2)
		return err_set(e, "%s: its file system shares no memory", db->file);
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return err_set(e, "no memory");
	*s = (struct shared_versions){.methods = *file->pMethods, .below = file->pMethods, .file = file, .versions = v};
	if (s->methods.iVersion > 3) /* this struct's */
		s->methods.iVersion = 3;
	s->methods.xShmLock = shm_lock;
	s->methods.xShmUnmap = shm_unmap;
	file->pMethods = &s->methods;
	db->shared = s;
	db->versions = v;
	return attach(db, e);
}

/* ---- filling ---- */

/* Threads in the tables of a former layout have no bits. */
static bool begin(struct database *db, int64_t now_ms)
{
	struct shared_versions *s = db->shared;

	if (database_is_converting(db) || !versions_claim_filling(s->versions, now_ms) ||
	    database_begin_writing(db, NULL) < 0)
		return false;
	if (database_find_top(db, NULL) == 0)
		s->from = versions_begin_filling(s->versions, db->threads);
	database_roll_back(db);
	if (versions_committed(s->versions) != s->from)
		s->from = 0;
	s->next_key = INT64_MIN;
	return s->from > 0;
}

/* Whether there are more; -1: they cannot be read. */
static int mark_some(struct database *db, int64_t now_ms)
{
	struct shared_versions *s = db->shared;
	sqlite3_stmt *keys = database_statement(db, SQL_KEYS, NULL);
	int n = 0, code = SQLITE_ERROR;

	if (keys == NULL || !versions_claim_again(s->versions, s->from, now_ms))
		return -1;
	sqlite3_bind_int64(keys, 1, s->next_key);
	sqlite3_bind_int64(keys, 2, MARKED_AT_ONCE);
	while ((code = sqlite3_step(keys)) == SQLITE_ROW) {
		const int64_t key = sqlite3_column_int64(keys, 0);

		versions_mark(s->versions, key);
		s->next_key = key < INT64_MAX ? key + 1 : key;
		n++;
	}
	database_done(keys);
	return code == SQLITE_DONE ? n == MARKED_AT_ONCE : -1;
}

/* What another program stores in a former layout is seen here, or changes the WAL index later. */
static void end(struct database *db)
{
	struct shared_versions *s = db->shared;

	if (database_begin_writing(db, NULL) < 0)
		return;
	if (!database_has_former(db))
		versions_end_filling(s->versions, s->from);
	database_roll_back(db);
}

static void fill(struct database *db, int64_t now_ms)
{
	struct shared_versions *s = db->shared;
	const int more = mark_some(db, now_ms);

	if (more == 0)
		end(db);
	if (more <= 0)
		s->from = 0;
}

int database_tend_versions(struct database *db, struct err *e)
{
	struct shared_versions *s = db->shared;
	const int64_t now_ms = clock_mono_ms();

	if (s == NULL)
		return 0;
	if (s->from == 0) {
		if (now_ms < s->check_ms)
			return 0;
		s->check_ms = now_ms + RETRY_MS;
		if (versions_has_moved(s->versions) && attach(db, e) < 0)
			return -1;
		s->check_ms = now_ms + CHECK_MS;
		return begin(db, now_ms);
	}
	fill(db, now_ms);
	return s->from > 0;
}
