/* SPDX-License-Identifier: Apache-2.0 */
/* Which threads of an SQLite database were written, and when: a table in a mapped file beside it, by which a process
 * knows without reading the database that a thread has no turns, or none that it has not seen.
 *
 * A transaction that writes has a number, which is larger than all before it, those of other tables included. A slot
 * holds the number of the last one that changed a thread whose key has this hash; bits, of which there are more, say
 * which threads were ever written, since most turns are of new threads. Both are set before the commit, under SQLite's
 * write lock, so that no reader misses a committed turn, whoever dies when.
 *
 * Programs that know nothing of the table (an older version, sqlite3) write as well. So the table has a copy of the
 * header of SQLite's WAL index, which each commit changes (https://www.sqlite.org/walformat.html): a writer that gets
 * the write lock compares them before its transaction, and stores the new header before it gives the lock back. A
 * reader compares them as well, in memory that all processes map: unless they are equal it reads the database. Two
 * states of a database never have the same header while that has the random salt of a log. */
#ifndef TT_STORE_VERSIONS_H
#define TT_STORE_VERSIONS_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct versions;

#define VERSIONS_SUFFIX  "-versions" /* of the table's file */
#define VERSIONS_UNKNOWN UINT64_MAX

/* Of the database in that file. NULL: no memory. Nothing is mapped yet. */
struct versions *versions_new(const char *file);
void versions_free(struct versions *v); /* NULL is fine */

/* ---- any thread ---- */

struct version {
	bool never;     /* no turn was ever written to a thread of that key; not always known */
	uint64_t since; /* what was read at this number, or at a later one, is still all there is */
};

/* Of a thread's key (database_key). False: only the database knows. */
bool versions_find(struct versions *v, int64_t key, int64_t now_ms, struct version *found);

/* ---- the database's thread; all do nothing while there is no table ---- */

/* Maps the table of the database, which is that inode; wal_index is the first region of its WAL index, which must stay
 * mapped until versions_detach. Of the processes that need a table the first one makes it, and a wrong one is replaced.
 * -1 with e: then every thread is read from the database. */
int versions_attach(struct versions *v, const void *wal_index, dev_t device, ino_t inode, struct err *e);
void versions_detach(struct versions *v);
bool versions_is_attached(const struct versions *v);
/* Whether the table's file is no longer the one that is mapped, if there is one. */
bool versions_has_moved(struct versions *v);

/* SQLite's write lock was obtained, is about to be given back. */
void versions_locked(struct versions *v);
void versions_unlocking(struct versions *v);
/* Between them, before the commit: a thread of that key changes. The number of the last transaction before that did so.
 */
uint64_t versions_touch(struct versions *v, int64_t key);
uint64_t versions_current(const struct versions *v); /* the number of this transaction; 0: not known */
/* The number of the transaction that was committed last, by this process; 0: not known. */
uint64_t versions_committed(const struct versions *v);
/* The number that a read has which begins now, if the same is returned after it has begun; 0: not known. */
uint64_t versions_now(struct versions *v);

/* At first a table has no bits of what was written before, and later too few for all threads, or those of deleted ones.
 * Whoever fills it claims that, begins, marks the keys of all rows in the database, and ends. */

bool versions_claim_filling(struct versions *v, int64_t now_ms); /* false: not necessary, or not now */
/* Between versions_locked and versions_unlocking, in a transaction that changes nothing: the number from which it is
 * filled, 0: it cannot be. It has begun if versions_committed is that number afterwards. There are about so many
 * threads. */
uint64_t versions_begin_filling(struct versions *v, int64_t threads);
/* At least each second. False: another program has written, or another process fills it, so it is in vain. */
bool versions_claim_again(struct versions *v, uint64_t from, int64_t now_ms);
void versions_mark(struct versions *v, int64_t key);
bool versions_end_filling(struct versions *v, uint64_t from); /* as versions_begin_filling; false: in vain */

#endif
