/* SPDX-License-Identifier: Apache-2.0 */
/* What all processes of a run take together, from /proc: where no control group counts it. */
#ifndef TT_RUNNER_USAGE_H
#define TT_RUNNER_USAGE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct usage_process {
	pid_t pid;
	uint64_t birth;      /* in ticks since boot: whether it is still the same */
	int64_t cpu, waited; /* in ticks: its own, and that of ended processes it waited for */
};

/* Zero at first. */
struct usage {
	struct usage_process *seen; /* at the last look */
	size_t count;
	int64_t lost; /* ticks of processes that ended and that nobody waited for */
};

/* Looks at root and all below it; more often is more exact, because a process that begins and ends between two looks
 * counts only if its parent waits for it. memory_bytes: of pages, those that processes share counted once where the sum
 * would exceed memory_max, page tables, swap, and the buffers of sockets. -1: no memory, nothing is known. */
int usage_check(struct usage *u, pid_t root, int64_t memory_max, int64_t *cpu_us, int64_t *memory_bytes);
void usage_clear(struct usage *u);

#endif
