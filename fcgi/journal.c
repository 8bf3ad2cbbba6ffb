/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/journal.h"

#include "fcgi/handover.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#define KEPT (4u * 4096u) /* bytes of a large place that stay with it */

static void map(struct journal_places *p, size_t place_size, size_t count)
{
	void *memory = mmap(NULL, place_size * count, PROT_READ | PROT_WRITE,
	                    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	*p = (struct journal_places){.place_size = place_size};
	if (memory == MAP_FAILED)
		return;
	p->memory = memory;
	p->count = count;
}

void journals_map(struct journals *j, size_t answers)
{
	map(&j->small, JOURNAL_SMALL, answers);
	map(&j->large, HANDOVER_MAX, answers);
}

static void unmap(struct journal_places *p)
{
	if (p->memory != NULL)
		munmap(p->memory, p->place_size * p->count);
}

void journals_unmap(struct journals *j)
{
	unmap(&j->small);
	unmap(&j->large);
}

/* A spare place holds the next one's number at its start. */
static char *take(struct journal_places *p)
{
	uint32_t spare = atomic_load_explicit(&p->spare, memory_order_relaxed);
	uint32_t fresh = atomic_load_explicit(&p->fresh, memory_order_relaxed);
	uint32_t next;
	char *at;

	if (spare == 0 && fresh == p->count)
		return NULL;
	at = p->memory + p->place_size * (spare > 0 ? spare - 1 : fresh);
	if (spare > 0) {
		memcpy(&next, at, sizeof next);
		atomic_store_explicit(&p->spare, next, memory_order_release);
	} else
		atomic_store_explicit(&p->fresh, fresh + 1, memory_order_release);
	return at;
}

static void give_back(struct journal_places *p, char *at)
{
	uint32_t next = atomic_load_explicit(&p->spare, memory_order_relaxed);

	memcpy(at, &next, sizeof next);
	atomic_store_explicit(&p->spare, (uint32_t)((size_t)(at - p->memory) / p->place_size) + 1,
	                      memory_order_release);
}

static bool is_in(const struct journal_places *p, const char *at)
{
	return p->memory != NULL && (uintptr_t)at - (uintptr_t)p->memory < p->place_size * p->count;
}

char *journal_begin(struct journals *j)
{
	return take(&j->small);
}

char *journal_room(struct journals *j, char *at, size_t used, size_t needed)
{
	char *large;

	if (needed <= (is_in(&j->small, at) ? JOURNAL_SMALL : HANDOVER_MAX))
		return at;
	large = needed <= HANDOVER_MAX ? take(&j->large) : NULL;
	if (large != NULL)
		memcpy(large, at, used);
	return large;
}

/* What a long answer took is given back to the system. */
void journal_end(struct journals *j, char *at, size_t used)
{
	if (is_in(&j->small, at)) {
		give_back(&j->small, at);
		return;
	}
	if (used > KEPT)
		madvise(at + KEPT, HANDOVER_MAX - KEPT, MADV_REMOVE);
	give_back(&j->large, at);
}
