/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that owns the database: it runs jobs in their order and hands them back.
 *
 * It opens the file, and opens it again where it was lost; it deletes expired threads and
 * moves a long write-ahead log into the database when it has nothing else to do. */
#ifndef TT_STORE_DB_THREAD_H
#define TT_STORE_DB_THREAD_H

#include "core/base/err.h"
#include "core/store/database.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

/* Jobs that may be queued at once; more are refused. */
#define DB_JOBS_MAX 10000

struct db_job {
	STAILQ_ENTRY(db_job) next;
	char *subject, *thread_id;
	json_t *messages; /* to append, which nobody changes; NULL: a load, unless it deletes */
	char *text;       /* of them; the thread's */
	bool deletes;     /* the thread, or (response) the turn with that answer */
	char *response;
	bool found;    /* what was to be deleted */
	json_t *turns; /* of a load; NULL: it failed */
	/* What is known of the thread since that transaction, or as of it; 0: nothing. */
	uint64_t number;
	struct database_thread thread;
	size_t weight; /* of turns: turn_cache_weight */
	bool is_cut;   /* messages are not what was stored */
	struct err err;
};
STAILQ_HEAD(db_jobs, db_job);

struct db_thread;

/* done is called on the database thread whenever finished jobs can be taken. */
struct db_thread *db_thread_new(const char *file, const char *run, const struct store_limits *limits,
                                void (*done)(void *arg), void *arg, struct err *e);

/* Runs the queued jobs, then ends; jobs that nobody has taken yet are in left. */
void db_thread_free(struct db_thread *t, struct db_jobs *left);

/* Queues the jobs in their order; those beyond DB_JOBS_MAX stay in jobs. */
void db_thread_submit(struct db_thread *t, struct db_jobs *jobs);
/* The jobs that are finished. */
void db_thread_take_finished(struct db_thread *t, struct db_jobs *done);

/* Which threads were written: versions_find may be called from any thread. */
struct versions *db_thread_versions(struct db_thread *t);

/* Turns that are told before they are stored: functions of write_behind.h for any thread may be called. */
struct write_behind *db_thread_pending(struct db_thread *t);
/* Whether that may be done: the last turns could be stored. */
bool db_thread_is_well(struct db_thread *t);
/* Some were put there, and are to be stored; hurry: there is little room for more. done is called afterwards. */
void db_thread_write_behind(struct db_thread *t, bool hurry);

void db_thread_set_limits(struct db_thread *t, const struct store_limits *limits);

#endif
