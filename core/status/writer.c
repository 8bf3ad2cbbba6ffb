/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/writer.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/status/safe_read.h"
#include "core/status/encode.h"
#include "core/status/layout.h"
#include "core/status/decode.h"
#include "core/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW_FILE  STATUS_FILE ".new" /* only the holder of the lock writes it */
#define LOCK_FILE "lock"
#define FILE_MODE 0600

/* The published file's header, mapped for the two words that change. */
struct live {
	struct status_header *header; /* NULL: nothing was published yet */
	dev_t dev;
	ino_t ino;
	off_t size;
	uint64_t epoch, generation;
};

struct status_writer {
	int dir_fd, lock_fd;
	char *dir; /* for messages */
	uint64_t generation;
	struct status_header who; /* what stays the same in each publication */
	struct live live;
};

static void unmap_live(struct live *live)
{
	if (live->header != NULL)
		munmap(live->header, sizeof *live->header);
	*live = (struct live){.header = NULL};
}

/* file: the content of fd. */
static int map_live(struct live *live, int fd, const struct stat *st, const char *file)
{
	const struct status_header *h = (const void *)file;
	void *map = mmap(NULL, sizeof *live->header, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return -1;
	*live = (struct live){
		.header = map,
		.dev = st->st_dev,
		.ino = st->st_ino,
		.size = st->st_size,
		.epoch = h->epoch,
		.generation = h->generation,
	};
	return 0;
}

/* --- taking over -------------------------------------------------------------------- */

static int name_holder(int fd, const char *dir, struct err *e)
{
	char text[32] = "";
	long pid = 0;

	if (pread(fd, text, sizeof text - 1, 0) > 0)
		pid = strtol(text, NULL, 10);
	if (pid > 0)
		return err_set(e, "lock %s/%s: process %ld holds it (another tt-agentd runs on this directory)", dir,
		               LOCK_FILE, pid);
	return err_set(e, "lock %s/%s: another process holds it (another tt-agentd runs on this directory)", dir,
	               LOCK_FILE);
}

static int take_lock(struct status_writer *w, struct err *e)
{
	char text[32];
	int len;

	w->lock_fd = openat(w->dir_fd, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
	if (w->lock_fd < 0)
		return err_set_errno(e, errno, "open %s/%s", w->dir, LOCK_FILE);
	if (flock(w->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return name_holder(w->lock_fd, w->dir, e);
		return err_set_errno(e, errno, "lock %s/%s", w->dir, LOCK_FILE);
	}
	len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
	if (ftruncate(w->lock_fd, 0) < 0 || pwrite(w->lock_fd, text, (size_t)len, 0) != len)
		log_event(LOG_LOCK_FILE, L_STR("dir", w->dir), L_STR("error", "the pid cannot be written to it"));
	return 0;
}

/* Takes over the generation of the last publication, and its header, so that the next
 * publication can mark it. A file that cannot be read is replaced without a mark. */
static void restore(struct status_writer *w)
{
	struct err e = ERR_INIT;
	struct stat st;
	char *file = NULL;
	int fd = openat(w->dir_fd, STATUS_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || fstat(fd, &st) < 0) {
		err_set_errno(&e, errno, "it cannot be opened");
	} else if ((file = decode_status(fd, &st, &e)) != NULL && map_live(&w->live, fd, &st, file) < 0) {
		err_set_errno(&e, errno, "it cannot be mapped");
	} else if (file != NULL) {
		w->generation = w->live.generation;
	}
	if (err_is_set(&e))
		log_event(LOG_STATUS_FILE, L_STR("dir", w->dir), L_STR("file", STATUS_FILE), L_STR("error", e.text),
		          L_STR("action", "the next publication replaces it"));
	free(file);
	if (fd >= 0)
		close(fd);
}

struct status_writer *status_writer_open(const char *dir, struct err *e)
{
	struct status_writer *w = calloc(1, sizeof *w);

	if (w == NULL) {
		err_set(e, "out of memory");
		return NULL;
	}
	safe_read_install();
	w->lock_fd = -1;
	w->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->dir = strdup(dir);
	if (w->dir_fd < 0)
		err_set_errno(e, errno, "open the run directory %s", dir);
	else if (w->dir == NULL)
		err_set(e, "out of memory");
	else if (take_lock(w, e) == 0) {
		process_boot_id(w->who.boot_id);
		w->who.writer_pid = getpid();
		w->who.writer_birth = process_birth();
		w->who.epoch = process_random();
		restore(w);
		return w;
	}
	status_writer_close(w);
	return NULL;
}

void status_writer_close(struct status_writer *w)
{
	if (w == NULL)
		return;
	unmap_live(&w->live);
	if (w->lock_fd >= 0)
		close(w->lock_fd);
	if (w->dir_fd >= 0)
		close(w->dir_fd);
	free(w->dir);
	free(w);
}

/* --- publishing ---------------------------------------------------------------------- */

static int write_all(int fd, const char *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, data + done, len - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : ENOSPC;
		done += (size_t)n;
	}
	return 0;
}

/* The complete new file under its temporary name; its file descriptor or -1. No fsync: the
 * content is worthless after a crash of the machine, and a sync would block the loop. */
static int write_new(struct status_writer *w, const struct buf *encoded, struct err *e)
{
	int fd, rc;

	unlinkat(w->dir_fd, NEW_FILE, 0);
	fd = openat(w->dir_fd, NEW_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
	if (fd < 0)
		return err_set_errno(e, errno, "create %s/%s", w->dir, NEW_FILE);
	rc = fchmod(fd, FILE_MODE) < 0 ? errno : posix_fallocate(fd, 0, (off_t)encoded->len);
	if (rc == 0)
		rc = write_all(fd, encoded->data, encoded->len);
	if (rc == 0)
		return fd;
	err_set_errno(e, rc, "write %s/%s", w->dir, NEW_FILE);
	close(fd);
	unlinkat(w->dir_fd, NEW_FILE, 0);
	return -1;
}

static int put_in_place(struct status_writer *w, const struct buf *encoded, struct live *live, struct err *e)
{
	struct stat st;
	int fd = write_new(w, encoded, e);
	int result = -1;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0 || map_live(live, fd, &st, encoded->data) < 0) {
		err_set_errno(e, errno, "map %s/%s", w->dir, NEW_FILE);
	} else if (renameat(w->dir_fd, NEW_FILE, w->dir_fd, STATUS_FILE) < 0) {
		err_set_errno(e, errno, "rename %s/%s to %s", w->dir, NEW_FILE, STATUS_FILE);
		unmap_live(live);
	} else {
		result = 0;
	}
	close(fd);
	if (result < 0)
		unlinkat(w->dir_fd, NEW_FILE, 0);
	return result;
}

int status_publish(struct status_writer *w, struct status_view *v, struct err *e)
{
	struct buf encoded = BUF_INIT(0);
	struct live live = {.header = NULL};
	int result = -1;

	v->generation = w->generation + 1;
	w->who.published_ms = clock_wall_ms();
	w->who.heartbeat_ms = clock_boot_ms();
	if (encode_status(&encoded, &w->who, v, e) == 0 && put_in_place(w, &encoded, &live, e) == 0) {
		if (w->live.header != NULL)
			safe_store(&w->live.header->superseded, v->generation);
		unmap_live(&w->live);
		w->live = live;
		w->generation = v->generation;
		result = 0;
	}
	buf_free(&encoded);
	return result;
}

uint64_t status_writer_generation(const struct status_writer *w)
{
	return w->generation;
}

bool status_heartbeat(struct status_writer *w)
{
	struct stat st;

	if (w->live.header == NULL)
		return true;
	if (!safe_store(&w->live.header->heartbeat_ms, (uint64_t)clock_boot_ms()) ||
	    !decode_is_same(w->live.header, w->live.epoch, w->live.generation))
		return false;
	return fstatat(w->dir_fd, STATUS_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == w->live.dev &&
	       st.st_ino == w->live.ino && st.st_size == w->live.size;
}
