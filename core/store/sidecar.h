/* SPDX-License-Identifier: Apache-2.0 */
/* A file beside an SQLite database that all processes with that database map. It is of this boot, one layout and one
 * database: whoever finds none, or a wrong one, makes it, and the file of another layout or database is replaced. What
 * is in it is read through safe_read.h, as somebody may truncate it. One thread. */
#ifndef TT_STORE_SIDECAR_H
#define TT_STORE_SIDECAR_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The file begins with it; all else in a new one is 0. */
struct sidecar_head {
	uint64_t magic;
	uint32_t layout, size;
	uint8_t boot_id[16];
	uint64_t device, inode;   /* of the database */
	_Atomic uint64_t retired; /* not 0: another file is to take its place */
};

struct sidecar_kind {
	const char *suffix; /* to the database's name */
	uint64_t magic;
	uint32_t layout, size;
	uint32_t allocated; /* of it from the start, so that a full disk is an error and not a signal later */
};

struct sidecar {
	const struct sidecar_kind *kind;
	char *path;
	dev_t device; /* of the database */
	ino_t inode;
	int fd; /* of the file that is mapped; -1: none */
};

/* file: the database's name. -1: no memory. */
int sidecar_init(struct sidecar *s, const struct sidecar_kind *kind, const char *file);
void sidecar_free(struct sidecar *s);

/* Maps the file of that database, which is made if there is none (and `make`). NULL with e. */
void *sidecar_map(struct sidecar *s, dev_t device, ino_t inode, bool make, struct err *e);
void sidecar_unmap(struct sidecar *s, void *mapped); /* NULL is fine */

/* Whether the name is no longer that of the mapped file, or it has another size, or is to be replaced. */
bool sidecar_has_moved(const struct sidecar *s, const void *mapped);

#endif
