/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/db_thread.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/store/transaction.h"
#include "core/store/database.h"
#include "core/store/write_behind.h"
#include "core/store/versions.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REOPEN_FIRST_MS 500
#define REOPEN_MAX_MS   30000
#define MOVED_CHECK_MS  500
#define LOG_AGAIN_MS    60000
#define SWEEP_MS        60000
#define SWEEP_THREADS   200 /* in one transaction, so that no turn waits for long */
#define IDLE_MS         200 /* without a job before a log that has grown is moved: */
#define CONVERT_MS      5   /* between two steps of a conversion, or of filling the table of versions */
#define PROGRESS_MS     10000
#define WAL_PAGES_IDLE  1000 /* rarely, because the next turn after it waits for the disk, */
#define WAL_PAGES_MAX   4000 /* and at the latest at 16 MiB, even if turns wait */
/* Turns that are told already are stored so long after the first of them, with those of all processes: a transaction
 * costs several times what one turn in it does, and many turns share the pages of the index. A process whose turns
 * another one has stored waits twice as long: one that stores them all need not read the pages again that others have
 * changed. */
#define GATHER_NS 200000000
#define RETRY_MS  1000 /* what could not be stored */

struct db_thread {
	char *file, *run;
	struct versions *versions;
	struct write_behind *pending;
	atomic_bool is_well; /* turns may be told before they are stored */
	void (*done)(void *arg);
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	/* under the lock */
	struct db_jobs queued, finished;
	size_t queued_count;
	struct store_limits limits;
	bool stopping;
	bool behind, hurry;      /* turns were told; they are to be stored at once */
	int64_t gather_until_ns; /* when they are to be stored; 0: none were told, as far as the thread knows */
	/* the thread's own */
	struct database *db;
	struct err trouble; /* why there is no database, or why it stores nothing */
	int64_t evicted;    /* threads, not yet logged */
	int64_t converted;  /* turns of a former layout, of which the end is not yet logged */
	int64_t convert_ms, progress_ms;
	bool converted_once;
	bool filling, versions_failed; /* the table of versions, which is not complete yet; cannot be used */
	bool pending_failed, left;     /* the rings of turns cannot be used; there is one that could not be stored */
	int64_t fill_ms;
	int64_t evicted_ms, moved_check_ms, logged_ms, reopen_ms, pause_ms, sweep_ms;
	int64_t retry_ms, tend_ms;
	int64_t gather_ns;
	uint64_t gathered_from; /* the number of the first turn since gather_until_ns was set */
	bool idle;              /* no job came */
	bool sweeps;            /* the last sweep left something for the next one */
};

/* ---- the database, while it can be used ---- */

/* Logs a line when trouble begins, once a minute while it lasts, and one when it ends. */
static void note_state(struct db_thread *t, const struct err *e)
{
	int64_t now_ms = clock_mono_ms();

	if (e != NULL && (!err_is_set(&t->trouble) || now_ms - t->logged_ms >= LOG_AGAIN_MS)) {
		log_event(LOG_THREADS_DATABASE_ERROR, L_STR("error", e->text),
		          L_STR("effect", "chats go on without their history"));
		t->logged_ms = now_ms;
	} else if (e == NULL && err_is_set(&t->trouble)) {
		log_event(LOG_THREADS_DATABASE, L_STR("state", "usable again"), L_STR("file", t->file));
	}
	if (e != NULL)
		t->trouble = *e;
	else
		err_clear(&t->trouble);
}

static void lose(struct db_thread *t)
{
	database_close(t->db);
	t->db = NULL;
	t->pause_ms = t->pause_ms == 0 ? REOPEN_FIRST_MS : t->pause_ms * 2;
	if (t->pause_ms > REOPEN_MAX_MS)
		t->pause_ms = REOPEN_MAX_MS;
	t->reopen_ms = clock_mono_ms() + t->pause_ms;
}

/* Not checked each time: it is a system call. */
static bool has_moved(struct db_thread *t)
{
	int64_t now_ms = clock_mono_ms();

	if (now_ms < t->moved_check_ms)
		return false;
	t->moved_check_ms = now_ms + MOVED_CHECK_MS;
	return database_has_moved(t->db);
}

/* e NULL: it can be used. */
static void note_versions(struct db_thread *t, const struct err *e)
{
	if (e != NULL && !t->versions_failed)
		log_event(LOG_THREADS_VERSIONS, L_STR("error", e->text),
		          L_STR("effect", "every turn reads its conversation from the database"));
	t->versions_failed = e != NULL;
}

static void note_pending(struct db_thread *t, const struct err *e)
{
	if (e != NULL && !t->pending_failed)
		log_event(LOG_THREADS_PENDING, L_STR("error", e->text),
		          L_STR("effect", "every turn waits until it is stored"));
	t->pending_failed = e != NULL;
}

/* Where the file is another one, the loop has to know of it. */
static void share_pending(struct db_thread *t)
{
	const bool moves = write_behind_has_moved(t->pending);
	struct err e = ERR_INIT;

	note_pending(t, database_share_pending(t->db, t->pending, true, &e) < 0 ? &e : NULL);
	if (moves)
		t->done(t->arg);
}

/* Some of them, also of other processes and former ones; as database_store_pending. */
static int store_pending(struct db_thread *t, const struct store_limits *limits, struct err *e)
{
	int64_t dropped;
	int result = database_store_pending(t->db, limits, &dropped, e);

	if (dropped > 0)
		log_event(LOG_THREADS_NOT_STORED, L_INT("count", dropped), L_STR("file", t->file));
	t->left = result < 0;
	t->retry_ms = clock_mono_ms() + RETRY_MS;
	return result;
}

/* In a former layout a thread's turns have to be moved before one is appended. */
static void note_well(struct db_thread *t)
{
	atomic_store(&t->is_well,
	             t->db != NULL && !err_is_set(&t->trouble) && !t->left && !database_is_converting(t->db));
}

static bool ensure_database(struct db_thread *t)
{
	struct err e = ERR_INIT;

	if (t->db != NULL && has_moved(t)) {
		database_close(t->db); /* and the file of that name is opened at once */
		t->db = NULL;
	} else if (t->db != NULL && database_is_lost(t->db)) {
		lose(t);
	}
	if (t->db != NULL)
		return true;
	if (clock_mono_ms() < t->reopen_ms)
		return false;
	t->db = database_open(t->file, t->run, true, &e);
	if (t->db != NULL) {
		note_versions(t, database_share_versions(t->db, t->versions, &e) < 0 ? &e : NULL);
		share_pending(t);
		t->left = true; /* by a killed process, perhaps */
		t->retry_ms = 0;
		return true;
	}
	note_state(t, &e);
	lose(t);
	return false;
}

/* What could not be stored, or was left by a process that was killed. */
static void store_left(struct db_thread *t, const struct store_limits *limits)
{
	struct err e = ERR_INIT;
	int more = 1;

	if (!t->left || clock_mono_ms() < t->retry_ms)
		return;
	t->retry_ms = clock_mono_ms() + RETRY_MS;
	if (!ensure_database(t))
		return;
	while (more > 0)
		more = store_pending(t, limits, &e);
	if (more < 0)
		note_state(t, &e);
}

/* ---- jobs ---- */

static void fail_all(struct db_jobs *transaction, const struct err *e)
{
	struct db_job *job;

	STAILQ_FOREACH(job, transaction, next)
	job->err = *e;
}

/* What the jobs show of the database; whether all succeeded. */
static bool note_jobs(struct db_thread *t, const struct db_jobs *transaction)
{
	const struct db_job *job;
	bool succeeded = true, stored = false;

	STAILQ_FOREACH(job, transaction, next)
	{
		if (err_is_set(&job->err)) {
			note_state(t, &job->err);
			succeeded = false;
		}
		stored |= job->messages != NULL || job->deletes;
	}
	if (succeeded)
		t->pause_ms = 0;
	if (succeeded && stored)
		note_state(t, NULL); /* what can be written can also be read */
	return succeeded;
}

static void finish_jobs(struct db_thread *t, struct db_jobs *transaction)
{
	pthread_mutex_lock(&t->lock);
	STAILQ_CONCAT(&t->finished, transaction);
	pthread_mutex_unlock(&t->lock);
	t->done(t->arg);
}

/* ---- housekeeping ---- */

/* A step, if one is due; jobs are run between them. */
static void convert(struct db_thread *t)
{
	const int64_t now_ms = clock_mono_ms();
	struct err e = ERR_INIT;
	int64_t moved;

	if (t->db == NULL || now_ms < t->convert_ms)
		return;
	if (!database_is_converting(t->db)) {
		t->converted_once = true;
		return;
	}
	moved = database_convert(t->db, &e);
	if (moved < 0) {
		note_state(t, &e);
		t->convert_ms = now_ms + SWEEP_MS;
		return;
	}
	t->converted += moved;
	t->convert_ms = clock_mono_ms() + CONVERT_MS;
	if (!database_is_converting(t->db)) {
		log_event(t->converted_once ? LOG_THREADS_OLD_WRITER : LOG_THREADS_CONVERTED, L_STR("file", t->file),
		          L_INT("turns", t->converted));
		t->converted = 0;
	} else if (t->progress_ms == 0) {
		t->progress_ms = now_ms + PROGRESS_MS;
	} else if (now_ms >= t->progress_ms) {
		log_event(LOG_THREADS_CONVERTING, L_STR("file", t->file), L_INT("turns", t->converted));
		t->progress_ms = now_ms + PROGRESS_MS;
	}
}

static void sweep(struct db_thread *t, const struct store_limits *limits)
{
	struct err e = ERR_INIT;
	bool more;
	int deleted;

	if (t->db == NULL || (clock_mono_ms() < t->sweep_ms && !database_must_count(t->db)))
		return;
	database_check_former(t->db);
	if (database_is_converting(t->db)) { /* the oldest threads are not there yet */
		t->sweep_ms = clock_mono_ms() + IDLE_MS;
		return;
	}
	deleted = database_sweep(t->db, clock_wall_ms(), limits, SWEEP_THREADS, &more, &e);
	more &= deleted >= 0;
	if (t->sweeps && !more)
		database_checkpoint(t->db); /* only then the file is as small as what is in it */
	t->sweeps = more;
	/* There are more: continues soon, but jobs come first. */
	t->sweep_ms = clock_mono_ms() + (more ? IDLE_MS : SWEEP_MS);
	if (deleted > 0)
		log_event(LOG_THREADS_EXPIRED, L_INT("count", deleted));
}

/* A step, if one is due. */
static void tend_versions(struct db_thread *t)
{
	struct err e = ERR_INIT;
	int more;

	if (t->db == NULL || (t->filling && clock_mono_ms() < t->fill_ms))
		return;
	more = database_tend_versions(t->db, &e);
	t->filling = more > 0;
	t->fill_ms = clock_mono_ms() + CONVERT_MS;
	if (more < 0 || versions_is_attached(t->versions))
		note_versions(t, more < 0 ? &e : NULL);
}

/* What could not be stored is tried again; the file of the rings is made again if it is gone. */
static void tend_pending(struct db_thread *t, const struct store_limits *limits)
{
	const int64_t now_ms = clock_mono_ms();

	if (t->db != NULL && now_ms >= t->tend_ms) {
		share_pending(t);
		t->tend_ms = now_ms + RETRY_MS;
	}
	store_left(t, limits);
	note_well(t);
}

static void note_evicted(struct db_thread *t)
{
	t->evicted += t->db != NULL ? database_take_evicted(t->db) : 0;
	if (t->evicted == 0 || clock_mono_ms() < t->evicted_ms)
		return;
	log_event(LOG_THREADS_EVICTED, L_INT("count", t->evicted));
	t->evicted = 0;
	t->evicted_ms = clock_mono_ms() + LOG_AGAIN_MS;
}

/* How long the thread may sleep without a job. */
static int64_t sleep_ms(const struct db_thread *t)
{
	int64_t left_ms = t->sweep_ms - clock_mono_ms();

	if (t->db != NULL && database_is_converting(t->db)) {
		const int64_t convert_ms = t->convert_ms - clock_mono_ms();

		return convert_ms < 0 ? 0 : convert_ms;
	}
	if (t->db != NULL && t->filling)
		return CONVERT_MS;
	if (t->left)
		return RETRY_MS;
	if (t->db == NULL || left_ms > SWEEP_MS)
		return SWEEP_MS;
	if (database_wal_pages(t->db) > WAL_PAGES_IDLE || left_ms < IDLE_MS)
		return IDLE_MS;
	return left_ms;
}

/* Until when the thread sleeps. Called under the lock. */
static struct timespec wake_at(struct db_thread *t, int64_t sleep_until_ns)
{
	int64_t at_ns;

	if (t->behind && t->gather_until_ns == 0) {
		t->gather_until_ns = clock_mono_ns() + t->gather_ns;
		t->gathered_from = write_behind_own(t->pending).from;
	}
	at_ns = t->gather_until_ns > 0 ? t->gather_until_ns : sleep_until_ns;
	return (struct timespec){.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000};
}

/* What there is to do. */
struct work {
	struct db_jobs jobs;
	struct store_limits limits;
	bool stores_behind, hurries, stops;
};

/* Waits for jobs or turns, or until housekeeping is due. */
static void next_work(struct db_thread *t, struct work *w)
{
	const int64_t sleep_until_ns = clock_mono_ns() + sleep_ms(t) * 1000000;
	bool timed_out = false;

	pthread_mutex_lock(&t->lock);
	while (!t->stopping && !t->hurry && STAILQ_EMPTY(&t->queued) && !timed_out) {
		const struct timespec until = wake_at(t, sleep_until_ns);

		timed_out = pthread_cond_timedwait(&t->work, &t->lock, &until) != 0;
	}
	STAILQ_CONCAT(&w->jobs, &t->queued);
	t->queued_count = 0;
	w->limits = t->limits;
	w->stops = t->stopping;
	w->hurries = t->hurry || t->stopping;
	w->stores_behind = w->hurries || (t->gather_until_ns > 0 && clock_mono_ns() >= t->gather_until_ns);
	if (w->stores_behind) {
		t->behind = t->hurry = false;
		t->gather_until_ns = 0;
	}
	pthread_mutex_unlock(&t->lock);
	t->idle = STAILQ_EMPTY(&w->jobs) && !w->stores_behind;
}

static bool is_stopping(struct db_thread *t)
{
	bool stopping;

	pthread_mutex_lock(&t->lock);
	stopping = t->stopping;
	pthread_mutex_unlock(&t->lock);
	return stopping;
}

/* Whoever loads, changes or deletes a thread finds all turns in it that were told, by whatever process. */
static void store_before(struct db_thread *t, struct db_jobs *transaction, const struct store_limits *limits)
{
	struct db_job *job;

	STAILQ_FOREACH(job, transaction, next)
	{
		const struct store_key k = {.subject = job->subject, .thread_id = job->thread_id};

		while (database_has_pending(t->db, &k) && store_pending(t, limits, &job->err) > 0)
			continue;
	}
}

static void run_jobs(struct db_thread *t, struct work *w)
{
	struct db_jobs transaction = STAILQ_HEAD_INITIALIZER(transaction);
	struct err ends = ERR_INIT;
	bool succeeded = true;

	while (!STAILQ_EMPTY(&w->jobs)) {
		transaction_next(&w->jobs, &transaction, &w->limits);
		if (!succeeded && is_stopping(t)) { /* a locked or full database must not delay the shutdown */
			err_set(&ends, "the service is shutting down");
			fail_all(&transaction, &ends);
		} else if (!ensure_database(t)) {
			fail_all(&transaction, &t->trouble);
			succeeded = false;
		} else {
			store_before(t, &transaction, &w->limits);
			transaction_run(t->db, &transaction, &w->limits);
			succeeded = note_jobs(t, &transaction);
		}
		note_well(t);
		finish_jobs(t, &transaction);
	}
}

void db_thread_write_behind(struct db_thread *t, bool hurry)
{
	pthread_mutex_lock(&t->lock);
	if (!t->behind || hurry)
		pthread_cond_signal(&t->work);
	t->behind = true;
	t->hurry |= hurry;
	pthread_mutex_unlock(&t->lock);
}

static void store_behind(struct db_thread *t, const struct work *w)
{
	const struct write_behind_range own = write_behind_own(t->pending);
	const bool elsewhere = own.from > t->gathered_from && !w->hurries;
	struct err e = ERR_INIT;
	int more;

	t->gather_ns = elsewhere ? GATHER_NS * 2 : GATHER_NS;
	if (elsewhere && own.from < own.to) {
		db_thread_write_behind(t, false);
	} else if (own.from < own.to && ensure_database(t)) {
		more = store_pending(t, &w->limits, &e);
		if (more > 0)
			db_thread_write_behind(t, true); /* after the jobs that came meanwhile */
		else if (more < 0)
			note_state(t, &e);
	} else {
		t->left |= own.from < own.to;
	}
	note_well(t);
	t->done(t->arg);
}

/* At the end, unless the database is in trouble, for which it must not wait once more. */
static void store_rest(struct db_thread *t, const struct store_limits *limits)
{
	const struct write_behind_range own = write_behind_own(t->pending);

	if (t->left || own.from == own.to)
		return;
	t->left = true;
	t->retry_ms = 0;
	store_left(t, limits);
}

static void tend(struct db_thread *t, const struct store_limits *limits)
{
	convert(t);
	sweep(t, limits);
	tend_versions(t);
	tend_pending(t, limits);
	note_evicted(t);
	if (t->db != NULL && database_wal_pages(t->db) > (t->idle ? WAL_PAGES_IDLE : WAL_PAGES_MAX))
		database_checkpoint(t->db);
}

static void *run(void *arg)
{
	struct db_thread *t = arg;
	struct work w = {.jobs = STAILQ_HEAD_INITIALIZER(w.jobs)};

	pthread_setname_np(pthread_self(), "conversations");
	pthread_mutex_lock(&t->lock);
	w.limits = t->limits;
	pthread_mutex_unlock(&t->lock);
	t->gather_ns = GATHER_NS;
	ensure_database(t);
	tend_versions(t);
	tend_pending(t, &w.limits);
	while (!w.stops) {
		next_work(t, &w);
		run_jobs(t, &w);
		if (w.stores_behind)
			store_behind(t, &w);
		tend(t, &w.limits);
	}
	store_rest(t, &w.limits);
	database_close(t->db);
	return NULL;
}

/* ---- called from the loop ---- */

static int start(struct db_thread *t, struct err *e)
{
	pthread_condattr_t monotonic;
	sigset_t all, before;
	int errnum;

	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&t->work, &monotonic);
	pthread_condattr_destroy(&monotonic);
	/* Signals belong to the loop. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	errnum = pthread_create(&t->thread, NULL, run, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (errnum == 0)
		return 0;
	pthread_cond_destroy(&t->work);
	pthread_mutex_destroy(&t->lock);
	return err_set_errno(e, errnum, "the database thread of the conversations cannot be started");
}

static void release(struct db_thread *t)
{
	free(t->file);
	free(t->run);
	versions_free(t->versions);
	write_behind_free(t->pending);
	free(t);
}

struct db_thread *db_thread_new(const char *file, const char *run_name, const struct store_limits *limits,
                                void (*done)(void *arg), void *arg, struct err *e)
{
	struct db_thread *t = calloc(1, sizeof *t);

	if (t == NULL) {
		err_set(e, "no memory for the conversations");
		return NULL;
	}
	t->done = done;
	t->arg = arg;
	t->limits = *limits;
	STAILQ_INIT(&t->queued);
	STAILQ_INIT(&t->finished);
	t->file = strdup(file);
	t->run = strdup(run_name);
	t->versions = versions_new(file);
	t->pending = write_behind_new(file);
	if (t->file == NULL || t->run == NULL || t->versions == NULL || t->pending == NULL)
		err_set(e, "no memory for the conversations");
	else if (start(t, e) == 0)
		return t;
	release(t);
	return NULL;
}

void db_thread_free(struct db_thread *t, struct db_jobs *left)
{
	pthread_mutex_lock(&t->lock);
	t->stopping = true;
	pthread_cond_signal(&t->work);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	STAILQ_CONCAT(left, &t->finished);
	pthread_cond_destroy(&t->work);
	pthread_mutex_destroy(&t->lock);
	release(t);
}

void db_thread_submit(struct db_thread *t, struct db_jobs *jobs)
{
	struct db_job *job;

	pthread_mutex_lock(&t->lock);
	while ((job = STAILQ_FIRST(jobs)) != NULL && t->queued_count < DB_JOBS_MAX) {
		STAILQ_REMOVE_HEAD(jobs, next);
		t->queued_count++;
		STAILQ_INSERT_TAIL(&t->queued, job, next);
	}
	pthread_cond_signal(&t->work);
	pthread_mutex_unlock(&t->lock);
}

void db_thread_take_finished(struct db_thread *t, struct db_jobs *done)
{
	pthread_mutex_lock(&t->lock);
	STAILQ_CONCAT(done, &t->finished);
	pthread_mutex_unlock(&t->lock);
}

struct versions *db_thread_versions(struct db_thread *t)
{
	return t->versions;
}

struct write_behind *db_thread_pending(struct db_thread *t)
{
	return t->pending;
}

bool db_thread_is_well(struct db_thread *t)
{
	return atomic_load(&t->is_well);
}

void db_thread_set_limits(struct db_thread *t, const struct store_limits *limits)
{
	pthread_mutex_lock(&t->lock);
	t->limits = *limits;
	pthread_mutex_unlock(&t->lock);
}
