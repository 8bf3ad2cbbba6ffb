/* The thread that owns the database: takes jobs in order, does them, gives them back.
 *
 * It opens the file, and opens it again where it was lost; it lets expired threads go and
 * moves a long write-ahead log into the database when it has nothing else to do. */
#ifndef TT_STORE_ARCHIVIST_H
#define TT_STORE_ARCHIVIST_H

#include "core/base/err.h"
#include "core/store/store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

/* Jobs that may wait at once; more are refused. */
#define ARCHIVIST_JOBS_MAX 10000

struct archivist_job {
	STAILQ_ENTRY(archivist_job) next;
	char *subject, *thread_id;
	char *text; /* the messages to append; NULL: a load */
	size_t text_len;
	json_t *turns; /* what was loaded; NULL: it failed */
	struct err err;
};
STAILQ_HEAD(archivist_jobs, archivist_job);

struct archivist;

/* done is called on the archivist's thread whenever jobs can be taken. */
struct archivist *archivist_new(const char *file, const char *run, const struct store_limits *limits,
                                void (*done)(void *arg), void *arg, struct err *e);

/* Does what is to be appended, then ends; what was taken and not given back is in left. */
void archivist_free(struct archivist *a, struct archivist_jobs *left);

/* Takes the jobs in their order, as long as not too many wait; the others stay in jobs. */
void archivist_give(struct archivist *a, struct archivist_jobs *jobs);
/* The jobs that are done, in the order in which they were given. */
void archivist_take(struct archivist *a, struct archivist_jobs *done);

void archivist_set_limits(struct archivist *a, const struct store_limits *limits);

#endif
