/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/process.h"

#include "core/base/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#define BIRTH_FIELD 22 /* of /proc/PID/stat, counted from 1 */

/* Either of two locks is enough: a limit of 0 means no file, and a filter of 0 leaves no
 * memory in a dump that is made anyway (the kernel ignores the limit where dumps are piped to
 * a program, and root can raise it). The hard limit is 0 as well: no program that we start
 * needs dumps, and none may allow itself dumps again. A unit's system call filter may refuse
 * the call; its LimitCORE= then does the same.
 *
 * PR_SET_DUMPABLE would also close /proc/PID to our own user: a worker could not see its
 * parent where a unit has ProtectProc=invisible, and only root could attach a debugger or
 * check for leaks. It would hide nothing from that user, who can read our files. */
void process_no_core_dumps(void)
{
	const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
	int filter = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);

	setrlimit(RLIMIT_CORE, &none);
	if (filter < 0)
		return; /* a kernel without it does not dump programs */
	dprintf(filter, "0");
	close(filter);
}

void process_raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* --- identity --------------------------------------------------------------------------- */

static size_t read_small(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd >= 0) {
		n = read(fd, out, size - 1);
		close(fd);
	}
	out[n > 0 ? n : 0] = '\0';
	return n > 0 ? (size_t)n : 0;
}

static int hex(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c != '\0' ? strchr(digits, c) : NULL;

	return at != NULL ? (int)(at - digits) : -1;
}

void process_boot_id(uint8_t id[16])
{
	char text[64];
	size_t len = read_small("/proc/sys/kernel/random/boot_id", text, sizeof text), digits = 0;

	memset(id, 0, 16);
	for (size_t i = 0; i < len && digits < 32; i++) {
		int value = hex(text[i]);

		if (value < 0)
			continue;
		id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | value);
		digits++;
	}
	if (digits != 32)
		memset(id, 0, 16);
}

bool process_is_other_boot(const uint8_t a[16], const uint8_t b[16])
{
	static const uint8_t unknown[16];

	if (memcmp(a, unknown, 16) == 0 || memcmp(b, unknown, 16) == 0)
		return false;
	return memcmp(a, b, 16) != 0;
}

static uint64_t birth_in(const char *path)
{
	char text[1024];
	char *at;

	read_small(path, text, sizeof text);
	at = strrchr(text, ')'); /* field 2 may hold anything, also spaces */
	for (int field = 2; at != NULL && field < BIRTH_FIELD; field++) {
		at = strchr(at, ' ');
		at = at != NULL ? at + 1 : NULL;
	}
	return at != NULL ? strtoull(at, NULL, 10) : 0;
}

uint64_t process_birth(void)
{
	return birth_in("/proc/self/stat");
}

uint64_t process_birth_of(long pid)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%ld/stat", pid);
	return birth_in(path);
}

uint64_t process_random(void)
{
	uint64_t value = 0;

	if (getentropy(&value, sizeof value) != 0)
		value = (uint64_t)clock_mono_ns() ^ (uint64_t)getpid() << 32;
	return value;
}
