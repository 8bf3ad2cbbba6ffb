/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/admission.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ENTRIES_MAX 65536u /* turns of one worker; memory that is never touched is never allocated */

#define FREE      UINT64_C(0)
#define NO_CLIENT UINT64_MAX /* the client has no address */

/* One entry for each running turn: its client. Only its worker writes. */
struct page {
	_Atomic uint32_t turns;
	_Atomic uint32_t end; /* all entries from here on are free */
	uint32_t free_from;   /* all entries before it are taken; only its worker reads it */
	_Atomic uint64_t clients[ENTRIES_MAX];
};

struct admission {
	unsigned workers;
	size_t size;
	struct page *pages;
};

struct admission *admission_new(unsigned workers, struct err *e)
{
	struct admission *a = calloc(1, sizeof *a);

	if (a == NULL) {
		err_set(e, "no memory for admission control");
		return NULL;
	}
	a->workers = workers;
	a->size = workers * sizeof *a->pages;
	a->pages = mmap(NULL, a->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (a->pages == MAP_FAILED) {
		err_set_errno(e, errno, "no memory for admission control");
		free(a);
		return NULL;
	}
	return a;
}

void admission_free(struct admission *a)
{
	if (a == NULL)
		return;
	munmap(a->pages, a->size);
	free(a);
}

void admission_clear(struct admission *a, unsigned worker)
{
	struct page *p = &a->pages[worker];

	for (uint32_t i = 0, end = p->end; i < end; i++)
		p->clients[i] = FREE;
	p->turns = p->end = p->free_from = 0;
}

/* --- clients ----------------------------------------------------------------------------------- */

static uint64_t number_from(const uint8_t *bytes, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n = n << 8 | bytes[i];
	return n;
}

/* IPv4 addresses use the range of the IPv4-mapped ones, in which there is no IPv6 network. */
uint64_t admission_client(const char *address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct in6_addr v6;
	struct in_addr v4;
	uint64_t network;

	if (address == NULL)
		return NO_CLIENT;
	if (inet_pton(AF_INET, address, &v4) == 1)
		return UINT64_C(0xffff) << 32 | ntohl(v4.s_addr);
	if (inet_pton(AF_INET6, address, &v6) != 1)
		return NO_CLIENT;
	if (memcmp(v6.s6_addr, mapped, sizeof mapped) == 0)
		return UINT64_C(0xffff) << 32 | number_from(v6.s6_addr + 12, 4);
	network = number_from(v6.s6_addr, 8);
	return network == FREE ? 1 : network; /* ::1 */
}

/* --- counts ------------------------------------------------------------------------------ */

static size_t all_turns(const struct admission *a)
{
	size_t n = 0;

	for (unsigned w = 0; w < a->workers; w++)
		n += atomic_load_explicit(&a->pages[w].turns, memory_order_seq_cst);
	return n;
}

static size_t turns_of(const struct admission *a, uint64_t client)
{
	size_t n = 0;

	for (unsigned w = 0; w < a->workers; w++) {
		const struct page *p = &a->pages[w];

		for (uint32_t i = 0, end = p->end; i < end; i++)
			n += atomic_load_explicit(&p->clients[i], memory_order_relaxed) == client;
	}
	return n;
}

/* --- enter and leave ------------------------------------------------------------------------------ */

static bool take_entry(struct page *p, uint64_t client, unsigned *entry)
{
	uint32_t i = p->free_from;

	while (i < ENTRIES_MAX && p->clients[i] != FREE)
		i++;
	p->free_from = i;
	if (i == ENTRIES_MAX)
		return false;
	p->clients[i] = client;
	if (i >= p->end)
		p->end = i + 1;
	p->turns++;
	*entry = i;
	return true;
}

/* The turn is entered before the others are counted, so that one that enters at the same time on
 * another worker sees it. */
enum admission_verdict admission_enter(struct admission *a, unsigned worker, const char *address,
                                       const struct admission_limits *limits, unsigned *entry)
{
	enum admission_verdict v = ADMISSION_GRANTED;
	uint64_t client = admission_client(address);

	if (!take_entry(&a->pages[worker], client, entry))
		return ADMISSION_WORKER_FULL;
	if (limits->worker_turns > 0 && a->pages[worker].turns > limits->worker_turns)
		v = ADMISSION_WORKER_FULL;
	else if (limits->turns > 0 && all_turns(a) > limits->turns)
		v = ADMISSION_FULL;
	else if (limits->client_turns > 0 && client != NO_CLIENT && turns_of(a, client) > limits->client_turns)
		v = ADMISSION_CLIENT_FULL;
	if (v != ADMISSION_GRANTED)
		admission_leave(a, worker, *entry);
	return v;
}

void admission_leave(struct admission *a, unsigned worker, unsigned entry)
{
	struct page *p = &a->pages[worker];
	uint32_t end = p->end;

	p->clients[entry] = FREE;
	if (entry < p->free_from)
		p->free_from = entry;
	while (end > 0 && p->clients[end - 1] == FREE)
		end--;
	p->end = end;
	p->turns--;
}

bool admission_others_have_room(const struct admission *a, unsigned worker, size_t worker_turns)
{
	if (a->pages[worker].turns < worker_turns)
		return false;
	for (unsigned w = 0; w < a->workers; w++)
		if (atomic_load_explicit(&a->pages[w].turns, memory_order_relaxed) < worker_turns)
			return true;
	return false;
}
