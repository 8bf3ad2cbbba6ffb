/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/db_thread.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/store/transaction.h"
#include "core/store/database.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REOPEN_FIRST_MS 500
#define REOPEN_MAX_MS   30000
#define LOOK_MS         500
#define SAY_AGAIN_MS    60000
#define SWEEP_MS        60000
#define SWEEP_THREADS   200  /* a transaction: nobody waits for more */
#define IDLE_MS         200  /* without a job, a log that has grown is moved: */
#define WAL_PAGES_IDLE  1000 /* rarely, as the next turn after it waits for the disk, */
#define WAL_PAGES_MAX   4000 /* and at the latest at 16 MiB, whoever waits */

struct db_thread {
	char *file, *run;
	void (*done)(void *arg);
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	/* under the lock */
	struct db_jobs waiting, finished;
	size_t waiting_count;
	struct store_limits limits;
	bool stopping;
	/* the thread's own */
	struct database *db;
	struct err trouble; /* why there is no database, or why it takes nothing */
	int64_t look_ms, said_ms, reopen_ms, pause_ms, sweep_ms;
};

/* ---- the database, while it is there ---- */

/* A line when trouble begins, now and then while it lasts, and one when it ends. */
static void note(struct db_thread *a, const struct err *e)
{
	int64_t now_ms = clock_mono_ms();

	if (e != NULL && (!err_is_set(&a->trouble) || now_ms - a->said_ms >= SAY_AGAIN_MS)) {
		log_error("threads_database", L_STR("error", e->text),
		          L_STR("effect", "chats go on without what this file would remember"));
		a->said_ms = now_ms;
	} else if (e == NULL && err_is_set(&a->trouble)) {
		log_info("threads_database", L_STR("state", "usable again"), L_STR("file", a->file));
	}
	if (e != NULL)
		a->trouble = *e;
	else
		err_clear(&a->trouble);
}

static void lose(struct db_thread *a)
{
	database_close(a->db);
	a->db = NULL;
	a->pause_ms = a->pause_ms == 0 ? REOPEN_FIRST_MS : a->pause_ms * 2;
	if (a->pause_ms > REOPEN_MAX_MS)
		a->pause_ms = REOPEN_MAX_MS;
	a->reopen_ms = clock_mono_ms() + a->pause_ms;
}

/* Looked at now and then only: each look is a system call. */
static bool has_moved(struct db_thread *a)
{
	int64_t now_ms = clock_mono_ms();

	if (now_ms < a->look_ms)
		return false;
	a->look_ms = now_ms + LOOK_MS;
	return database_has_moved(a->db);
}

static bool have_database(struct db_thread *a)
{
	struct err e = ERR_INIT;

	if (a->db != NULL && has_moved(a)) {
		database_close(a->db); /* and the one that its name means is opened at once */
		a->db = NULL;
	} else if (a->db != NULL && database_is_lost(a->db)) {
		lose(a);
	}
	if (a->db != NULL)
		return true;
	if (clock_mono_ms() < a->reopen_ms)
		return false;
	a->db = database_open(a->file, a->run, true, &e);
	if (a->db != NULL)
		return true;
	note(a, &e);
	lose(a);
	return false;
}

/* ---- jobs ---- */

static void fail_all(struct db_jobs *batch, const struct err *e)
{
	struct db_job *job;

	STAILQ_FOREACH(job, batch, next)
	job->err = *e;
}

/* What the jobs tell of the database; whether all went well. */
static bool note_all(struct db_thread *a, const struct db_jobs *batch)
{
	const struct db_job *job;
	bool well = true, stored = false;

	STAILQ_FOREACH(job, batch, next)
	{
		if (err_is_set(&job->err)) {
			note(a, &job->err);
			well = false;
		}
		stored |= job->text != NULL;
	}
	if (well)
		a->pause_ms = 0;
	if (well && stored)
		note(a, NULL); /* what can be written can be read */
	return well;
}

static void finish_jobs(struct db_thread *a, struct db_jobs *batch)
{
	pthread_mutex_lock(&a->lock);
	STAILQ_CONCAT(&a->finished, batch);
	pthread_mutex_unlock(&a->lock);
	a->done(a->arg);
}

/* ---- housekeeping ---- */

static void sweep(struct db_thread *a, const struct store_limits *limits)
{
	struct err e = ERR_INIT;
	int gone;

	if (a->db == NULL || clock_mono_ms() < a->sweep_ms)
		return;
	gone = database_sweep(a->db, clock_wall_ms(), limits, SWEEP_THREADS, &e);
	/* More of them: go on soon, but let jobs come first. */
	a->sweep_ms = clock_mono_ms() + (gone == SWEEP_THREADS ? IDLE_MS : SWEEP_MS);
	if (gone > 0)
		log_debug("threads_expired", L_INT("count", gone));
}

/* How long the thread may sleep before there is something to do for itself. */
static int64_t sleep_ms(const struct db_thread *a)
{
	int64_t left_ms = a->sweep_ms - clock_mono_ms();

	if (a->db == NULL || left_ms > SWEEP_MS)
		return SWEEP_MS;
	if (database_wal_pages(a->db) > WAL_PAGES_IDLE || left_ms < IDLE_MS)
		return IDLE_MS;
	return left_ms;
}

/* Waits for jobs, or until there is something else to do. False: stop. */
static bool next_jobs(struct db_thread *a, struct db_jobs *jobs, struct store_limits *limits)
{
	int64_t wait_ms = sleep_ms(a);
	struct timespec until;
	bool timed_out = false, stopping;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)(wait_ms % 1000) * 1000000L;
	until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&a->lock);
	while (STAILQ_EMPTY(&a->waiting) && !a->stopping && !timed_out)
		timed_out = pthread_cond_timedwait(&a->work, &a->lock, &until) != 0;
	STAILQ_CONCAT(jobs, &a->waiting);
	a->waiting_count = 0;
	*limits = a->limits;
	stopping = a->stopping;
	pthread_mutex_unlock(&a->lock);
	return !stopping || !STAILQ_EMPTY(jobs);
}

static bool is_stopping(struct db_thread *a)
{
	bool stopping;

	pthread_mutex_lock(&a->lock);
	stopping = a->stopping;
	pthread_mutex_unlock(&a->lock);
	return stopping;
}

static void do_jobs(struct db_thread *a, struct db_jobs *jobs, const struct store_limits *limits)
{
	struct db_jobs batch = STAILQ_HEAD_INITIALIZER(batch);
	struct err ends = ERR_INIT;
	bool well = true;

	err_set(&ends, "the service ends");
	while (!STAILQ_EMPTY(jobs)) {
		transaction_next(jobs, &batch);
		if (!well && is_stopping(a)) { /* a database that is locked or full must not hold up the end */
			fail_all(&batch, &ends);
		} else if (!have_database(a)) {
			fail_all(&batch, &a->trouble);
			well = false;
		} else {
			transaction_run(a->db, &batch, limits);
			well = note_all(a, &batch);
		}
		finish_jobs(a, &batch);
	}
}

static void *run(void *arg)
{
	struct db_thread *a = arg;
	struct db_jobs jobs = STAILQ_HEAD_INITIALIZER(jobs);
	struct store_limits limits;

	pthread_setname_np(pthread_self(), "conversations");
	have_database(a);
	while (next_jobs(a, &jobs, &limits)) {
		bool idle = STAILQ_EMPTY(&jobs);

		do_jobs(a, &jobs, &limits);
		sweep(a, &limits);
		if (a->db != NULL && database_wal_pages(a->db) > (idle ? WAL_PAGES_IDLE : WAL_PAGES_MAX))
			database_checkpoint(a->db);
	}
	database_close(a->db);
	return NULL;
}

/* ---- the other side ---- */

static int start(struct db_thread *a, struct err *e)
{
	pthread_condattr_t monotonic;
	sigset_t all, before;
	int errnum;

	pthread_mutex_init(&a->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&a->work, &monotonic);
	pthread_condattr_destroy(&monotonic);
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	errnum = pthread_create(&a->thread, NULL, run, a);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (errnum == 0)
		return 0;
	pthread_cond_destroy(&a->work);
	pthread_mutex_destroy(&a->lock);
	return err_set_errno(e, errnum, "the thread of the conversations' database cannot be started");
}

static void release(struct db_thread *a)
{
	free(a->file);
	free(a->run);
	free(a);
}

struct db_thread *db_thread_new(const char *file, const char *run_name, const struct store_limits *limits,
                                void (*done)(void *arg), void *arg, struct err *e)
{
	struct db_thread *a = calloc(1, sizeof *a);

	if (a == NULL) {
		err_set(e, "no memory for the conversations");
		return NULL;
	}
	a->done = done;
	a->arg = arg;
	a->limits = *limits;
	STAILQ_INIT(&a->waiting);
	STAILQ_INIT(&a->finished);
	a->file = strdup(file);
	a->run = strdup(run_name);
	if (a->file == NULL || a->run == NULL)
		err_set(e, "no memory for the conversations");
	else if (start(a, e) == 0)
		return a;
	release(a);
	return NULL;
}

void db_thread_free(struct db_thread *a, struct db_jobs *left)
{
	pthread_mutex_lock(&a->lock);
	a->stopping = true;
	pthread_cond_signal(&a->work);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	STAILQ_CONCAT(left, &a->finished);
	pthread_cond_destroy(&a->work);
	pthread_mutex_destroy(&a->lock);
	release(a);
}

void db_thread_give(struct db_thread *a, struct db_jobs *jobs)
{
	struct db_job *job;

	pthread_mutex_lock(&a->lock);
	while ((job = STAILQ_FIRST(jobs)) != NULL && a->waiting_count < DB_JOBS_MAX) {
		STAILQ_REMOVE_HEAD(jobs, next);
		a->waiting_count++;
		STAILQ_INSERT_TAIL(&a->waiting, job, next);
	}
	pthread_cond_signal(&a->work);
	pthread_mutex_unlock(&a->lock);
}

void db_thread_take(struct db_thread *a, struct db_jobs *done)
{
	pthread_mutex_lock(&a->lock);
	STAILQ_CONCAT(done, &a->finished);
	pthread_mutex_unlock(&a->lock);
}

void db_thread_set_limits(struct db_thread *a, const struct store_limits *limits)
{
	pthread_mutex_lock(&a->lock);
	a->limits = *limits;
	pthread_mutex_unlock(&a->lock);
}
