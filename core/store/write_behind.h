/* SPDX-License-Identifier: Apache-2.0 */
/* Turns that were told as stored, and are stored in the SQLite database soon: a mapped file beside it, with a ring for
 * each process that has the database. So dozens of turns share a transaction, which costs several times what one of
 * them does, and nobody waits for it. A turn of the same thread finds in the file, on any worker, that one waits, and
 * stores it first; and if a process is killed, the others store what its ring holds.
 *
 * The process that has SQLite's write lock may store what waits in any ring, in its order. Before the commit it notes
 * the row that shows whether it took place, and after it how far the ring is stored. If it was killed in between, or
 * another one gets the lock before that is noted, this one looks for the row: no turn is stored twice.
 *
 * The file outlives processes, not the machine: as with the latest commits (synchronous = NORMAL), what was told in the
 * last moments before a power failure may be lost. */
#ifndef TT_STORE_WRITE_BEHIND_H
#define TT_STORE_WRITE_BEHIND_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct write_behind;

#define WRITE_BEHIND_SUFFIX "-pending" /* of the file */
#define WRITE_BEHIND_RINGS  64u        /* processes that tell early; more wait for their commits */
#define WRITE_BEHIND_BYTES  65536u     /* the longest turn, with its names; a longer one waits for its commit */

struct write_behind_turn {
	int64_t key, at_ms;                    /* database_key of its thread; when it was told */
	const char *subject, *thread_id, *run; /* struct thread_key */
	const char *text;                      /* its messages as JSON, len bytes and a 0 */
	size_t len;
};

/* Of the database in that file. NULL: no memory. Nothing is mapped yet. */
struct write_behind *write_behind_new(const char *file);
void write_behind_free(struct write_behind *p); /* NULL is fine */

/* ---- any thread ---- */

/* Puts a turn into this process's ring: its ticket; 0: there is no room, or no file. *filling: most of the room is
 * taken. */
uint64_t write_behind_add(struct write_behind *p, const struct write_behind_turn *t, bool *filling);
/* Whether a turn of a thread of that key waits, in any ring. */
bool write_behind_has(struct write_behind *p, int64_t key);

/* What became of a turn of this process; in the order of the tickets, each until it is not WRITE_BEHIND_WAITS. */
enum write_behind_state {
	WRITE_BEHIND_WAITS,
	WRITE_BEHIND_STORED,
	WRITE_BEHIND_GONE, /* with its file: it may or may not be stored, so it is to be stored again */
};
struct write_behind_result {
	int64_t turns, at_ms;    /* struct database_thread */
	uint64_t number, before; /* number 0: what the thread has is not known */
};
enum write_behind_state write_behind_check(struct write_behind *p, uint64_t ticket, struct write_behind_result *result);

/* ---- the database's thread ---- */

/* Maps the file of the database, which is that inode, unless it is mapped already. Where `makes` is not set it is only
 * looked for, and there is no ring for this process. -1 with e: then every turn waits for its commit. */
int write_behind_attach(struct write_behind *p, dev_t device, ino_t inode, bool makes, struct err *e);
bool write_behind_is_attached(const struct write_behind *p);
/* Whether the file is gone, or another one. */
bool write_behind_has_moved(const struct write_behind *p);

/* What waits in a ring: the numbers from the first one to before `to`. False: the file cannot be read. */
struct write_behind_range {
	uint64_t from, to;
};
unsigned write_behind_rings(struct write_behind *p);
bool write_behind_range(struct write_behind *p, unsigned ring, struct write_behind_range *range);
/* Of this process's ring; from = to: nothing waits there. */
struct write_behind_range write_behind_own(struct write_behind *p);
/* The rest is for who has the write lock. The keys of these turns, in their order; false: the file cannot be read. */
bool write_behind_keys(struct write_behind *p, unsigned ring, const struct write_behind_range *range, int64_t *keys);
/* Copies a turn, of which t's texts are parts, to a buffer of WRITE_BEHIND_COPY bytes. False: it is damaged. */
#define WRITE_BEHIND_COPY (WRITE_BEHIND_BYTES + 72)
bool write_behind_copy(struct write_behind *p, unsigned ring, uint64_t number, char *buffer,
                       struct write_behind_turn *t);

/* What the transaction makes of it. */
void write_behind_set_result(struct write_behind *p, unsigned ring, uint64_t number,
                             const struct write_behind_result *result);

/* A commit stores all up to before that number, the last one in that row. */
struct write_behind_commit {
	uint64_t to;
	int64_t row;
};
void write_behind_note(struct write_behind *p, unsigned ring, const struct write_behind_commit *c); /* before it */
void write_behind_committed(struct write_behind *p, unsigned ring, uint64_t to);                    /* after it */
/* One that was noted and may or may not have taken place; false: none. */
bool write_behind_is_open(struct write_behind *p, unsigned ring, struct write_behind_commit *c);

#endif
