/* SPDX-License-Identifier: Apache-2.0 */
/* Files that several processes map and change. Whoever needs one and finds none makes it; what is in it is read through
 * safe_read.h, as somebody may truncate it. */
#ifndef TT_STATUS_MAPPED_FILE_H
#define TT_STATUS_MAPPED_FILE_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* Taken while a file in that directory is looked for and made, so that of several processes one makes it. Its
 * descriptor, to be closed; -1 with e. */
int mapped_file_lock(const char *directory, struct err *e);

/* Puts a new file in place of what is there: it begins with head, is 0 otherwise, and has its name once it is whole. Of
 * its size the first `allocated` bytes have room on the disk, so that a full one is an error here and not a signal
 * later. -1 with e. */
struct mapped_file_content {
	const void *head;
	size_t head_len, allocated, size;
};
int mapped_file_make(const char *path, const struct mapped_file_content *content, struct err *e);

/* Maps a regular file of that size; *fd: its descriptor. NULL, and *fd is -1: there is none. */
void *mapped_file_open(const char *path, size_t size, bool writes, int *fd);
void mapped_file_close(void *map, size_t size, int *fd); /* NULL and -1 are fine */

/* Whether the file of that name is still the one with that descriptor, and as long. */
bool mapped_file_is_in_place(const char *path, int fd, size_t size);

#endif
