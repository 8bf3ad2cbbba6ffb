/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/sidecar.h"

#include "core/base/process.h"
#include "core/status/mapped_file.h"
#include "core/status/safe_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
	void *mapped = mapped_file_open(s->path, s->kind->size, true, &s->fd);

	if (mapped == NULL || fits(s, mapped))
		return mapped;
	sidecar_unmap(s, mapped);
	return NULL;
}

static int make_file(const struct sidecar *s, struct err *e)
{
	const struct sidecar_head head = head_of(s);
	const struct mapped_file_content content = {
		.head = &head, .head_len = sizeof head, .allocated = s->kind->allocated, .size = s->kind->size};

	return mapped_file_make(s->path, &content, e);
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
	fd = mapped_file_lock(directory, e);
	if (fd < 0)
		return NULL;
	mapped = map(s);
	if (mapped == NULL && make && make_file(s, e) == 0)
		mapped = map(s);
	if (mapped == NULL)
		err_set(e, "%s cannot be mapped", s->path); /* unless e has a better reason */
	close(fd);
	return mapped;
}

void sidecar_unmap(struct sidecar *s, void *mapped)
{
	mapped_file_close(mapped, s->kind->size, &s->fd);
}

bool sidecar_has_moved(const struct sidecar *s, const void *mapped)
{
	uint64_t retired;

	return !mapped_file_is_in_place(s->path, s->fd, s->kind->size) ||
	       !safe_load(&((const struct sidecar_head *)mapped)->retired, &retired) || retired != 0;
}
