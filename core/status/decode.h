/* SPDX-License-Identifier: Apache-2.0 */
/* A status file as a private, validated copy. */
#ifndef TT_STATUS_DECODE_H
#define TT_STATUS_DECODE_H

#include "core/base/err.h"
#include "core/status/layout.h"

#include <stdbool.h>
#include <sys/stat.h>

/* Reads the whole file (st: its fstat) and validates it. free(); NULL with e that says
 * what is wrong with it: no regular file, another user's, writable by others, too
 * large, cut, damaged. Nothing that happens to the file later touches the copy. */
char *decode_status(int fd, const struct stat *st, struct err *e);

/* The mapped header (live) still begins like the one it was: nobody wrote over it. */
bool decode_is_same(const struct status_header *live, uint64_t epoch, uint64_t generation);

#endif
