/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that owns the database: takes jobs in order, does them, gives them back.
 *
 * It opens the file, and opens it again where it was lost; it lets expired threads go and
 * moves a long write-ahead log into the database when it has nothing else to do. */
#ifndef TT_STORE_DB_THREAD_H
#define TT_STORE_DB_THREAD_H

#include "core/base/err.h"
#include "core/store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

/* Jobs that may wait at once; more are refused. */
#define DB_JOBS_MAX 10000

struct db_job {
	STAILQ_ENTRY(db_job) next;
	char *subject, *thread_id;
	char *text; /* the messages to append; NULL: a load */
	size_t text_len;
	json_t *turns; /* what was loaded; NULL: it failed */
	struct err err;
};
STAILQ_HEAD(db_jobs, db_job);

struct db_thread;

/* done is called on the archivist's thread whenever jobs can be taken. */
struct db_thread *db_thread_new(const char *file, const char *run, const struct store_limits *limits,
                                void (*done)(void *arg), void *arg, struct err *e);

/* Does what is to be appended, then ends; what was taken and not given back is in left. */
void db_thread_free(struct db_thread *a, struct db_jobs *left);

/* Takes the jobs in their order, as long as not too many wait; the others stay in jobs. */
void db_thread_give(struct db_thread *a, struct db_jobs *jobs);
/* The jobs that are done, in the order in which they were given. */
void db_thread_take(struct db_thread *a, struct db_jobs *done);

void db_thread_set_limits(struct db_thread *a, const struct store_limits *limits);

#endif
