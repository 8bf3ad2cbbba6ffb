/* SPDX-License-Identifier: Apache-2.0 */
/* The requests and texts of the answers that are kept, in memory that a worker and its keeper share. An answer begins
 * in a small place, of which two share a page, and moves to a large one when it is longer. Only pages that are used
 * exist.
 *
 * The worker may be killed at any instruction. What it has stored in its table is whole then, as a place is only given
 * back once nothing refers to it; at most, a place is lost, together with the worker. One thread, or the keeper once
 * its worker is dead. */
#ifndef TT_FCGI_JOURNAL_H
#define TT_FCGI_JOURNAL_H

#include <stddef.h>
#include <stdint.h>

struct journal_places {
	char *memory; /* NULL: none */
	size_t place_size, count;
	_Atomic uint32_t fresh; /* from here on none was ever used */
	_Atomic uint32_t spare; /* 1 + the first one that was given back; 0: none */
};

/* In shared memory, which is zeroed. */
struct journals {
	struct journal_places small, large;
};

/* Before the processes part. Without memory, journal_begin returns NULL. */
void journals_map(struct journals *j, size_t answers);
void journals_unmap(struct journals *j);

/* Room for JOURNAL_SMALL bytes; NULL: none. */
#define JOURNAL_SMALL 2048u
char *journal_begin(struct journals *j);
/* Room for `needed` bytes, at most HANDOVER_MAX: where it is, or elsewhere with a copy of the first `used` bytes;
 * there, the old place is the caller's to give back (journal_end) once it refers to the new one. NULL: none, and it
 * stays. */
char *journal_room(struct journals *j, char *at, size_t used, size_t needed);
void journal_end(struct journals *j, char *at, size_t used);

#endif
