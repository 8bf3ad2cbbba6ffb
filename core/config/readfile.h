/* SPDX-License-Identifier: Apache-2.0 */
/* Small regular files, read whole. Blocking. */
#ifndef TT_CONFIG_READFILE_H
#define TT_CONFIG_READFILE_H

#include "core/base/buf.h"
#include "core/base/err.h"

#include <sys/stat.h>

/* Reads path into out, whose limit is that of the file. -1 with e if it is missing,
 * unreadable, not a regular file (a FIFO would block) or too long; errno then is that
 * of open, or 0. st may be NULL. */
int readfile(const char *path, struct buf *out, struct stat *st, struct err *e);

#endif
