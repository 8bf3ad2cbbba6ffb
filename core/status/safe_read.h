/* SPDX-License-Identifier: Apache-2.0 */
/* Access to a mapped file that somebody may have truncated.
 *
 * A page beyond the end of a truncated file raises SIGBUS. Our writers never truncate
 * a file, but a person with a shell can, and a service must survive that. Each of these
 * calls makes one access and returns false if the page is gone. The cost is a
 * sigsetjmp without a mask (about 20 ns); SIGBUS from anywhere else is handled as
 * before. */
#ifndef TT_STATUS_SAFE_READ_H
#define TT_STATUS_SAFE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Call it before those below, at least once per process; further calls do nothing. Any
 * thread. */
void safe_read_install(void);

/* The atomic ones take the address of an aligned 64-bit word, signed or not. */
bool safe_load(const void *from, uint64_t *value);                  /* acquire */
bool safe_load_words(uint64_t *to, const void *from, size_t count); /* relaxed */
bool safe_store(void *to, uint64_t value);                          /* release */
bool safe_add(void *to, int64_t n);                                 /* relaxed */
/* Adds to both words, of which nobody else is a writer: without a locked instruction. */
bool safe_add_pair(void *to, int64_t n, void *too, int64_t m);
bool safe_copy(void *to, const void *from, size_t len);

/* For more than one access: calls touch(arg), which is left in the middle if a page is gone. It must
 * hold nothing, and call nothing, that could not be left so. */
bool safe_call(void (*touch)(void *arg), void *arg);

#endif
