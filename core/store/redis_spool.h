/* SPDX-License-Identifier: Apache-2.0 */
/* Turns that wait for Redis on the disk, where they take no memory and outlive this process. Blocking; on one thread at
 * a time.
 *
 * They are in SQLite databases DIRECTORY/unsaved-N.db (0600), one for each process that has some, which holds its
 * exclusive lock until it is empty. One with turns whose lock nobody holds is of a process that has ended: whoever
 * finds it goes on with it. An empty one stays, for the next process. After a power failure the turns of the last
 * moments may be missing. */
#ifndef TT_STORE_REDIS_SPOOL_H
#define TT_STORE_REDIS_SPOOL_H

#include "core/store/store.h"

struct spool;

/* run: short ids of another one are of no use any more. NULL: no memory. Nothing is opened yet. */
struct spool *spool_new(const char *directory, const char *run);
void spool_free(struct spool *s); /* the turns stay; NULL is fine */

/* Whether there are such files at all. */
bool spool_exists(const struct spool *s);

struct spool_turn {
	int64_t row; /* by which it is removed */
	const char *subject, *thread_id;
	const char *run; /* "" unless its id is short */
	const char *id, *answer;
	int64_t at_ms;
	const char *messages; /* JSON */
	size_t len;
};

/* What this process has. */
struct spool_size {
	int64_t turns, bytes;
};
struct spool_size spool_size(const struct spool *s);

/* Goes on with what others left; *held: some is in use by others. -1 with e. */
int spool_take_over(struct spool *s, bool *held, struct err *e);

/* All of them, or none: -1 with e. Rows are ignored. */
int spool_put(struct spool *s, const struct spool_turn *turns, size_t count, struct err *e);

/* Texts are valid until it returns. */
typedef void spool_turn_fn(void *arg, const struct spool_turn *t);

/* The oldest ones after that row, so many at most, and of so many bytes, but at least one. -1 with e. */
int spool_read(struct spool *s, int64_t after, size_t count, size_t bytes, spool_turn_fn *found, void *arg,
               struct err *e);
/* Those of a thread, in their order. */
int spool_read_thread(struct spool *s, const struct store_key *k, spool_turn_fn *found, void *arg, struct err *e);

int spool_remove(struct spool *s, const int64_t *rows, size_t count, struct err *e);
/* Of a thread all, or (response) those with the answer of that id. How many, or -1 with e. */
int64_t spool_delete(struct spool *s, const struct store_key *k, const char *response, struct err *e);
/* The oldest, but for the rows from first to last, until all take no more than max_bytes. How many, or -1 with e. */
int64_t spool_drop_surplus(struct spool *s, int64_t first, int64_t last, int64_t max_bytes, struct err *e);

#endif
