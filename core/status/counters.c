/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/counters.h"

#include "core/base/clock.h"
#include "core/status/safe_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNTERS_MAGIC   UINT64_C(0x544e554f43474154) /* "TAGCOUNT", little endian */
#define COUNTERS_VERSION 1
#define PREFIX           "worker."
#define WORKERS_MAX      1024

struct counters_file {
	uint64_t magic;
	uint64_t version;
	int64_t writer_pid;
	_Atomic int64_t values[COUNTERS];
};

struct counters {
	struct counters_file *file;
	int fd;                /* holds the lock */
	int64_t work_began_ns; /* in this iteration of the loop; 0: not yet */
};

#define COUNTER(id, name, help) {name, help, false, false},
#define GAUGE(id, name, help)   {name, help, true, false},
#define MAXIMUM(id, name, help) {name, help, true, true},
static const struct {
	const char *name, *help;
	bool gauge, maximum;
} table[] = {
#include "core/status/counters.def"
};
#undef COUNTER
#undef GAUGE
#undef MAXIMUM

const char *counter_name(enum counter id)
{
	return table[id].name;
}

const char *counter_help(enum counter id)
{
	return table[id].help;
}

static struct flock whole_file(void)
{
	return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

/* The first worker.N that nobody holds, locked; -1 with e. */
static int claim(const char *dir, char *path, size_t size, struct err *e)
{
	for (int n = 0; n < WORKERS_MAX; n++) {
		struct flock lock = whole_file();
		int fd;

		snprintf(path, size, "%s/" PREFIX "%d", dir, n);
		fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
		if (fd < 0)
			return err_set_errno(e, errno, "open %s", path);
		if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
			return fd;
		if (errno != EAGAIN && errno != EACCES) {
			err_set_errno(e, errno, "lock %s", path);
			close(fd);
			return -1;
		}
		close(fd);
	}
	return err_set(e, "%d workers already have their counters in %s", WORKERS_MAX, dir);
}

static struct counters_file *map_file(int fd, int protection)
{
	void *map = mmap(NULL, sizeof(struct counters_file), protection, MAP_SHARED, fd, 0);

	return map != MAP_FAILED ? map : NULL;
}

static bool is_ours(const struct counters_file *f)
{
	struct counters_file head;

	return safe_copy(&head, f, offsetof(struct counters_file, values)) && head.magic == COUNTERS_MAGIC &&
	       head.version == COUNTERS_VERSION;
}

static void begin(struct counters_file *f)
{
	bool fresh = !is_ours(f);

	for (size_t i = 0; i < COUNTERS; i++)
		if (fresh || table[i].gauge)
			safe_store(&f->values[i], 0);
	safe_store(&f->version, COUNTERS_VERSION);
	safe_store(&f->writer_pid, (uint64_t)getpid());
	safe_store(&f->magic, COUNTERS_MAGIC);
}

struct counters *counters_open(const char *dir, struct err *e)
{
	char path[4096];
	struct counters *c = calloc(1, sizeof *c);
	int rc;

	if (c == NULL) {
		err_set(e, "out of memory");
		return NULL;
	}
	safe_read_install();
	c->fd = claim(dir, path, sizeof path, e);
	if (c->fd < 0)
		goto bad;
	/* Allocated, so that a full file system is an error here and not a signal later. */
	rc = posix_fallocate(c->fd, 0, sizeof *c->file);
	if (rc != 0) {
		err_set_errno(e, rc, "allocate %s", path);
		goto bad;
	}
	c->file = map_file(c->fd, PROT_READ | PROT_WRITE);
	if (c->file == NULL) {
		err_set_errno(e, errno, "map %s", path);
		goto bad;
	}
	begin(c->file);
	return c;
bad:
	if (c->fd >= 0)
		close(c->fd);
	free(c);
	return NULL;
}

void counters_close(struct counters *c)
{
	if (c == NULL)
		return;
	munmap(c->file, sizeof *c->file);
	close(c->fd);
	free(c);
}

void counters_add(struct counters *c, enum counter id, int64_t n)
{
	if (c != NULL)
		safe_add(&c->file->values[id], n);
}

void counters_begin_work(struct counters *c)
{
	if (c != NULL && c->work_began_ns == 0)
		c->work_began_ns = clock_mono_ns();
}

void counters_begin_work_at(struct counters *c, int64_t now_ns)
{
	if (c != NULL && c->work_began_ns == 0)
		c->work_began_ns = now_ns;
}

void counters_end_iteration(struct counters *c, int64_t now_ns)
{
	_Atomic int64_t *longest;
	int64_t us;
	uint64_t value;

	if (c == NULL || c->work_began_ns == 0)
		return;
	longest = &c->file->values[COUNTER_LONGEST_ITERATION];
	us = (now_ns - c->work_began_ns) / 1000;
	c->work_began_ns = 0;
	if (safe_load(longest, &value) && (int64_t)value < us)
		safe_add(longest, us - (int64_t)value);
}

static bool has_writer(int fd)
{
	struct flock lock = whole_file();

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

/* A file of an earlier build may hold fewer counters. */
static size_t counters_in(const struct stat *st)
{
	size_t head = offsetof(struct counters_file, values), size = (size_t)st->st_size;
	size_t count = size > head ? (size - head) / sizeof(int64_t) : 0;

	return count < COUNTERS ? count : COUNTERS;
}

static void add_file(int fd, int64_t sums[COUNTERS])
{
	struct stat st;
	struct counters_file *f;
	bool lives;
	size_t count;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (f = map_file(fd, PROT_READ)) == NULL)
		return;
	lives = has_writer(fd);
	count = is_ours(f) ? counters_in(&st) : 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t value;

		if ((!lives && table[i].gauge) || !safe_load(&f->values[i], &value))
			continue;
		if (table[i].maximum)
			sums[i] = (int64_t)value > sums[i] ? (int64_t)value : sums[i];
		else
			sums[i] = (int64_t)((uint64_t)sums[i] + value); /* any value, if it is damaged */
	}
	munmap(f, sizeof *f);
}

static bool is_worker_file(const char *name)
{
	const char *number = name + strlen(PREFIX);

	return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && *number != '\0' &&
	       strspn(number, "0123456789") == strlen(number);
}

int counters_sum(const char *dir, int64_t sums[COUNTERS], struct err *e)
{
	DIR *d = opendir(dir);
	const struct dirent *entry;

	memset(sums, 0, COUNTERS * sizeof sums[0]);
	if (d == NULL)
		return err_set_errno(e, errno, "open %s", dir);
	safe_read_install();
	while ((entry = readdir(d)) != NULL) {
		int fd;

		if (!is_worker_file(entry->d_name))
			continue;
		fd = openat(dirfd(d), entry->d_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd < 0)
			continue;
		add_file(fd, sums);
		close(fd);
	}
	closedir(d);
	return 0;
}
