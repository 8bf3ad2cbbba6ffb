/* SPDX-License-Identifier: Apache-2.0 */
#include "core/store/versions.h"

#include "core/base/clock.h"
#include "core/status/safe_read.h"
#include "core/store/sidecar.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAGIC            0x736e6f6973726576 /* "versions" */
#define LAYOUT           3
#define SLOT_BITS        16
#define SLOTS            (1u << SLOT_BITS)
#define WORDS_MIN        (1u << 14)
#define WORDS_MAX        (1u << 18)
#define THREADS_A_WORD   4 /* then less than one in 100 new threads seems to be written */
#define HEADER_WORDS     6 /* of the WAL index; it is there twice */
#define WAL_VERSION      3007000
#define MOVED_CHECK_MS   500
#define FOREIGN_PAUSE_MS 10000 /* after a commit of another program, which is likely to make more */
#define FILLING_MS       2000  /* a process that fills has died if it did nothing for so long */
#define LAST_NUMBER      (UINT32_MAX - 65536)

/* The WAL index header of one state of the database; zeros: none. */
struct header {
	uint64_t words[HEADER_WORDS];
};

/* What is changed as a whole, under SQLite's write lock. */
struct state {
	uint32_t number; /* of the last transaction */
	uint32_t base;   /* before this one other programs may have written */
	bool filled;     /* every thread that there is has its bits */
	struct header header;
};

struct table {
	struct sidecar_head head; /* it is retired when the numbers are used up */
	/* To the numbers of a table this is added: CLOCK_MONOTONIC in ns when it was new. So they are larger than those
	 * of any table before it, of which a process may have kept some. */
	_Atomic uint64_t start;
	/* the state; odd while it changes, or if a process died meanwhile */
	_Atomic uint32_t sequence;
	_Atomic uint32_t number, base, filled;
	_Atomic uint32_t words;                  /* of `written`, that are in use: few threads touch few pages */
	_Atomic uint32_t used, used_when_filled; /* threads that have their bits, about */
	_Atomic uint64_t header[HEADER_WORDS];
	_Atomic int64_t
		fill_ms; /* CLOCK_MONOTONIC, which all processes of this boot share: nobody else begins before */
	_Alignas(4096) _Atomic uint32_t slots[SLOTS];
	_Atomic uint64_t written[WORDS_MAX]; /* a Bloom filter: each thread has all its bits in one word */
};
_Static_assert(sizeof(struct table) == 4096 + sizeof(uint32_t) * SLOTS + sizeof(uint64_t) * WORDS_MAX, "layout");

static const struct sidecar_kind table_kind = {
	.suffix = VERSIONS_SUFFIX,
	.magic = MAGIC,
	.layout = LAYOUT,
	.size = sizeof(struct table),
	.allocated = sizeof(struct table),
};

struct versions {
	char *file;           /* the database */
	pthread_mutex_t lock; /* held to change what follows, and by other threads to use it */
	struct table *table;  /* NULL: none */
	const uint64_t *wal_index;
	uint64_t start;     /* the table's */
	int64_t checked_ms; /* when the database was last seen to be still that file */
	bool moved;
	struct sidecar sidecar; /* the table's file, of the device and inode of the database */
	/* the database thread's own */
	uint32_t current; /* the number of the transaction that has the write lock; 0: none */
	struct state state;
	uint32_t committed;
};

/* ---- the state --------------------------------------------------------------------------------- */

/* False: it is being changed, or there is no log. */
static bool read_header(const uint64_t *wal_index, struct header *h)
{
	const _Atomic uint64_t *words = (const _Atomic uint64_t *)wal_index;
	uint64_t second[HEADER_WORDS];
	uint32_t version;

	/* A writer begins with the second one. */
	for (size_t i = 0; i < HEADER_WORDS; i++)
		h->words[i] = atomic_load_explicit(&words[i], memory_order_acquire);
	for (size_t i = 0; i < HEADER_WORDS; i++)
		second[i] = atomic_load_explicit(&words[HEADER_WORDS + i], memory_order_acquire);
	memcpy(&version, h->words, sizeof version);
	return version == WAL_VERSION && h->words[4] != 0 /* the salts */ &&
	       memcmp(h->words, second, sizeof second) == 0;
}

static bool read_state(const struct table *t, struct state *s)
{
	const uint32_t sequence = atomic_load_explicit(&t->sequence, memory_order_acquire);

	s->number = atomic_load_explicit(&t->number, memory_order_acquire);
	s->base = atomic_load_explicit(&t->base, memory_order_acquire);
	s->filled = atomic_load_explicit(&t->filled, memory_order_acquire) == 1;
	for (size_t i = 0; i < HEADER_WORDS; i++)
		s->header.words[i] = atomic_load_explicit(&t->header[i], memory_order_acquire);
	return sequence % 2 == 0 && atomic_load_explicit(&t->sequence, memory_order_relaxed) == sequence;
}

static void write_state(struct table *t, const struct state *s)
{
	const uint32_t odd = atomic_load_explicit(&t->sequence, memory_order_relaxed) | 1;

	atomic_store_explicit(&t->sequence, odd, memory_order_relaxed);
	atomic_store_explicit(&t->number, s->number, memory_order_release);
	atomic_store_explicit(&t->base, s->base, memory_order_release);
	atomic_store_explicit(&t->filled, s->filled, memory_order_release);
	for (size_t i = 0; i < HEADER_WORDS; i++)
		atomic_store_explicit(&t->header[i], s->header.words[i], memory_order_release);
	atomic_store_explicit(&t->sequence, odd + 1, memory_order_release);
}

static bool is_of(const struct state *s, const struct header *h)
{
	return memcmp(&s->header, h, sizeof *h) == 0;
}

/* Whether the table has all commits that a reader of the database would see now. */
static bool read_current(const struct versions *v, struct state *s)
{
	struct header now;

	return v->table != NULL && v->wal_index != NULL &&
	       atomic_load_explicit(&v->table->head.retired, memory_order_relaxed) == 0 && read_state(v->table, s) &&
	       read_header(v->wal_index, &now) && is_of(s, &now);
}

static _Atomic uint32_t *slot_of(struct table *t, int64_t key)
{
	return &t->slots[((uint64_t)key * 0x9e3779b97f4a7c15) >> (64 - SLOT_BITS)];
}

/* Where it is noted that a thread was written. words may come from a damaged file. */
struct bits {
	_Atomic uint64_t *word;
	uint64_t mask;
};

static struct bits bits_of(struct table *t, int64_t key)
{
	const uint32_t words = atomic_load_explicit(&t->words, memory_order_acquire);
	uint64_t h = (uint64_t)key * 0x9e3779b97f4a7c15;

	h = (h ^ (h >> 32)) * 0xff51afd7ed558ccd;
	return (struct bits){.word = &t->written[(h >> 32) & (words - 1) & (WORDS_MAX - 1)],
	                     .mask = UINT64_C(1) << (h >> 26 & 63) | UINT64_C(1) << (h >> 20 & 63) |
	                             UINT64_C(1) << (h >> 14 & 63)};
}

static void note_written(struct table *t, int64_t key)
{
	const struct bits b = bits_of(t, key);

	if ((atomic_fetch_or_explicit(b.word, b.mask, memory_order_release) & b.mask) != b.mask)
		atomic_fetch_add_explicit(&t->used, 1, memory_order_relaxed);
}

static bool was_written(struct table *t, int64_t key)
{
	const struct bits b = bits_of(t, key);

	return (atomic_load_explicit(b.word, memory_order_acquire) & b.mask) == b.mask;
}

/* ---- the file ------------------------------------------------------------------------------------ */

static void set_table(struct versions *v, struct table *table)
{
	pthread_mutex_lock(&v->lock);
	v->table = table;
	pthread_mutex_unlock(&v->lock);
}

static void unmap(struct versions *v)
{
	struct table *table = v->table;

	set_table(v, NULL);
	sidecar_unmap(&v->sidecar, table);
	v->current = v->committed = 0;
}

struct versions *versions_new(const char *file)
{
	struct versions *v = calloc(1, sizeof *v);

	if (v == NULL)
		return NULL;
	v->file = strdup(file);
	if (v->file == NULL || sidecar_init(&v->sidecar, &table_kind, file) < 0) {
		free(v->file);
		free(v);
		return NULL;
	}
	pthread_mutex_init(&v->lock, NULL);
	return v;
}

void versions_free(struct versions *v)
{
	if (v == NULL)
		return;
	versions_detach(v);
	pthread_mutex_destroy(&v->lock);
	sidecar_free(&v->sidecar);
	free(v->file);
	free(v);
}

struct start {
	struct table *table;
	uint64_t start;
};

static void read_start(void *arg)
{
	struct start *s = arg;
	uint64_t start = 0;

	s->start = (uint64_t)clock_mono_ns();
	if (!atomic_compare_exchange_strong(&s->table->start, &start, s->start))
		s->start = start;
}

int versions_attach(struct versions *v, const void *wal_index, dev_t device, ino_t inode, struct err *e)
{
	struct start s = {.start = 0};
	struct table *table;

	versions_detach(v);
	table = sidecar_map(&v->sidecar, device, inode, true, e);
	if (table == NULL)
		return -1;
	s.table = table;
	if (!safe_call(read_start, &s)) {
		sidecar_unmap(&v->sidecar, table);
		return err_set(e, "%s cannot be read", v->sidecar.path);
	}
	pthread_mutex_lock(&v->lock);
	v->table = table;
	v->start = s.start;
	v->wal_index = wal_index;
	v->checked_ms = 0;
	pthread_mutex_unlock(&v->lock);
	return 0;
}

void versions_detach(struct versions *v)
{
	pthread_mutex_lock(&v->lock);
	v->wal_index = NULL;
	pthread_mutex_unlock(&v->lock);
	unmap(v);
}

bool versions_is_attached(const struct versions *v)
{
	return v->table != NULL && v->wal_index != NULL;
}

/* ---- access, which may meet a truncated file -------------------------------------------------------- */

struct access {
	struct versions *versions;
	int64_t key, now_ms;
	uint32_t number;
	uint64_t from;
	int64_t threads;
	struct version *version;
	bool done;
};

static struct access use(struct versions *v, void (*run)(void *arg), struct access a)
{
	a.versions = v;
	if (v->table == NULL)
		return a;
	if (!safe_call(run, &a)) {
		a.done = false;
		unmap(v);
	}
	return a;
}

bool versions_has_moved(struct versions *v)
{
	return v->table == NULL || sidecar_has_moved(&v->sidecar, v->table);
}

/* ---- any thread ------------------------------------------------------------------------------------- */

static void find(void *arg)
{
	struct access *a = arg;
	struct table *t = a->versions->table;
	struct state s;
	uint32_t last;
	bool written;

	if (!read_current(a->versions, &s))
		return;
	/* After the state: what that has was set before. */
	last = atomic_load_explicit(slot_of(t, a->key), memory_order_acquire);
	written = was_written(t, a->key);
	*a->version = (struct version){.never = !written && s.filled,
	                               .since = a->versions->start + (last > s.base ? last : s.base)};
	/* Unless the bits were cleared meanwhile. */
	a->done = atomic_load_explicit(&t->base, memory_order_acquire) == s.base;
}

/* Another file of the database's name, such as a restored backup, has turns that this one has not. */
static bool database_has_its_name(struct versions *v, int64_t now_ms)
{
	struct stat st;

	if (now_ms >= v->checked_ms + MOVED_CHECK_MS || now_ms < v->checked_ms) {
		v->moved = stat(v->file, &st) < 0 || st.st_dev != v->sidecar.device || st.st_ino != v->sidecar.inode;
		v->checked_ms = now_ms;
	}
	return !v->moved;
}

bool versions_find(struct versions *v, int64_t key, int64_t now_ms, struct version *found)
{
	struct access a = {.versions = v, .key = key, .version = found};

	if (pthread_mutex_trylock(&v->lock) != 0)
		return false;
	if (v->table != NULL && v->wal_index != NULL && database_has_its_name(v, now_ms) && !safe_call(find, &a))
		a.done = false;
	pthread_mutex_unlock(&v->lock);
	return a.done;
}

/* ---- writing ---------------------------------------------------------------------------------------- */

static void lock(void *arg)
{
	struct access *a = arg;
	struct versions *v = a->versions;
	struct table *t = v->table;
	struct header now;
	const bool whole = read_state(t, &v->state), log = read_header(v->wal_index, &now);

	if (atomic_load(&t->head.retired) != 0)
		return;
	if (!whole || !log || !is_of(&v->state, &now)) { /* somebody else has written, or died while he did */
		v->state.number += 2;
		v->state.base = v->state.number;
		v->state.filled = false;
		v->state.header = log ? now : (struct header){{0}};
		write_state(t, &v->state);
		atomic_store(&t->fill_ms, v->state.base > 2 ? a->now_ms + FOREIGN_PAUSE_MS : 0);
	}
	if (v->state.number >= LAST_NUMBER)
		atomic_store(&t->head.retired, 1);
	else
		v->current = v->state.number + 1;
}

void versions_locked(struct versions *v)
{
	v->current = v->committed = 0;
	if (v->wal_index != NULL)
		use(v, lock, (struct access){.now_ms = clock_mono_ms()});
}

static void touch(void *arg)
{
	struct access *a = arg;
	struct table *t = a->versions->table;
	_Atomic uint32_t *slot = slot_of(t, a->key);

	a->number = atomic_load_explicit(slot, memory_order_relaxed);
	atomic_store_explicit(slot, a->versions->current, memory_order_release);
	note_written(t, a->key);
	a->done = true;
}

uint64_t versions_touch(struct versions *v, int64_t key)
{
	struct access a;

	if (v == NULL || v->current == 0)
		return VERSIONS_UNKNOWN;
	a = use(v, touch, (struct access){.key = key});
	return a.done ? v->start + a.number : VERSIONS_UNKNOWN;
}

static void unlock(void *arg)
{
	struct access *a = arg;
	struct versions *v = a->versions;
	struct header now;

	if (!read_header(v->wal_index, &now))
		return;
	v->state.number = v->current;
	v->state.header = now;
	write_state(v->table, &v->state);
	a->done = true;
}

void versions_unlocking(struct versions *v)
{
	if (v->current == 0)
		return;
	if (v->wal_index != NULL && use(v, unlock, (struct access){.done = false}).done)
		v->committed = v->current;
	v->current = 0;
}

/* What is known as that number outside; 0: none. */
static uint64_t number_of(const struct versions *v, uint32_t number)
{
	return number > 0 ? v->start + number : 0;
}

uint64_t versions_current(const struct versions *v)
{
	return number_of(v, v->current);
}

uint64_t versions_committed(const struct versions *v)
{
	return number_of(v, v->committed);
}

static void read_number(void *arg)
{
	struct access *a = arg;
	struct state s;

	a->number = read_current(a->versions, &s) ? s.number : 0;
}

uint64_t versions_now(struct versions *v)
{
	return number_of(v, use(v, read_number, (struct access){.number = 0}).number);
}

/* ---- filling ---------------------------------------------------------------------------------------- */

static void claim_filling(void *arg)
{
	struct access *a = arg;
	struct table *t = a->versions->table;
	struct header now;
	struct state s;
	int64_t fill_ms = atomic_load(&t->fill_ms);
	const uint32_t used = atomic_load(&t->used), words = atomic_load(&t->words);
	const bool full = used / THREADS_A_WORD >= words;

	if (a->now_ms < fill_ms || a->versions->wal_index == NULL || !read_header(a->versions->wal_index, &now))
		return;
	/* The largest one may have bits of threads that are deleted. */
	if (read_current(a->versions, &s) && s.filled &&
	    (!full || (words >= WORDS_MAX && used / 2 < atomic_load(&t->used_when_filled))))
		return;
	a->done = atomic_compare_exchange_strong(&t->fill_ms, &fill_ms, a->now_ms + FILLING_MS);
}

bool versions_claim_filling(struct versions *v, int64_t now_ms)
{
	return use(v, claim_filling, (struct access){.now_ms = now_ms}).done;
}

/* Four times as many threads have room. */
static uint32_t words_for(int64_t threads)
{
	uint32_t words = WORDS_MIN;

	while (words < WORDS_MAX && words * THREADS_A_WORD / 4 < threads)
		words *= 2;
	return words;
}

/* Nobody else sets bits: a writer would have the lock, and what others marked is in vain. Who reads them has to see
 * the new base. */
static void begin_filling(void *arg)
{
	struct access *a = arg;
	struct table *t = a->versions->table;
	const int64_t before = atomic_load(&t->used_when_filled); /* in case the database counts too few */
	const uint32_t words = words_for(a->threads > before ? a->threads : before);

	write_state(t, &a->versions->state);
	atomic_store(&t->words, words);
	atomic_store(&t->used, 0);
	for (uint32_t i = 0; i < words; i++)
		atomic_store_explicit(&t->written[i], 0, memory_order_release);
	a->done = true;
}

uint64_t versions_begin_filling(struct versions *v, int64_t threads)
{
	if (v->current == 0)
		return 0;
	v->state.base = v->current;
	v->state.filled = false;
	return use(v, begin_filling, (struct access){.threads = threads}).done ? versions_current(v) : 0;
}

static void claim_again(void *arg)
{
	struct access *a = arg;
	struct table *t = a->versions->table;

	a->done = a->versions->start + atomic_load(&t->base) == a->from;
	if (a->done)
		atomic_store(&t->fill_ms, a->now_ms + FILLING_MS);
}

bool versions_claim_again(struct versions *v, uint64_t from, int64_t now_ms)
{
	return use(v, claim_again, (struct access){.from = from, .now_ms = now_ms}).done;
}

static void mark(void *arg)
{
	struct access *a = arg;

	note_written(a->versions->table, a->key);
}

void versions_mark(struct versions *v, int64_t key)
{
	use(v, mark, (struct access){.key = key});
}

static void end_filling(void *arg)
{
	struct access *a = arg;
	struct table *t = a->versions->table;

	atomic_store(&t->used_when_filled, atomic_load(&t->used));
	a->done = true;
}

bool versions_end_filling(struct versions *v, uint64_t from)
{
	if (v->current == 0 || v->start + v->state.base != from ||
	    !use(v, end_filling, (struct access){.done = false}).done)
		return false;
	v->state.filled = true;
	return true;
}
