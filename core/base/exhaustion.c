/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/exhaustion.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define RESERVED_MOST 16u
#define RESERVED_PART 8u /* at most one in this many */

static const struct {
	int error;
	const char *text; /* NULL: made with the limit */
} exhaustions[] = {
	{EMFILE, NULL},
	{ENFILE, "the system has no file descriptor left: raise fs.file-max (sysctl)"},
	{ENOBUFS, "the system is out of memory for sockets"},
	{ENOMEM, "out of memory"},
};

static const size_t count = sizeof exhaustions / sizeof exhaustions[0];

bool exhaustion_is(int error)
{
	for (size_t i = 0; i < count; i++)
		if (exhaustions[i].error == error)
			return true;
	return false;
}

const char *exhaustion_text(int error, char *out, size_t size)
{
	const char *text = strerror(error);

	for (size_t i = 0; i < count; i++)
		if (exhaustions[i].error == error)
			text = exhaustions[i].text;
	if (text != NULL)
		snprintf(out, size, "%s", text);
	else
		snprintf(
			out, size,
			"all %zu file descriptors of this process are in use: raise LimitNOFILE= of its unit, or ulimit -n",
			exhaustion_descriptors());
	return out;
}

int exhaustion_now(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

size_t exhaustion_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1024;
	return limit.rlim_cur < INT32_MAX ? (size_t)limit.rlim_cur : INT32_MAX;
}

bool exhaustion_is_reserved(int fd)
{
	size_t all = exhaustion_descriptors();
	size_t reserved = all / RESERVED_PART < RESERVED_MOST ? all / RESERVED_PART : RESERVED_MOST;

	return (size_t)fd + reserved >= all;
}
