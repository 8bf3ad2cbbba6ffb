/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/write_behind.h"

#include "core/status/safe_read.h"
#include "core/store/sidecar.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC      0x00676e69646e6570 /* "pending" */
#define LAYOUT     2
#define RECORDS    2048u /* in a ring; a power of two */
#define BUCKETS    8192u /* of keys */
#define RING_BYTES (512u << 10)
#define ALIGNMENT  8u
#define NOWHERE    UINT32_MAX

/* Of a ring: how many records were ever added, stored and freed, and the commit that was noted last. A line of memory
 * each, as every process writes its own. */
struct ends {
	_Alignas(64) _Atomic uint64_t added;
	_Atomic uint64_t stored, freed, commit_to;
	_Atomic int64_t commit_row;
	_Atomic uint32_t used; /* bytes from the start, since none were the last time */
};

/* Followed by subject, thread_id, run and text, each with its 0. */
struct record {
	struct write_behind_result result;
	int64_t at_ms;
	uint32_t size; /* with all of these */
	uint32_t subject_len, thread_len, run_len, text_len;
};

_Static_assert(sizeof(struct record) + 4 <= WRITE_BEHIND_COPY - WRITE_BEHIND_BYTES, "the longest one can be copied");

struct ring {
	_Atomic int64_t keys[RECORDS];
	_Atomic uint32_t at[RECORDS]; /* of each record, in bytes */
	/* The number of the next record after the latest one with such a key, cut to 32 bits: where it is stored, no
	 * turn of these keys waits, and nobody need look at them all. */
	_Atomic uint32_t after[BUCKETS];
	unsigned char bytes[RING_BYTES];
};

struct table {
	struct sidecar_head head;
	_Atomic uint32_t rings; /* the others were never used */
	_Alignas(4096) struct ends ends[WRITE_BEHIND_RINGS];
	struct ring rings_of[WRITE_BEHIND_RINGS];
};
_Static_assert(sizeof(struct table) == 4096 + 4096 + sizeof(struct ring) * WRITE_BEHIND_RINGS &&
                       sizeof(struct ring) % 4096 == 0,
               "layout");

static const struct sidecar_kind file_kind = {
	.suffix = WRITE_BEHIND_SUFFIX,
	.magic = MAGIC,
	.layout = LAYOUT,
	.size = sizeof(struct table),
	.allocated = offsetof(struct table, rings_of),
};

struct write_behind {
	pthread_mutex_t lock; /* held to change what follows, and by other threads than the database's to use it */
	struct sidecar file;
	struct table *table;       /* NULL: none */
	int ring;                  /* this process's; -1: none */
	uint32_t next;             /* where its next record begins */
	uint64_t tickets;          /* given so far */
	uint64_t former, at_first; /* of them by former files; what the ring's `added` was when it became ours */
};

/* ---- access, which may meet a truncated file ------------------------------------------------------- */

struct access {
	struct write_behind *p;
	unsigned ring;
	const struct write_behind_turn *turn;
	int64_t key;
	uint64_t number;
	struct write_behind_range range;
	struct write_behind_commit commit;
	struct write_behind_result *result;
	int64_t *keys;
	char *copy;
	uint32_t rings;
	bool filling, done;
};

static struct ends *ends_of(const struct access *a)
{
	return &a->p->table->ends[a->ring];
}

static uint64_t get(const _Atomic uint64_t *n)
{
	return atomic_load_explicit(n, memory_order_acquire);
}

/* False: someone has truncated the file. */
static bool use(struct write_behind *p, void (*run)(void *arg), struct access *a)
{
	a->p = p;
	if (p->table == NULL || a->ring >= WRITE_BEHIND_RINGS)
		return false;
	return safe_call(run, a);
}

/* ---- records --------------------------------------------------------------------------------------- */

/* Its size; 0: what is there cannot be a record. */
static uint32_t record_at(struct ring *r, uint64_t number, unsigned char **bytes)
{
	const uint32_t at = atomic_load_explicit(&r->at[number % RECORDS], memory_order_acquire);
	struct record record;

	if (at % ALIGNMENT != 0 || at > RING_BYTES - sizeof record)
		return 0;
	*bytes = &r->bytes[at];
	memcpy(&record, *bytes, sizeof record);
	return record.size >= sizeof record && record.size <= RING_BYTES - at && record.size <= WRITE_BEHIND_COPY
	               ? record.size
	               : 0;
}

static _Atomic uint32_t *after_latest(struct ring *r, int64_t key)
{
	return &r->after[((uint64_t)key >> 32) % BUCKETS]; /* the low bits are those of the run */
}

/* By the ring's owner: the room of records up to that number may be used again. If nothing is left there, all text is
 * overwritten, as what is deleted is in the database. */
static void free_room(struct ring *r, struct ends *e, uint64_t to)
{
	const uint32_t used = atomic_load_explicit(&e->used, memory_order_relaxed);

	atomic_store_explicit(&e->freed, to, memory_order_release);
	if (to != get(&e->added))
		return;
	memset(r->bytes, 0, used < RING_BYTES ? used : RING_BYTES);
	atomic_store_explicit(&e->used, 0, memory_order_relaxed);
}

/* ---- the file -------------------------------------------------------------------------------------- */

struct write_behind *write_behind_new(const char *file)
{
	struct write_behind *p = calloc(1, sizeof *p);

	if (p == NULL || sidecar_init(&p->file, &file_kind, file) < 0) {
		free(p);
		return NULL;
	}
	p->ring = -1;
	pthread_mutex_init(&p->lock, NULL);
	return p;
}

static void detach(struct write_behind *p)
{
	struct table *table;

	pthread_mutex_lock(&p->lock);
	table = p->table;
	p->table = NULL;
	p->ring = -1;
	p->former = p->tickets;
	pthread_mutex_unlock(&p->lock);
	sidecar_unmap(&p->file, table);
}

void write_behind_free(struct write_behind *p)
{
	if (p == NULL)
		return;
	detach(p);
	pthread_mutex_destroy(&p->lock);
	sidecar_free(&p->file);
	free(p);
}

/* A lock of the open file, which the kernel gives back when the process has ended, in whatever container it was. */
static bool lock_ring(int fd, unsigned ring)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)ring, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* The file has no pages for a ring until then: a full disk is an error here, and not a signal later. */
static int claim_ring(const struct sidecar *file, struct err *e)
{
	for (unsigned ring = 0; ring < WRITE_BEHIND_RINGS; ring++) {
		const off_t at = (off_t)(offsetof(struct table, rings_of) + ring * sizeof(struct ring));

		if (!lock_ring(file->fd, ring))
			continue;
		errno = posix_fallocate(file->fd, at, sizeof(struct ring));
		if (errno == 0)
			return (int)ring;
		return err_set_errno(e, errno, "write %s", file->path);
	}
	return err_set(e, "%s: more than %u processes use the database", file->path, WRITE_BEHIND_RINGS);
}

static void take_ring(void *arg)
{
	struct access *a = arg;
	_Atomic uint32_t *rings = &a->p->table->rings;
	uint32_t before = atomic_load(rings);

	while (before <= a->ring && !atomic_compare_exchange_weak(rings, &before, a->ring + 1))
		continue;
	a->number = get(&ends_of(a)->added);
	a->done = get(&ends_of(a)->stored) == a->number;
	if (a->done)
		free_room(&a->p->table->rings_of[a->ring], ends_of(a), a->number);
}

int write_behind_attach(struct write_behind *p, dev_t device, ino_t inode, bool makes, struct err *e)
{
	struct access a = {.done = false};
	struct table *table;
	int ring = -1;

	if (p->table != NULL && p->file.device == device && p->file.inode == inode && !write_behind_has_moved(p))
		return 0;
	detach(p);
	table = sidecar_map(&p->file, device, inode, makes, e);
	if (table == NULL)
		return -1;
	if (makes)
		ring = claim_ring(&p->file, e);
	pthread_mutex_lock(&p->lock);
	p->table = table;
	p->ring = ring;
	a.ring = ring >= 0 ? (unsigned)ring : 0;
	if (ring >= 0 && use(p, take_ring, &a))
		p->at_first = a.number;
	else
		p->ring = -1;
	p->next = a.done ? 0 : NOWHERE; /* until all is stored */
	pthread_mutex_unlock(&p->lock);
	return makes && p->ring < 0 ? err_set(e, "%s cannot be used", p->file.path) : 0;
}

bool write_behind_is_attached(const struct write_behind *p)
{
	return p->table != NULL && p->ring >= 0;
}

bool write_behind_has_moved(const struct write_behind *p)
{
	return p->table == NULL || sidecar_has_moved(&p->file, p->table);
}

/* ---- any thread -------------------------------------------------------------------------------------- */

/* Where a record of that size has room, behind the last one. oldest: where the oldest begins that is still needed. */
static uint32_t place(uint32_t next, uint32_t oldest, uint32_t size)
{
	if (next > RING_BYTES || oldest >= RING_BYTES)
		return NOWHERE;
	if (next > oldest)
		return size <= RING_BYTES - next ? next : size <= oldest ? 0 : NOWHERE;
	return size <= oldest - next ? next : NOWHERE;
}

static unsigned char *put_text(unsigned char *to, const char *text, size_t len)
{
	memcpy(to, text, len + 1);
	return to + len + 1;
}

static void add(void *arg)
{
	struct access *a = arg;
	const struct write_behind_turn *t = a->turn;
	struct ends *e = ends_of(a);
	struct ring *r = &a->p->table->rings_of[a->ring];
	const uint64_t added = get(&e->added);
	uint64_t freed = get(&e->freed);
	struct record record = {.at_ms = t->at_ms,
	                        .subject_len = (uint32_t)strlen(t->subject),
	                        .thread_len = (uint32_t)strlen(t->thread_id),
	                        .run_len = (uint32_t)strlen(t->run),
	                        .text_len = (uint32_t)t->len};
	const size_t size = sizeof record + record.subject_len + record.thread_len + record.run_len + t->len + 4;
	uint32_t at = 0, oldest = 0;
	unsigned char *bytes;

	if (freed < a->p->at_first && get(&e->stored) >= a->p->at_first) { /* what the last owner left */
		free_room(r, e, a->p->at_first);
		freed = a->p->at_first;
	}
	if (added - freed > RECORDS) /* somebody has written to the file */
		atomic_store(&a->p->table->head.retired, 1);
	record.size = (uint32_t)((size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
	if (freed != added) {
		oldest = atomic_load_explicit(&r->at[freed % RECORDS], memory_order_relaxed);
		at = added - freed < RECORDS ? place(a->p->next, oldest, record.size) : NOWHERE;
	}
	if (at == NOWHERE)
		return;
	bytes = &r->bytes[at];
	memcpy(bytes, &record, sizeof record);
	bytes = put_text(bytes + sizeof record, t->subject, record.subject_len);
	bytes = put_text(bytes, t->thread_id, record.thread_len);
	bytes = put_text(bytes, t->run, record.run_len);
	put_text(bytes, t->text, t->len);
	atomic_store_explicit(&r->keys[added % RECORDS], t->key, memory_order_relaxed);
	atomic_store_explicit(&r->at[added % RECORDS], at, memory_order_relaxed);
	atomic_store_explicit(after_latest(r, t->key), (uint32_t)(added + 1), memory_order_relaxed);
	atomic_store_explicit(&e->added, added + 1, memory_order_release);
	a->p->next = at + record.size;
	if (a->p->next > atomic_load_explicit(&e->used, memory_order_relaxed))
		atomic_store_explicit(&e->used, a->p->next, memory_order_relaxed);
	a->number = added;
	a->filling = added - freed > RECORDS / 4 * 3 || (at + RING_BYTES - oldest) % RING_BYTES > RING_BYTES / 4 * 3;
	a->done = true;
}

uint64_t write_behind_add(struct write_behind *p, const struct write_behind_turn *t, bool *filling)
{
	struct access a = {.turn = t};
	uint64_t ticket = 0;

	*filling = true;
	if (t->len + strlen(t->subject) + strlen(t->thread_id) + strlen(t->run) > WRITE_BEHIND_BYTES)
		return 0;
	pthread_mutex_lock(&p->lock);
	if (p->ring >= 0) {
		a.ring = (unsigned)p->ring;
		if (use(p, add, &a) && a.done)
			ticket = ++p->tickets;
	}
	pthread_mutex_unlock(&p->lock);
	if (ticket > 0)
		*filling = a.filling;
	return ticket;
}

static bool ring_has(struct ring *r, uint64_t stored, uint64_t added, int64_t key)
{
	const uint32_t after = atomic_load_explicit(after_latest(r, key), memory_order_relaxed);

	if (added - stored > RECORDS || (int32_t)(after - (uint32_t)stored) <= 0)
		return false;
	for (uint64_t n = stored; n < added; n++)
		if (atomic_load_explicit(&r->keys[n % RECORDS], memory_order_relaxed) == key)
			return true;
	return false;
}

static void find_key(void *arg)
{
	struct access *a = arg;
	struct table *t = a->p->table;
	const uint32_t rings = atomic_load_explicit(&t->rings, memory_order_acquire);

	for (unsigned i = 0; i < rings && i < WRITE_BEHIND_RINGS && !a->done; i++) {
		/* In this order: if all of them are stored meanwhile, none waits. */
		const uint64_t added = get(&t->ends[i].added), stored = get(&t->ends[i].stored);

		a->done = ring_has(&t->rings_of[i], stored, added, a->key);
	}
}

bool write_behind_has(struct write_behind *p, int64_t key)
{
	struct access a = {.key = key};

	pthread_mutex_lock(&p->lock);
	use(p, find_key, &a);
	pthread_mutex_unlock(&p->lock);
	return a.done;
}

static void check(void *arg)
{
	struct access *a = arg;
	struct ring *r = &a->p->table->rings_of[a->ring];
	struct record record;
	unsigned char *bytes;

	a->done = a->number < get(&ends_of(a)->stored);
	if (!a->done)
		return;
	if (record_at(r, a->number, &bytes) > 0) {
		memcpy(&record, bytes, sizeof record);
		*a->result = record.result;
	}
	free_room(r, ends_of(a), a->number + 1);
}

enum write_behind_state write_behind_check(struct write_behind *p, uint64_t ticket, struct write_behind_result *result)
{
	struct access a = {.result = result};
	enum write_behind_state state = WRITE_BEHIND_GONE;

	*result = (struct write_behind_result){.number = 0};
	pthread_mutex_lock(&p->lock);
	if (p->ring >= 0 && ticket > p->former) {
		a.ring = (unsigned)p->ring;
		a.number = p->at_first + (ticket - p->former - 1);
		if (use(p, check, &a))
			state = a.done ? WRITE_BEHIND_STORED : WRITE_BEHIND_WAITS;
	}
	pthread_mutex_unlock(&p->lock);
	return state;
}

/* ---- storing them ------------------------------------------------------------------------------------ */

static void count_rings(void *arg)
{
	struct access *a = arg;
	const uint32_t rings = atomic_load_explicit(&a->p->table->rings, memory_order_acquire);

	a->rings = rings < WRITE_BEHIND_RINGS ? rings : WRITE_BEHIND_RINGS;
}

unsigned write_behind_rings(struct write_behind *p)
{
	struct access a = {.rings = 0};

	return use(p, count_rings, &a) ? a.rings : 0;
}

static void read_range(void *arg)
{
	struct access *a = arg;

	a->range.from = get(&ends_of(a)->stored);
	a->range.to = get(&ends_of(a)->added);
}

bool write_behind_range(struct write_behind *p, unsigned ring, struct write_behind_range *range)
{
	struct access a = {.ring = ring};

	if (!use(p, read_range, &a) || a.range.to - a.range.from > RECORDS)
		return false;
	*range = a.range;
	return true;
}

struct write_behind_range write_behind_own(struct write_behind *p)
{
	struct write_behind_range range;

	if (p->ring >= 0 && write_behind_range(p, (unsigned)p->ring, &range))
		return range;
	return (struct write_behind_range){.from = 0};
}

static void read_keys(void *arg)
{
	struct access *a = arg;
	struct ring *r = &a->p->table->rings_of[a->ring];

	for (uint64_t n = a->range.from; n < a->range.to; n++)
		*a->keys++ = atomic_load_explicit(&r->keys[n % RECORDS], memory_order_relaxed);
}

bool write_behind_keys(struct write_behind *p, unsigned ring, const struct write_behind_range *range, int64_t *keys)
{
	struct access a = {.ring = ring, .range = *range, .keys = keys};

	return use(p, read_keys, &a);
}

static void copy(void *arg)
{
	struct access *a = arg;
	struct ring *r = &a->p->table->rings_of[a->ring];
	unsigned char *bytes;
	const uint32_t size = record_at(r, a->number, &bytes);

	a->key = atomic_load_explicit(&r->keys[a->number % RECORDS], memory_order_relaxed);
	if (size > 0)
		memcpy(a->copy, bytes, size);
	a->done = size > 0;
}

/* One of the texts, if it is whole, and where the next one begins. */
static const char *text_at(const char *record, uint32_t size, size_t *at, uint32_t len)
{
	const char *text = record + *at;

	if (len >= size || *at > size - len - 1 || text[len] != '\0')
		return NULL;
	*at += (size_t)len + 1;
	return text;
}

bool write_behind_copy(struct write_behind *p, unsigned ring, uint64_t number, char *buffer,
                       struct write_behind_turn *t)
{
	struct access a = {.ring = ring, .number = number, .copy = buffer};
	struct record record;
	size_t at = sizeof record;

	if (!use(p, copy, &a) || !a.done)
		return false;
	memcpy(&record, buffer, sizeof record);
	if (record.size > WRITE_BEHIND_COPY) /* it changed meanwhile */
		return false;
	*t = (struct write_behind_turn){.key = a.key, .at_ms = record.at_ms, .len = record.text_len};
	t->subject = text_at(buffer, record.size, &at, record.subject_len);
	t->thread_id = t->subject != NULL ? text_at(buffer, record.size, &at, record.thread_len) : NULL;
	t->run = t->thread_id != NULL ? text_at(buffer, record.size, &at, record.run_len) : NULL;
	t->text = t->run != NULL ? text_at(buffer, record.size, &at, record.text_len) : NULL;
	return t->text != NULL;
}

static void set_result(void *arg)
{
	struct access *a = arg;
	struct record record;
	unsigned char *bytes;

	if (record_at(&a->p->table->rings_of[a->ring], a->number, &bytes) == 0)
		return;
	memcpy(&record, bytes, sizeof record);
	record.result = *a->result;
	memcpy(bytes, &record, sizeof record);
}

void write_behind_set_result(struct write_behind *p, unsigned ring, uint64_t number,
                             const struct write_behind_result *result)
{
	struct write_behind_result copy = *result;
	struct access a = {.ring = ring, .number = number, .result = &copy};

	use(p, set_result, &a);
}

/* In this order: a noted commit is never that of another number. */
static void note(void *arg)
{
	struct access *a = arg;
	struct ends *e = ends_of(a);

	atomic_store_explicit(&e->commit_to, 0, memory_order_release);
	atomic_store_explicit(&e->commit_row, a->commit.row, memory_order_release);
	atomic_store_explicit(&e->commit_to, a->commit.to, memory_order_release);
}

void write_behind_note(struct write_behind *p, unsigned ring, const struct write_behind_commit *c)
{
	struct access a = {.ring = ring, .commit = *c};

	use(p, note, &a);
}

/* It never goes back: another process may have done so, and stored more. */
static void move(void *arg)
{
	struct access *a = arg;
	_Atomic uint64_t *stored = &ends_of(a)->stored;
	uint64_t before = get(stored);

	while (before < a->number && !atomic_compare_exchange_weak(stored, &before, a->number))
		continue;
}

void write_behind_committed(struct write_behind *p, unsigned ring, uint64_t to)
{
	struct access a = {.ring = ring, .number = to};

	use(p, move, &a);
}

static void read_commit(void *arg)
{
	struct access *a = arg;
	const struct ends *e = ends_of(a);

	read_range(a);
	a->commit.to = get(&e->commit_to);
	a->commit.row = atomic_load_explicit(&e->commit_row, memory_order_acquire);
}

bool write_behind_is_open(struct write_behind *p, unsigned ring, struct write_behind_commit *c)
{
	struct access a = {.ring = ring};

	if (!use(p, read_commit, &a) || a.commit.to <= a.range.from || a.commit.to > a.range.to)
		return false;
	*c = a.commit;
	return true;
}
