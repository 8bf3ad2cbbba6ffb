/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/support/short_memory.h"

#include <errno.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdlib.h>

#define PLENTY (-1L)

static _Atomic long left = PLENTY; /* allocations until one fails */
static _Atomic bool was_short;
static bool once; /* the others do not fail */
static long lifted;

bool short_memory_fails(void)
{
	long n = left;

	while (n >= 0 && !atomic_compare_exchange_weak(&left, &n, n > 0 ? n - 1 : once ? PLENTY : 0))
		continue;
	if (n != 0)
		return false;
	was_short = true;
	errno = ENOMEM;
	return true;
}

/* The linker's --wrap names them so. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t size)
{
	return short_memory_fails() ? NULL : __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size)
{
	return short_memory_fails() ? NULL : __real_calloc(count, size);
}
void *__wrap_realloc(void *p, size_t size)
{
	return short_memory_fails() ? NULL : __real_realloc(p, size);
}
char *__wrap_strdup(const char *s)
{
	return short_memory_fails() ? NULL : __real_strdup(s);
}

static void run_all(void (*work)(void))
{
	long n = 0;

	do {
		was_short = false;
		left = n++;
		work();
		left = PLENTY;
	} while (was_short);
}

void short_memory_sweep(void (*work)(void))
{
	json_set_alloc_funcs(__wrap_malloc, free);
	once = false;
	run_all(work);
	once = true;
	run_all(work);
	json_set_alloc_funcs(malloc, free);
}

bool short_memory_was_short(void)
{
	return was_short;
}

void short_memory_lift(void)
{
	lifted = left;
	left = PLENTY;
}

void short_memory_impose(void)
{
	left = lifted;
}
