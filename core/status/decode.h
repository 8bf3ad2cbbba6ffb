/* SPDX-License-Identifier: Apache-2.0 */
/* A status file as a private, checked copy. */
#ifndef TT_STATUS_DECODE_H
#define TT_STATUS_DECODE_H

#include "core/base/err.h"
#include "core/status/layout.h"

#include <stdbool.h>
#include <sys/stat.h>

/* Reads the whole file (st: its fstat) and checks it. free(); NULL with e that says what is
 * wrong with it: not a regular file, another user's, writable by others, too large, truncated,
 * damaged. Later changes of the file do not affect the copy. */
char *decode_status(int fd, const struct stat *st, struct err *e);

/* Checks a file of size bytes in memory, aligned to 8 bytes. The errors continue "<path>: ". */
int decode_check(const void *file, size_t size, struct err *e);

/* The mapped header (live) still has this epoch and generation: nobody has overwritten it. */
bool decode_is_same(const struct status_header *live, uint64_t epoch, uint64_t generation);

#endif
