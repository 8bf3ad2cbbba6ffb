/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the waiting jobs are done together, and doing them: reading many conversations
 * or storing many turns at once costs little more than one of them. Blocking, like the
 * database; knows no thread. */
#ifndef TT_STORE_TRANSACTION_H
#define TT_STORE_TRANSACTION_H

#include "core/store/db_thread.h"
#include "core/store/database.h"

/* Moves the next jobs from the front of jobs into batch: only loads, or only appends. Loads
 * go first, as turns wait for them, but none passes an append to the same thread. */
void transaction_next(struct db_jobs *jobs, struct db_jobs *batch);

/* Does them; what fails has its err set. A turn that cannot be stored harms no other. */
void transaction_run(struct database *db, struct db_jobs *batch, const struct store_limits *limits);

#endif
