/* Shortages of our own: descriptors and memory. Whoever we wanted to talk to has no part in
 * them. Any thread. */
#ifndef TT_BASE_SHORTAGE_H
#define TT_BASE_SHORTAGE_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a call failed with error (an errno) because we ran short. */
bool shortage_is(int error);

/* What is short and what to raise: one line, no full stop. Returns out. */
const char *shortage_text(int error, char *out, size_t size);

/* Whether a descriptor could be had right now: 0, or the error that says why not. For calls
 * that hide why they failed. */
int shortage_now(void);

/* The last descriptors are for what must go on when there are too many connections: files,
 * certificates, name lookups, the daemon's socket. Whether fd, just opened, is one of them. */
bool shortage_is_reserved(int fd);

/* How many descriptors this process may have. */
size_t shortage_descriptors(void);

#endif
