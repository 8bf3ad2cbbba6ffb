/* SPDX-License-Identifier: Apache-2.0 */
/* Small regular files, read whole. Blocking. */
#ifndef TT_CONFIG_READFILE_H
#define TT_CONFIG_READFILE_H

#include "core/base/buf.h"
#include "core/base/err.h"

#include <sys/stat.h>

/* Reads path into out (whose limit is the file's). -1 with e where it is missing,
 * unreadable, no regular file (a FIFO would block) or too long; errno then is what
 * open said, or 0. st may be NULL. */
int readfile(const char *path, struct buf *out, struct stat *st, struct err *e);

#endif
