/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/readfile.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
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
			return err_set(e, "read %s: out of memory", path);
		n = room == 0 ? read(fd, &extra, 1) : read(fd, to, room < STEP ? room : STEP);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(e, errno, "read %s", path);
		if (n == 0)
			return 0;
		if (room == 0)
			return err_set(e, "read %s: longer than %zu bytes", path, out->max);
		buf_commit(out, (size_t)n);
	}
}

/* Says who may not read it. */
static void set_open_error(struct err *e, const char *path, int error)
{
	const struct passwd *user = error == EACCES ? getpwuid(geteuid()) : NULL;
	const struct group *group = user != NULL ? getgrgid(user->pw_gid) : NULL;

	if (group == NULL)
		err_set_errno(e, error, "open %s", path);
	else
		err_set(e, "open %s: %s (%s runs as %s: chown root:%s, chmod 640)", path, strerror(error),
		        program_invocation_short_name, user->pw_name, group->gr_name);
}

int readfile(const char *path, struct buf *out, struct stat *st, struct err *e)
{
	struct stat own;
	int result = -1, error = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		error = errno;
		set_open_error(e, path, error);
		goto out;
	}
	if (st == NULL)
		st = &own;
	if (fstat(fd, st) < 0)
		err_set_errno(e, errno, "stat %s", path);
	else if (!S_ISREG(st->st_mode))
		err_set(e, "open %s: not a regular file", path);
	else
		result = read_all(fd, path, out, e);
	close(fd);
out:
	errno = error;
	return result;
}
