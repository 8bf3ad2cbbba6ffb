/* SPDX-License-Identifier: Apache-2.0 */
/* Resource exhaustion: this process has no file descriptor or memory left, which says nothing
 * about the peer. Any thread. */
#ifndef TT_BASE_EXHAUSTION_H
#define TT_BASE_EXHAUSTION_H

#include <stdbool.h>
#include <stddef.h>

/* Whether error (an errno) means exhaustion. */
bool exhaustion_is(int error);

/* What is exhausted and what to raise: one line, no full stop. Returns out. */
const char *exhaustion_text(int error, char *out, size_t size);

/* Tries to open a file descriptor: 0, or the errno. For calls that hide why they failed. */
int exhaustion_now(void);

/* The last file descriptors are reserved for what must work even with too many connections:
 * files, certificates, name lookups, the daemon's socket. Whether fd, just opened, is one. */
bool exhaustion_is_reserved(int fd);

/* How many file descriptors this process may have. */
size_t exhaustion_descriptors(void);

#endif
