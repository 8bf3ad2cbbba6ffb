/* SPDX-License-Identifier: Apache-2.0 */
/* A file of the run directory that several processes map and change: a table of counts, under one lock.
 *
 * A change may touch several numbers, all or none, so changes are made one after the other: some tens of
 * nanoseconds each. What a process holds is in a page of its own as well, so that the others give it back within
 * a second after it has died; a lock that it held is theirs at once. All processes of this boot share the file,
 * also those that another parent started. Whoever comes first makes it. One thread. */
#ifndef TT_STATUS_SHARED_FILE_H
#define TT_STATUS_SHARED_FILE_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHARED_FILE_PAGES 256u /* processes at once, with workers that drain */

/* The file begins with it. */
struct shared_head {
	uint64_t magic;
	uint32_t version, size;
	uint8_t boot_id[16];
	uint64_t random;       /* another one for each file */
	_Atomic uint64_t lock; /* the pid of the process that has it; 0: free */
	struct {
		int64_t pid; /* 0: nobody's */
		uint64_t birth;
	} claims[SHARED_FILE_PAGES];
};

struct shared_kind {
	const char *name; /* of the file; its version is a part of it */
	uint64_t magic;
	uint32_t version;
	uint32_t size, pages_at, page_size; /* of the file; where the pages of processes are, which begin as zeros */
	/* The counts of all become what the pages hold: after a process has died, perhaps in the middle of a change. */
	void (*recount)(void *file);
};

struct shared_file;

/* After the fork. kind must outlive it. NULL with e: no memory. Only e: the file cannot be made, or used; then nothing
 * is counted until shared_file_tick could do it. */
struct shared_file *shared_file_open(const char *run_dir, const struct shared_kind *kind, struct err *e);
void shared_file_close(struct shared_file *f); /* what it holds is given back; NULL is fine */

/* Once a second: what dead processes held is given back, and a file that is gone is made again. e is set
 * where it cannot be. */
void shared_file_tick(struct shared_file *f, struct err *e);

/* Calls run(file, arg) under the lock. It is left in the middle if somebody truncated the file, so it must hold
 * nothing. False: it was not called, or left: the file cannot be used now. */
bool shared_file_change(struct shared_file *f, void (*run)(void *file, void *arg), void *arg);

uint32_t shared_file_page(const struct shared_file *f); /* the number of this process's page */

/* The mapped file, for reading single words with safe_load; NULL: it cannot be used now. */
const void *shared_file_map(const struct shared_file *f);

/* A copy of its first len bytes, for a process that only reads; free(). It may be in the middle of a change. NULL:
 * there is none of this boot, or no memory. */
void *shared_file_copy(const char *run_dir, const struct shared_kind *kind, size_t len);

/* Whether a process has claimed this page. */
static inline bool shared_file_is_claimed(const struct shared_head *h, uint32_t page)
{
	return h->claims[page].pid != 0;
}

#endif
