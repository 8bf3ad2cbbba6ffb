/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/privacy.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* Two locks, each of which is enough: a limit of 0 means no file, and a filter of 0 leaves
 * nothing of the memory in what is dumped all the same (the kernel asks no limit where dumps
 * are piped to a program, and root can lift it). The hard limit goes too: nothing that we
 * start has a use for dumps, and none shall allow them to itself again. A unit's system call
 * filter may refuse it; its LimitCORE= then says the same.
 *
 * PR_SET_DUMPABLE would also close /proc/PID to our own user: a worker could not see its
 * parent where a unit says ProtectProc=invisible, and nobody but root could use a debugger
 * or look for leaks. It would hide nothing from that user, who may read our files. */
void privacy_no_core_dumps(void)
{
	const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
	int filter = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);

	setrlimit(RLIMIT_CORE, &none);
	if (filter < 0)
		return; /* a kernel without it dumps no programs */
	dprintf(filter, "0");
	close(filter);
}
