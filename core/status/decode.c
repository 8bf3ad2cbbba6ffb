/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/decode.h"

#include "core/status/safe_read.h"
#include "core/status/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Only root and the reader's own user may say where chats go; root reads anybody's. */
static int check_file(const struct stat *st, struct err *e)
{
	uid_t self = geteuid();

	if (!S_ISREG(st->st_mode))
		return err_set(e, "it is no regular file");
	if (self != 0 && st->st_uid != self && st->st_uid != 0)
		return err_set(e, "it belongs to user %lu", (unsigned long)st->st_uid);
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return err_set(e, "others can write it (mode %04o)", (unsigned)st->st_mode & 07777);
	if (st->st_size < (off_t)sizeof(struct status_header))
		return err_set(e, "it is damaged: only %lld bytes", (long long)st->st_size);
	if (st->st_size > (off_t)STATUS_MAX_SIZE)
		return err_set(e, "it is larger than %u bytes", STATUS_MAX_SIZE);
	return 0;
}

static int read_all(int fd, char *to, size_t size, struct err *e)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, to + done, size - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(e, errno, "can't read it");
		if (n == 0)
			return err_set(e, "it was cut while it was read");
		done += (size_t)n;
	}
	return 0;
}

char *decode_status(int fd, const struct stat *st, struct err *e)
{
	size_t size = (size_t)st->st_size;
	char *image;

	if (check_file(st, e) < 0)
		return NULL;
	image = malloc(size);
	if (image == NULL) {
		err_set(e, "out of memory for its %zu bytes", size);
		return NULL;
	}
	if (read_all(fd, image, size, e) == 0 && status_validate(image, size, e) == 0)
		return image;
	free(image);
	return NULL;
}

bool decode_is_same(const struct status_header *live, uint64_t epoch, uint64_t generation)
{
	uint64_t magic_now, epoch_now, generation_now;

	return safe_load(&live->magic, &magic_now) && magic_now == STATUS_MAGIC &&
	       safe_load(&live->epoch, &epoch_now) && epoch_now == epoch &&
	       safe_load(&live->generation, &generation_now) && generation_now == generation;
}
