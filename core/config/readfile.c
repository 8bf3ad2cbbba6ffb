/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/readfile.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define STEP 8192

static int read_all(int fd, const char *path, struct buf *out, struct err *e)
{
	for (;;) {
		size_t room = out->max - out->len;
		char *to = buf_reserve(out, room < STEP ? room : STEP);
		char extra;
		ssize_t n;

		if (to == NULL)
			return err_set(e, "%s: out of memory", path);
		n = room == 0 ? read(fd, &extra, 1) : read(fd, to, room < STEP ? room : STEP);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(e, errno, "%s: cannot read", path);
		if (n == 0)
			return 0;
		if (room == 0)
			return err_set(e, "%s: longer than %zu bytes", path, out->max);
		buf_commit(out, (size_t)n);
	}
}

int readfile(const char *path, struct buf *out, struct stat *st, struct err *e)
{
	struct stat own;
	int result = -1, error = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		error = errno;
		err_set_errno(e, error, "%s: cannot open", path);
		goto out;
	}
	if (st == NULL)
		st = &own;
	if (fstat(fd, st) < 0)
		err_set_errno(e, errno, "%s: cannot look at", path);
	else if (!S_ISREG(st->st_mode))
		err_set(e, "%s: not a regular file", path);
	else
		result = read_all(fd, path, out, e);
	close(fd);
out:
	errno = error;
	return result;
}
