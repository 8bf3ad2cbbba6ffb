/* Which of the waiting jobs are done together, and doing them: reading many conversations
 * or storing many turns at once costs little more than one of them. Blocking, like the
 * database; knows no thread. */
#ifndef TT_STORE_BATCH_H
#define TT_STORE_BATCH_H

#include "core/store/archivist.h"
#include "core/store/database.h"

/* Moves the next jobs from the front of jobs into batch: only loads, or only appends. Loads
 * go first, as turns wait for them, but none passes an append to the same thread. */
void batch_next(struct archivist_jobs *jobs, struct archivist_jobs *batch);

/* Does them; what fails has its err set. A turn that cannot be stored harms no other. */
void batch_do(struct database *db, struct archivist_jobs *batch, const struct store_limits *limits);

#endif
