/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/event_ring.h"

#include "core/base/process.h"
#include "core/base/utf8.h"
#include "core/status/document_list.h"
#include "core/status/safe_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVENT_RING_MAGIC   UINT64_C(0x534e545645474154) /* "TAGEVNTS", little endian */
#define EVENT_RING_VERSION 1
#define EVENT_RING_FILE    "events.v1"
#define NEW_FILE           EVENT_RING_FILE ".new" /* only the daemon writes it, under its lock */
#define NUMBER_MAX         (UINT64_C(1) << 53)    /* what JavaScript can count; no daemon gets there */

struct header {
	uint64_t magic;
	uint32_t version;
	uint32_t slots;
	uint64_t epoch;        /* random, one per file that begins with 1 */
	_Atomic uint64_t last; /* number of the newest record */
	uint8_t reserved[32];
};

struct file {
	struct header header;
	struct event_record slots[EVENT_RING_SLOTS];
};

_Static_assert(sizeof(struct header) == 64 && sizeof(struct event_record) == 512, "layout");
_Static_assert(offsetof(struct event_record, number) == 0, "the seqlock is an aligned word");
_Static_assert(offsetof(struct event_record, reason) == 320, "layout");

/* --- kinds and records --------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum { DAEMON, WORKER } reporter;
} kinds[] = {
#define EVENT_KIND(id, name, reporter, meaning) {name, reporter},
#include "core/status/event_kinds.def"
#undef EVENT_KIND
};

const char *event_kind_name(enum event_kind k)
{
	return kinds[k].name;
}

bool event_kind_is_of_worker(enum event_kind k)
{
	return kinds[k].reporter == WORKER;
}

int event_kind_find(const char *name, enum event_kind *k)
{
	for (unsigned i = 0; name != NULL && i < EVENT_KINDS; i++) {
		if (strcmp(kinds[i].name, name) == 0) {
			*k = (enum event_kind)i;
			return 0;
		}
	}
	return -1;
}

static void put_text(char *to, size_t size, const char *text)
{
	size_t len = text != NULL ? utf8_cut(text, size - 1) : 0;

	if (len > 0)
		memcpy(to, text, len);
	memset(to + len, 0, size - len);
}

struct event_record event_record_of(enum event_kind kind, const char *model, const char *deploy_id, const char *was,
                                    const char *reason)
{
	struct event_record r = {.kind = kind, .count = 1};

	put_text(r.model, sizeof r.model, model);
	put_text(r.deploy_id, sizeof r.deploy_id, deploy_id);
	put_text(r.was, sizeof r.was, was);
	put_text(r.reason, sizeof r.reason, reason);
	return r;
}

static json_t *known(const char *text)
{
	return document_string(text[0] != '\0' ? text : NULL);
}

json_t *event_record_json(const struct event_record *r, uint64_t epoch, bool brief)
{
	char epoch_text[24];

	snprintf(epoch_text, sizeof epoch_text, "%016llx", (unsigned long long)epoch);
	return json_pack("{s:I,s:s,s:o,s:s,s:o,s:o,s:o,s:o,s:I}", "number", (json_int_t)r->number, "epoch", epoch_text,
	                 "at", document_seconds(r->at_ms), "kind", event_kind_name((enum event_kind)r->kind), "model",
	                 known(r->model), "deploy_id", brief ? json_null() : known(r->deploy_id), "was", known(r->was),
	                 "reason", brief ? json_null() : known(r->reason), "count", (json_int_t)r->count);
}

/* --- the file -------------------------------------------------------------------------------------- */

static bool is_ours(const struct header *h)
{
	return h->magic == EVENT_RING_MAGIC && h->version == EVENT_RING_VERSION && h->slots == EVENT_RING_SLOTS;
}

/* NULL with e: it cannot be mapped, or is another kind of file. */
static struct file *map_file(int fd, int protection, struct stat *st, struct err *e)
{
	struct header h;
	void *map;

	if (fstat(fd, st) < 0) {
		err_set_errno(e, errno, "stat");
		return NULL;
	}
	if (!S_ISREG(st->st_mode) || st->st_size != sizeof(struct file) || pread(fd, &h, sizeof h, 0) != sizeof h ||
	    !is_ours(&h)) {
		err_set(e, "it is damaged, or not a ring of events");
		return NULL;
	}
	map = mmap(NULL, sizeof(struct file), protection, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		err_set_errno(e, errno, "map");
		return NULL;
	}
	return map;
}

static void *slot_of(const struct file *f, uint64_t number)
{
	return (void *)(uintptr_t)&f->slots[number % EVENT_RING_SLOTS];
}

/* Whatever a damaged file contains: known kinds, terminated texts. */
static bool get(const struct file *f, uint64_t number, struct event_record *out)
{
	const void *slot = slot_of(f, number);
	uint64_t before, after;

	if (number == 0 || !safe_load(slot, &before) || before != number || !safe_copy(out, slot, sizeof *out))
		return false;
	atomic_thread_fence(memory_order_acquire);
	if (!safe_load(slot, &after) || after != number || out->kind >= EVENT_KINDS)
		return false;
	out->number = number;
	out->model[sizeof out->model - 1] = '\0';
	out->deploy_id[sizeof out->deploy_id - 1] = '\0';
	out->was[sizeof out->was - 1] = '\0';
	out->reason[sizeof out->reason - 1] = '\0';
	return true;
}

/* --- the daemon -------------------------------------------------------------------------------------- */

struct event_ring {
	char *dir;
	struct file *file; /* NULL: it could not be made */
	dev_t dev;
	ino_t ino;
	uint64_t epoch, last;
};

static void unmap(struct event_ring *r)
{
	if (r->file != NULL)
		munmap(r->file, sizeof *r->file);
	r->file = NULL;
}

/* A new file with r's epoch, empty, renamed into place. */
static int make_file(struct event_ring *r, struct err *e)
{
	const struct header h = {.magic = EVENT_RING_MAGIC,
	                         .version = EVENT_RING_VERSION,
	                         .slots = EVENT_RING_SLOTS,
	                         .epoch = r->epoch,
	                         .last = r->last};
	char path[4200], new_path[4200];
	struct stat st;
	int fd, rc, result = -1;

	unmap(r);
	snprintf(path, sizeof path, "%s/" EVENT_RING_FILE, r->dir);
	snprintf(new_path, sizeof new_path, "%s/" NEW_FILE, r->dir);
	unlink(new_path);
	fd = open(new_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set_errno(e, errno, "create %s", new_path);
	/* Allocated, so that a full file system is an error here and not a signal later. */
	rc = posix_fallocate(fd, 0, sizeof *r->file);
	if (rc == 0 && pwrite(fd, &h, sizeof h, 0) != sizeof h)
		rc = errno;
	if (rc != 0)
		err_set_errno(e, rc, "write %s", new_path);
	else if ((r->file = map_file(fd, PROT_READ | PROT_WRITE, &st, e)) == NULL)
		err_prefix(e, "%s", new_path);
	else if (rename(new_path, path) < 0)
		err_set_errno(e, errno, "rename %s", new_path);
	else
		result = 0;
	close(fd);
	if (result == 0) {
		r->dev = st.st_dev;
		r->ino = st.st_ino;
	} else {
		unmap(r);
		unlink(new_path);
	}
	return result;
}

/* Where the earlier daemon stopped. One that was killed while it wrote may have left the slot's number at 0,
 * or not counted it yet. */
static void go_on(struct event_ring *r)
{
	uint64_t last = 0;

	r->epoch = r->file->header.epoch;
	safe_load(&r->file->header.last, &last);
	for (unsigned i = 0; i < EVENT_RING_SLOTS; i++) {
		uint64_t number;

		if (safe_load(&r->file->slots[i], &number) && number % EVENT_RING_SLOTS == i && number > last &&
		    number < NUMBER_MAX)
			last = number;
	}
	r->last = last;
}

struct event_ring *event_ring_open(const char *dir, struct err *e)
{
	struct event_ring *r = calloc(1, sizeof *r);
	struct err unusable = ERR_INIT;
	char path[4200];
	struct stat st;
	int fd;

	if (r == NULL || (r->dir = strdup(dir)) == NULL) {
		free(r);
		err_set(e, "out of memory");
		return NULL;
	}
	safe_read_install();
	snprintf(path, sizeof path, "%s/" EVENT_RING_FILE, dir);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0) {
		r->file = map_file(fd, PROT_READ | PROT_WRITE, &st, &unusable);
		close(fd);
	}
	if (r->file != NULL) {
		r->dev = st.st_dev;
		r->ino = st.st_ino;
		go_on(r);
		if (r->last < NUMBER_MAX)
			return r;
	}
	r->last = 0;
	r->epoch = process_random();
	if (make_file(r, e) < 0) {
		event_ring_close(r);
		return NULL;
	}
	return r;
}

void event_ring_close(struct event_ring *r)
{
	if (r == NULL)
		return;
	unmap(r);
	free(r->dir);
	free(r);
}

bool event_ring_newest(const struct event_ring *r, struct event_record *out)
{
	return r->file != NULL && get(r->file, r->last, out);
}

static bool is_in_place(const struct event_ring *r)
{
	char path[4200];
	struct stat st;

	snprintf(path, sizeof path, "%s/" EVENT_RING_FILE, r->dir);
	return r->file != NULL && lstat(path, &st) == 0 && st.st_dev == r->dev && st.st_ino == r->ino &&
	       st.st_size == sizeof *r->file;
}

/* false: the page is gone. */
static bool put(struct event_ring *r, const struct event_record *record)
{
	char *slot = slot_of(r->file, record->number);
	const size_t head = sizeof record->number;

	if (!safe_store(slot, 0))
		return false;
	atomic_thread_fence(memory_order_release);
	return safe_copy(slot + head, (const char *)record + head, sizeof *record - head) &&
	       safe_store(slot, record->number) && safe_store(&r->file->header.last, record->number);
}

int event_ring_add(struct event_ring *r, struct event_record *record, struct err *e)
{
	record->number = r->last + 1;
	if (!is_in_place(r) && make_file(r, e) < 0)
		return -1;
	if (!put(r, record))
		return err_set(e, "%s/" EVENT_RING_FILE ": it was truncated", r->dir);
	r->last = record->number;
	return 0;
}

/* --- readers ------------------------------------------------------------------------------------------ */

struct event_reader {
	char *path;
	const struct file *file; /* NULL: none was readable yet */
	dev_t dev;
	ino_t ino;
	uint64_t epoch;
};

struct event_reader *event_reader_new(const char *dir)
{
	struct event_reader *r = calloc(1, sizeof *r);

	if (r == NULL || asprintf(&r->path, "%s/" EVENT_RING_FILE, dir) < 0) {
		free(r);
		return NULL;
	}
	safe_read_install();
	return r;
}

void event_reader_free(struct event_reader *r)
{
	if (r == NULL)
		return;
	if (r->file != NULL)
		munmap((void *)(uintptr_t)r->file, sizeof *r->file);
	free(r->path);
	free(r);
}

int event_reader_check(struct event_reader *r, struct err *e)
{
	const struct file *file;
	struct stat st;
	int fd;

	if (stat(r->path, &st) < 0)
		return errno == ENOENT ? 0 : err_set_errno(e, errno, "%s", r->path);
	if (r->file != NULL && st.st_dev == r->dev && st.st_ino == r->ino)
		return 0;
	fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return err_set_errno(e, errno, "open %s", r->path);
	file = map_file(fd, PROT_READ, &st, e);
	close(fd);
	if (file == NULL) {
		err_prefix(e, "%s", r->path);
		return -1;
	}
	if (r->file != NULL)
		munmap((void *)(uintptr_t)r->file, sizeof *r->file);
	r->file = file;
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	if (!safe_load(&file->header.epoch, &r->epoch))
		r->epoch = 0;
	return 0;
}

uint64_t event_reader_epoch(const struct event_reader *r)
{
	return r->epoch;
}

uint64_t event_reader_last(const struct event_reader *r)
{
	uint64_t last;

	return r->file != NULL && safe_load(&r->file->header.last, &last) ? last : 0;
}

bool event_reader_get(const struct event_reader *r, uint64_t number, struct event_record *out)
{
	return r->file != NULL && get(r->file, number, out);
}
