/* SPDX-License-Identifier: Apache-2.0 */
/* Work for which the n-th allocation fails, for every n. The program is linked with
 * -Wl,--wrap of malloc, calloc, realloc and strdup: what our own code asks for fails; what
 * libraries ask for only where their allocator asks short_memory_fails. */
#ifndef TT_TESTS_UNIT_SHORT_MEMORY_H
#define TT_TESTS_UNIT_SHORT_MEMORY_H

#include <stdbool.h>

/* Runs work again and again, with one more allocation each time, until it had all that it
 * wants: first so that all further ones fail as well, then so that only one does. The
 * allocations of jansson count too. Any thread may ask for memory. */
void short_memory_sweep(void (*work)(void));

/* Whether an allocation failed in the run that work is in. */
bool short_memory_was_short(void);

/* One more allocation is wanted: whether it fails. Any thread. */
bool short_memory_fails(void);

/* Inside work: what is done between these two always has memory. One thread. */
void short_memory_lift(void);
void short_memory_impose(void);

#endif
