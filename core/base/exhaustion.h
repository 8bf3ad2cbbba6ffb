/* SPDX-License-Identifier: Apache-2.0 */
/* Shortages of our own: descriptors and memory. Whoever we wanted to talk to has no part in
 * them. Any thread. */
#ifndef TT_BASE_EXHAUSTION_H
#define TT_BASE_EXHAUSTION_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a call failed with error (an errno) because we ran short. */
bool exhaustion_is(int error);

/* What is short and what to raise: one line, no full stop. Returns out. */
const char *exhaustion_text(int error, char *out, size_t size);

/* Whether a descriptor could be had right now: 0, or the error that says why not. For calls
 * that hide why they failed. */
int exhaustion_now(void);

/* The last descriptors are for what must go on when there are too many connections: files,
 * certificates, name lookups, the daemon's socket. Whether fd, just opened, is one of them. */
bool exhaustion_is_reserved(int fd);

/* How many descriptors this process may have. */
size_t exhaustion_descriptors(void);

#endif
