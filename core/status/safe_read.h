/* SPDX-License-Identifier: Apache-2.0 */
/* Touching a mapped file that somebody may have shortened.
 *
 * A page beyond the end of a shortened file raises SIGBUS. Our writers never shorten
 * a file, but a person with a shell can, and a service must not die of it. These calls
 * do their one access and return false where the page is gone. The cost is a
 * sigsetjmp without a mask (about 20 ns); SIGBUS from anywhere else goes where it
 * went before. */
#ifndef TT_STATUS_SAFE_READ_H
#define TT_STATUS_SAFE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Before the calls below, at least once per process; where the handler is in place it
 * does nothing. Any thread. */
void safe_read_install(void);

/* The atomic ones take the address of an aligned 64-bit word, signed or not. */
bool safe_load(const void *from, uint64_t *value); /* acquire */
bool safe_store(void *to, uint64_t value);         /* release */
bool safe_add(void *to, int64_t n);                /* relaxed */
bool safe_copy(void *to, const void *from, size_t len);

#endif
