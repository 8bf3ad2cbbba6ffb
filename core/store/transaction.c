/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/transaction.h"

#include "core/base/clock.h"
#include "core/base/json_dump.h"
#include "core/store/turn_cache.h"
#include "core/store/turn_cut.h"

#include <stdlib.h>
#include <string.h>

#define TRANSACTION_MAX   256       /* jobs considered, and run, at once; */
#define TRANSACTION_BYTES (4 << 20) /* no more are added beyond that many bytes of text */

static struct store_key key_of(const struct db_job *job)
{
	return (struct store_key){.subject = job->subject, .thread_id = job->thread_id};
}

static bool writes(const struct db_job *job)
{
	return job->messages != NULL || job->deletes;
}

/* ---- selection --------------------------------------------------------------------------- */

/* Whether something that changes the same thread precedes the load. */
static bool has_write_before(const struct db_jobs *jobs, const struct db_job *load)
{
	const struct db_job *before;

	STAILQ_FOREACH(before, jobs, next)
	{
		if (before == load)
			break;
		if (writes(before) && strcmp(before->thread_id, load->thread_id) == 0 &&
		    strcmp(before->subject, load->subject) == 0)
			return true;
	}
	return false;
}

static void take_loads(struct db_jobs *jobs, struct db_jobs *transaction)
{
	struct db_jobs rest = STAILQ_HEAD_INITIALIZER(rest);
	struct db_job *job;

	for (int i = 0; i < TRANSACTION_MAX && (job = STAILQ_FIRST(jobs)) != NULL; i++) {
		bool taken = !writes(job) && !has_write_before(&rest, job);

		STAILQ_REMOVE_HEAD(jobs, next);
		if (taken)
			STAILQ_INSERT_TAIL(transaction, job, next);
		else
			STAILQ_INSERT_TAIL(&rest, job, next);
	}
	STAILQ_CONCAT(&rest, jobs);
	STAILQ_CONCAT(jobs, &rest);
}

/* Here and not on the loop, which a long turn would hold. NULL: no memory. */
static char *encode(struct db_job *job, const struct store_limits *limits)
{
	struct buf text = BUF_INIT(SIZE_MAX / 4);
	json_t *cut;
	int failed = json_dump(&text, job->messages);

	if (failed == 0 && limits->turn_bytes > 0 && text.len > limits->turn_bytes) {
		job->is_cut = true;
		cut = turn_cut(job->messages, text.len, limits);
		buf_reset(&text);
		failed = json_dump(&text, cut);
		json_decref(cut);
	}
	if (failed == 0)
		return buf_steal(&text, NULL);
	buf_free(&text);
	return NULL;
}

void transaction_next(struct db_jobs *jobs, struct db_jobs *transaction, const struct store_limits *limits)
{
	struct db_job *job;
	size_t bytes = 0;

	take_loads(jobs, transaction);
	if (!STAILQ_EMPTY(transaction))
		return;
	for (int i = 0;
	     i < TRANSACTION_MAX && bytes < TRANSACTION_BYTES && (job = STAILQ_FIRST(jobs)) != NULL && writes(job);
	     i++) {
		job->text = job->deletes ? NULL : encode(job, limits);
		bytes += job->text != NULL ? strlen(job->text) : 0;
		STAILQ_REMOVE_HEAD(jobs, next);
		STAILQ_INSERT_TAIL(transaction, job, next);
	}
}

/* ---- execution ------------------------------------------------------------------------------ */

static void load_all(struct database *db, struct db_jobs *transaction, const struct store_limits *limits)
{
	struct err e = ERR_INIT;
	uint64_t number = database_now(db);
	bool together = database_begin_reading(db, &e) == 0;
	struct db_job *job;

	STAILQ_FOREACH(job, transaction, next)
	{
		const struct store_key k = key_of(job);

		if (!together)
			job->err = e;
		else if (!err_is_set(&job->err))
			job->turns = database_load(db, &k, clock_wall_ms(), limits, &job->err);
		if (job == STAILQ_FIRST(transaction) && database_now(db) != number)
			number = 0;
		if (job->turns != NULL) {
			job->number = number;
			job->thread = *database_last_thread(db);
			job->weight = turn_cache_weight(job->turns);
		}
	}
	if (together)
		database_end_reading(db);
}

static int write_one(struct database *db, struct db_job *job, const struct store_limits *limits, struct err *e)
{
	const struct store_key k = key_of(job);

	if (err_is_set(&job->err)) {
		*e = job->err;
		return -1;
	}
	if (job->deletes)
		return database_delete(db, &k, job->response, clock_wall_ms(), limits, &job->found, e);
	if (job->text == NULL)
		return err_set(e, "no memory for a turn");
	if (database_append(db, &k, job->text, strlen(job->text), clock_wall_ms(), limits, e) < 0)
		return -1;
	job->thread = *database_last_thread(db);
	return 0;
}

static int commit(struct database *db, const struct store_limits *limits, struct err *e)
{
	if (database_evict(db, limits, e) == 0)
		return database_commit(db, e);
	database_roll_back(db);
	return -1;
}

static void write_alone(struct database *db, struct db_job *job, const struct store_limits *limits)
{
	if (database_begin_writing(db, &job->err) < 0)
		return;
	if (write_one(db, job, limits, &job->err) < 0)
		database_roll_back(db);
	else if (commit(db, limits, &job->err) == 0)
		job->number = database_committed(db);
}

/* Whether all is stored; else e is set, and whether each of them may be tried alone. */
static bool write_together(struct database *db, struct db_jobs *transaction, const struct store_limits *limits,
                           struct err *e, bool *try_alone)
{
	struct db_job *job;

	*try_alone = database_begin_writing(db, e) == 0;
	if (!*try_alone)
		return false;
	STAILQ_FOREACH(job, transaction, next)
	if (write_one(db, job, limits, e) < 0) {
		database_roll_back(db);
		return false;
	}
	if (commit(db, limits, e) < 0)
		return false;
	STAILQ_FOREACH(job, transaction, next)
	job->number = database_committed(db);
	return true;
}

static void write_all(struct database *db, struct db_jobs *transaction, const struct store_limits *limits)
{
	struct err e = ERR_INIT;
	struct db_job *job;
	bool alone;

	if (write_together(db, transaction, limits, &e, &alone))
		return;
	alone = alone && STAILQ_NEXT(STAILQ_FIRST(transaction), next) != NULL && !database_is_lost(db);
	STAILQ_FOREACH(job, transaction, next)
	if (alone)
		write_alone(db, job, limits);
	else
		job->err = e;
}

/* What is still in a former layout. */
static void convert_threads(struct database *db, struct db_jobs *transaction)
{
	struct db_job *job;

	STAILQ_FOREACH(job, transaction, next)
	{
		const struct store_key k = key_of(job);

		database_convert_thread(db, &k, &job->err);
	}
}

void transaction_run(struct database *db, struct db_jobs *transaction, const struct store_limits *limits)
{
	if (database_is_converting(db))
		convert_threads(db, transaction);
	if (writes(STAILQ_FIRST(transaction)))
		write_all(db, transaction, limits);
	else
		load_all(db, transaction, limits);
}
