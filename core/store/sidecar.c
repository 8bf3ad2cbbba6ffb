/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/sidecar.h"

#include "core/base/process.h"
#include "core/status/safe_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int sidecar_init(struct sidecar *s, const struct sidecar_kind *kind, const char *file)
{
	*s = (struct sidecar){.kind = kind, .fd = -1};
	safe_read_install();
	if (asprintf(&s->path, "%s%s", file, kind->suffix) >= 0)
		return 0;
	s->path = NULL;
	return -1;
}

void sidecar_free(struct sidecar *s)
{
	free(s->path);
	s->path = NULL;
}

static struct sidecar_head head_of(const struct sidecar *s)
{
	struct sidecar_head head = {.magic = s->kind->magic,
	                            .layout = s->kind->layout,
	                            .size = s->kind->size,
	                            .device = (uint64_t)s->device,
	                            .inode = (uint64_t)s->inode};

	process_boot_id(head.boot_id);
	return head;
}

static bool fits(const struct sidecar *s, const void *mapped)
{
	const struct sidecar_head wanted = head_of(s);
	struct sidecar_head found;

	return safe_copy(&found, mapped, sizeof found) && memcmp(&found, &wanted, sizeof found) == 0;
}

static void *map(struct sidecar *s)
{
	void *mapped = MAP_FAILED;
	struct stat st;

	s->fd = open(s->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (s->fd >= 0 && fstat(s->fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)s->kind->size)
		mapped = mmap(NULL, s->kind->size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	if (mapped != MAP_FAILED && fits(s, mapped))
		return mapped;
	sidecar_unmap(s, mapped != MAP_FAILED ? mapped : NULL);
	return NULL;
}

static int make_file(const struct sidecar *s, struct err *e)
{
	const struct sidecar_head head = head_of(s);
	char temporary[4200];
	int fd;

	snprintf(temporary, sizeof temporary, "%s.new", s->path);
	unlink(temporary);
	fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set_errno(e, errno, "open %s", temporary);
	if ((errno = posix_fallocate(fd, 0, s->kind->allocated)) != 0 || ftruncate(fd, s->kind->size) < 0 ||
	    pwrite(fd, &head, sizeof head, 0) != (ssize_t)sizeof head || rename(temporary, s->path) < 0) {
		err_set_errno(e, errno, "write %s", temporary);
		unlink(temporary);
		close(fd);
		return -1;
	}
	close(fd);
	return 0;
}

/* Of several processes that start at once, one makes the file. */
void *sidecar_map(struct sidecar *s, dev_t device, ino_t inode, bool make, struct err *e)
{
	char directory[4200];
	void *mapped = NULL;
	char *slash;
	int fd;

	s->device = device;
	s->inode = inode;
	snprintf(directory, sizeof directory, "%s", s->path);
	slash = strrchr(directory, '/');
	if (slash == NULL)
		snprintf(directory, sizeof directory, ".");
	else
		slash[slash == directory] = '\0';
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX) < 0) {
		err_set_errno(e, errno, "lock the directory %s", directory);
	} else {
		mapped = map(s);
		if (mapped == NULL && make && make_file(s, e) == 0)
			mapped = map(s);
		if (mapped == NULL)
			err_set(e, "%s cannot be mapped", s->path); /* unless e has a better reason */
	}
	if (fd >= 0)
		close(fd);
	return mapped;
}

void sidecar_unmap(struct sidecar *s, void *mapped)
{
	if (mapped != NULL)
		munmap(mapped, s->kind->size);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

bool sidecar_has_moved(const struct sidecar *s, const void *mapped)
{
	struct stat ours, there;
	uint64_t retired;

	return fstat(s->fd, &ours) < 0 || stat(s->path, &there) < 0 || ours.st_dev != there.st_dev ||
	       ours.st_ino != there.st_ino || there.st_size != (off_t)s->kind->size ||
	       !safe_load(&((const struct sidecar_head *)mapped)->retired, &retired) || retired != 0;
}
