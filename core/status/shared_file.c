/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/shared_file.h"

#include "core/base/clock.h"
#include "core/base/process.h"
#include "core/status/mapped_file.h"
#include "core/status/safe_read.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOCK_WAIT_NS 300000000 /* a process that stands still with the lock must not stop the others */
#define STUCK_NS     1000000000

_Static_assert(sizeof(struct shared_head) == 48 + 16 * SHARED_FILE_PAGES, "layout");

struct shared_file {
	const struct shared_kind *kind;
	char *directory, *path;
	int fd;
	struct shared_head *head; /* NULL: it cannot be used */
	uint32_t page;
	int64_t pid;            /* this process, which getpid asks the kernel for each time */
	int64_t stuck_until_ns; /* the lock could not be had */
};

/* ---- the file ---------------------------------------------------------------------------------- */

static bool is_current(const struct shared_kind *kind, const void *map)
{
	struct shared_head head;
	uint8_t boot[16];

	if (!safe_copy(&head, map, offsetof(struct shared_head, claims)) || head.magic != kind->magic ||
	    head.version != kind->version || head.size != kind->size)
		return false;
	process_boot_id(boot);
	return memcmp(head.boot_id, boot, sizeof boot) == 0;
}

/* The pages of processes are allocated when they are claimed. */
static int make_file(const struct shared_file *f, struct err *e)
{
	const struct shared_kind *kind = f->kind;
	struct shared_head head = {
		.magic = kind->magic, .version = kind->version, .size = kind->size, .random = process_random()};
	const struct mapped_file_content content = {
		.head = &head, .head_len = sizeof head, .allocated = kind->pages_at, .size = kind->size};

	process_boot_id(head.boot_id);
	return mapped_file_make(f->path, &content, e);
}

/* The file of this boot and this layout; NULL: there is none. */
static void *map_file(const char *path, const struct shared_kind *kind, bool writes, int *fd)
{
	void *map = mapped_file_open(path, kind->size, writes, fd);

	if (map == NULL || is_current(kind, map))
		return map;
	mapped_file_close(map, kind->size, fd);
	return NULL;
}

static void unmap(struct shared_file *f)
{
	mapped_file_close(f->head, f->kind->size, &f->fd);
	f->head = NULL;
}

static bool remap(struct shared_file *f)
{
	f->head = map_file(f->path, f->kind, true, &f->fd);
	return f->head != NULL;
}

/* ---- the lock -------------------------------------------------------------------------------------- */

static bool is_dead(int64_t pid)
{
	return pid <= 0 || pid > INT32_MAX || (kill((pid_t)pid, 0) < 0 && errno == ESRCH);
}

/* False: it could not be had in time. */
static bool wait_for_lock(struct shared_file *f)
{
	_Atomic uint64_t *word = &f->head->lock;
	const uint64_t self = (uint64_t)f->pid;
	const struct timespec pause = {.tv_nsec = 20000};
	int64_t until_ns = 0;
	uint64_t owner = 0;

	for (unsigned tries = 1; !atomic_compare_exchange_strong(word, &owner, self); tries++, owner = 0) {
		if (tries % 64 != 0)
			continue;
		if (until_ns == 0)
			until_ns = clock_mono_ns() < f->stuck_until_ns ? 1 : clock_mono_ns() + LOCK_WAIT_NS;
		if (owner != 0 && is_dead((int64_t)owner) && atomic_compare_exchange_strong(word, &owner, self)) {
			f->kind->recount(f->head);
			break;
		}
		if (clock_mono_ns() >= until_ns) {
			f->stuck_until_ns = clock_mono_ns() + STUCK_NS;
			return false;
		}
		nanosleep(&pause, NULL); /* for the one that has it, if it has no processor */
	}
	return true;
}

static bool lock(struct shared_file *f)
{
	uint64_t owner = 0;

	return atomic_compare_exchange_strong(&f->head->lock, &owner, (uint64_t)f->pid) || wait_for_lock(f);
}

struct change {
	struct shared_file *file;
	void (*run)(void *file, void *arg);
	void *arg;
	bool done;
};

static void run_locked(void *arg)
{
	struct change *c = arg;

	if (!lock(c->file))
		return;
	c->run(c->file->head, c->arg);
	atomic_store(&c->file->head->lock, 0);
	c->done = true;
}

bool shared_file_change(struct shared_file *f, void (*run)(void *file, void *arg), void *arg)
{
	struct change c = {.file = f, .run = run, .arg = arg};

	if (f->head == NULL)
		return false;
	if (safe_call(run_locked, &c))
		return c.done;
	safe_store(&f->head->lock, 0); /* if that page is still there, others wait for it */
	unmap(f);                      /* shared_file_tick makes another one */
	return false;
}

/* ---- the pages of processes --------------------------------------------------------------------------- */

static char *page_at(struct shared_file *f, uint32_t page)
{
	return (char *)f->head + f->kind->pages_at + (size_t)page * f->kind->page_size;
}

static void clear_page(struct shared_file *f, uint32_t page)
{
	memset(page_at(f, page), 0, f->kind->page_size);
	f->head->claims[page].pid = 0;
	f->head->claims[page].birth = 0;
}

static bool lives(const struct shared_head *h, uint32_t page)
{
	uint64_t birth, claimed = h->claims[page].birth;

	if (is_dead(h->claims[page].pid))
		return false;
	birth = process_birth_of((long)h->claims[page].pid);
	return birth == 0 || claimed == 0 || birth == claimed;
}

static void clear_dead(void *file, void *arg)
{
	struct shared_file *f = arg;
	bool found = false;

	for (uint32_t p = 0; p < SHARED_FILE_PAGES; p++)
		if (f->head->claims[p].pid != 0 && !lives(f->head, p)) {
			clear_page(f, p);
			found = true;
		}
	if (found)
		f->kind->recount(file);
}

struct claim {
	struct shared_file *file;
	int error; /* errno */
};

static void claim_page(void *file, void *arg)
{
	struct claim *c = arg;
	struct shared_file *f = c->file;
	uint32_t p = 0;

	clear_dead(file, f);
	while (p < SHARED_FILE_PAGES && f->head->claims[p].pid != 0)
		p++;
	c->error = p == SHARED_FILE_PAGES
	                   ? ENOSPC
	                   : posix_fallocate(f->fd, (off_t)(page_at(f, p) - (char *)file), (off_t)f->kind->page_size);
	if (c->error != 0)
		return;
	f->page = p;
	clear_page(f, p); /* as a truncated change may have left it */
	f->head->claims[p].pid = f->pid;
	f->head->claims[p].birth = process_birth();
}

static void leave_page(void *file, void *arg)
{
	struct shared_file *f = arg;

	clear_page(f, f->page);
	f->kind->recount(file);
}

/* Of several processes that start at once, one makes the file. */
static int open_file(struct shared_file *f, struct err *e)
{
	struct claim c = {.file = f};
	int fd = mapped_file_lock(f->directory, e), result = -1;

	if (fd < 0)
		return -1;
	if (!remap(f) && (make_file(f, e) < 0 || !remap(f)))
		err_set(e, "%s cannot be mapped", f->path);
	else if (!shared_file_change(f, claim_page, &c))
		err_set(e, "%s: its lock cannot be had", f->path);
	else if (c.error != 0)
		err_set_errno(e, c.error, "%s: no room for one more process", f->path);
	else
		result = 0;
	close(fd);
	if (result < 0)
		unmap(f);
	return result;
}

struct shared_file *shared_file_open(const char *run_dir, const struct shared_kind *kind, struct err *e)
{
	struct shared_file *f = calloc(1, sizeof *f);

	if (f == NULL || (f->directory = strdup(run_dir)) == NULL ||
	    asprintf(&f->path, "%s/%s", run_dir, kind->name) < 0) {
		err_set(e, "no memory for %s", kind->name);
		if (f != NULL)
			free(f->directory);
		free(f);
		return NULL;
	}
	f->kind = kind;
	f->fd = -1;
	f->pid = getpid();
	safe_read_install();
	open_file(f, e);
	return f;
}

void shared_file_close(struct shared_file *f)
{
	if (f == NULL)
		return;
	shared_file_change(f, leave_page, f);
	unmap(f);
	free(f->directory);
	free(f->path);
	free(f);
}

static bool is_in_place(const struct shared_file *f)
{
	return f->head != NULL && mapped_file_is_in_place(f->path, f->fd, f->kind->size);
}

void shared_file_tick(struct shared_file *f, struct err *e)
{
	if (!is_in_place(f)) {
		unmap(f);
		open_file(f, e);
	}
	shared_file_change(f, clear_dead, f);
}

uint32_t shared_file_page(const struct shared_file *f)
{
	return f->page;
}

const void *shared_file_map(const struct shared_file *f)
{
	return f->head;
}

void *shared_file_copy(const char *run_dir, const struct shared_kind *kind, size_t len)
{
	char path[4200];
	void *map, *copy;
	int fd;

	safe_read_install();
	snprintf(path, sizeof path, "%s/%s", run_dir, kind->name);
	map = map_file(path, kind, false, &fd);
	if (map == NULL)
		return NULL;
	copy = malloc(len);
	if (copy != NULL && !safe_copy(copy, map, len)) {
		free(copy);
		copy = NULL;
	}
	mapped_file_close(map, kind->size, &fd);
	return copy;
}
