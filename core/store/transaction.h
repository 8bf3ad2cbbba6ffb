/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the queued jobs make up the next transaction, and running it: reading many
 * conversations or storing many turns at once costs little more than one of them. Blocking,
 * like the database. */
#ifndef TT_STORE_TRANSACTION_H
#define TT_STORE_TRANSACTION_H

#include "core/store/db_thread.h"
#include "core/store/database.h"

/* Moves the next jobs from jobs into transaction: only loads, or only what writes. Loads go first, because turns wait
 * for them, but none overtakes what changes the same thread. */
void transaction_next(struct db_jobs *jobs, struct db_jobs *transaction, const struct store_limits *limits);

/* Runs them; a job that fails has its err set. A turn that cannot be stored does not affect the others. */
void transaction_run(struct database *db, struct db_jobs *transaction, const struct store_limits *limits);

#endif
