/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/mapped_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int mapped_file_lock(const char *directory, struct err *e)
{
	const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX) == 0)
		return fd;
	err_set_errno(e, errno, "lock the directory %s", directory);
	if (fd >= 0)
		close(fd);
	return -1;
}

int mapped_file_make(const char *path, const struct mapped_file_content *content, struct err *e)
{
	char temporary[4200];
	int fd;

	snprintf(temporary, sizeof temporary, "%s.new", path);
	unlink(temporary);
	fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set_errno(e, errno, "open %s", temporary);
	if (ftruncate(fd, (off_t)content->size) < 0 ||
	    (errno = posix_fallocate(fd, 0, (off_t)content->allocated)) != 0 ||
	    pwrite(fd, content->head, content->head_len, 0) != (ssize_t)content->head_len ||
	    rename(temporary, path) < 0) {
		err_set_errno(e, errno, "write %s", temporary);
		unlink(temporary);
		close(fd);
		return -1;
	}
	close(fd);
	return 0;
}

void *mapped_file_open(const char *path, size_t size, bool writes, int *fd)
{
	void *map = MAP_FAILED;
	struct stat st;

	*fd = open(path, (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (*fd >= 0 && fstat(*fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)size)
		map = mmap(NULL, size, writes ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, *fd, 0);
	if (map != MAP_FAILED)
		return map;
	mapped_file_close(NULL, size, fd);
	return NULL;
}

void mapped_file_close(void *map, size_t size, int *fd)
{
	if (map != NULL)
		munmap(map, size);
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

bool mapped_file_is_in_place(const char *path, int fd, size_t size)
{
	struct stat ours, there;

	return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_dev == there.st_dev &&
	       ours.st_ino == there.st_ino && there.st_size == (off_t)size;
}
