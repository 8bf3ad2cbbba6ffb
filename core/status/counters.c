/* SPDX-License-Identifier: Apache-2.0 */
#include "core/status/counters.h"

#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/status/safe_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
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
#define OTHER            "other"
#define FLUSH_NS         INT64_C(100000000)

#define VALUES_MAX 508 /* the series begin on the second page */

/* --- the tables -------------------------------------------------------------------------- */

#define COUNTER(id, name, help) {name, help, false, false, false},
#define GAUGE(id, name, help)   {name, help, true, false, false},
#define MAXIMUM(id, name, help) {name, help, true, true, false},
#define LATEST(id, name, help)  {name, help, false, true, true},
static const struct {
	const char *name, *help;
	bool gauge, maximum, latest;
} table[] = {
#include "core/status/counters.def"
};
#undef COUNTER
#undef GAUGE
#undef MAXIMUM
#undef LATEST

/* Where the values of a member are: AT_<id>, and MODEL_WORDS for all of them. */
#define PLACE(id, words) AT_##id, LAST_OF_##id = AT_##id + (words)-1,
#define NO_PLACE(id, words)
#define EACH_COUNTER(label, id, ...)        IN_##label(id, 1)
#define EACH_GAUGE(label, id, ...)          IN_##label(id, 1)
#define EACH_BY(label, id, by, values, ...) IN_##label(id, METRIC_COUNT_OF(values))
#define HISTOGRAM(label, id, buckets, ...)  IN_##label(id, METRIC_COUNT_OF(buckets) + 2)
#define IN_MODEL                            PLACE
#define IN_TOOL                             NO_PLACE
#define IN_ENDPOINT                         NO_PLACE
enum {
#include "core/status/metrics.def"
	MODEL_WORDS
};
#undef IN_MODEL
#undef IN_TOOL
#define IN_MODEL                            NO_PLACE
#define IN_TOOL                             PLACE
#define EACH_COUNTER(label, id, ...)        IN_##label(id, 1)
#define EACH_GAUGE(label, id, ...)          IN_##label(id, 1)
#define EACH_BY(label, id, by, values, ...) IN_##label(id, METRIC_COUNT_OF(values))
#define HISTOGRAM(label, id, buckets, ...)  IN_##label(id, METRIC_COUNT_OF(buckets) + 2)
enum {
#include "core/status/metrics.def"
	TOOL_WORDS
};
#undef IN_TOOL
#undef IN_ENDPOINT
#define IN_TOOL                             NO_PLACE
#define IN_ENDPOINT                         PLACE
#define EACH_COUNTER(label, id, ...)        IN_##label(id, 1)
#define EACH_GAUGE(label, id, ...)          IN_##label(id, 1)
#define EACH_BY(label, id, by, values, ...) IN_##label(id, METRIC_COUNT_OF(values))
#define HISTOGRAM(label, id, buckets, ...)  IN_##label(id, METRIC_COUNT_OF(buckets) + 2)
enum {
#include "core/status/metrics.def"
	ENDPOINT_WORDS
};

#define BOUND_TEXT(text, us)               text,
#define BOUND_US(text, us)                 us,
#define VALUE_TEXT(text)                   text,
#define NO_TEXTS                           NULL, NULL, 0
#define EACH_COUNTER(label, id, name, ...) {LABEL_##label, SERIES_COUNTER, name, NULL, NO_TEXTS, 1, AT_##id},
#define EACH_GAUGE(label, id, name, ...)   {LABEL_##label, SERIES_GAUGE, name, NULL, NO_TEXTS, 1, AT_##id},
#define EACH_BY(label, id, by, values, name, ...)                                                                      \
	{LABEL_##label,                                                                                                \
	 SERIES_BY,                                                                                                    \
	 name,                                                                                                         \
	 by,                                                                                                           \
	 (const char *const[]){values(VALUE_TEXT)},                                                                    \
	 NULL,                                                                                                         \
	 METRIC_COUNT_OF(values),                                                                                      \
	 METRIC_COUNT_OF(values),                                                                                      \
	 AT_##id},
#define HISTOGRAM(label, id, buckets, name, ...)                                                                       \
	{LABEL_##label,                                                                                                \
	 SERIES_HISTOGRAM,                                                                                             \
	 name,                                                                                                         \
	 NULL,                                                                                                         \
	 (const char *const[]){buckets(BOUND_TEXT)},                                                                   \
	 (const int64_t[]){buckets(BOUND_US)},                                                                         \
	 METRIC_COUNT_OF(buckets),                                                                                     \
	 METRIC_COUNT_OF(buckets) + 2,                                                                                 \
	 AT_##id},
static const struct counter_series_info series[] = {
#include "core/status/metrics.def"
};

const struct counter_series_info *counter_series_info(enum counter_series s)
{
	return &series[s];
}

/* --- the file ------------------------------------------------------------------------------ */

/* How many members of a label one worker has room for; the last one is "other". */
#define NAME_WORDS         ((COUNTER_NAME_MAX + 1) / 8)
#define MODELS_MAX         32
#define TOOLS_MAX          32
#define ENDPOINTS_MAX      48
#define SLOT_WORDS(values) (1 + NAME_WORDS + (values))

/* Where they are among the words; a slot is 1 if it is used, the name, and the values. */
static const struct {
	size_t at, slots, words, values;
} labels[COUNTER_LABELS] = {
	[LABEL_MODEL] = {0, MODELS_MAX, SLOT_WORDS(MODEL_WORDS), MODEL_WORDS},
	[LABEL_TOOL] = {MODELS_MAX * SLOT_WORDS(MODEL_WORDS), TOOLS_MAX, SLOT_WORDS(TOOL_WORDS), TOOL_WORDS},
	[LABEL_ENDPOINT] = {MODELS_MAX * SLOT_WORDS(MODEL_WORDS) + TOOLS_MAX * SLOT_WORDS(TOOL_WORDS), ENDPOINTS_MAX,
                            SLOT_WORDS(ENDPOINT_WORDS), ENDPOINT_WORDS},
};
#define LABEL_WORDS                                                                                                    \
	(MODELS_MAX * SLOT_WORDS(MODEL_WORDS) + TOOLS_MAX * SLOT_WORDS(TOOL_WORDS) +                                   \
	 ENDPOINTS_MAX * SLOT_WORDS(ENDPOINT_WORDS))

struct counters_file {
	uint64_t magic;
	uint64_t version;
	int64_t writer_pid;
	_Atomic int64_t values[VALUES_MAX]; /* COUNTERS of them */
	uint64_t layout;                    /* of the words; another one: they are those of another build */
	_Atomic int64_t words[LABEL_WORDS];
};
_Static_assert(COUNTERS <= VALUES_MAX && offsetof(struct counters_file, words) == 4096, "layout");

/* Of the series in their order, and of their buckets. */
static uint64_t layout(void)
{
	uint64_t hash = 14695981039346656037u;

	for (size_t s = 0; s < COUNTER_SERIES; s++) {
		for (const char *c = series[s].name; *c != '\0'; c++)
			hash = (hash ^ (unsigned char)*c) * 1099511628211u;
		for (size_t i = 0; series[s].texts != NULL && i < series[s].count; i++)
			for (const char *c = series[s].texts[i]; *c != '\0'; c++)
				hash = (hash ^ (unsigned char)*c) * 1099511628211u;
		hash = (hash ^ series[s].at ^ (uint64_t)series[s].label << 32) * 1099511628211u;
	}
	return hash;
}

struct counters {
	struct counters_file *file;
	int fd;                /* holds the lock */
	int64_t work_began_ns; /* in this iteration of the loop; 0: not yet */
	/* The members that this worker knows, as in the file. */
	size_t member_count[COUNTER_LABELS];
	char (*names[COUNTER_LABELS])[COUNTER_NAME_MAX + 1];
	/* What counters_observe_gap has observed since it was last written, and of which models. */
	struct {
		int64_t counts[METRIC_COUNT_OF(TOKEN_GAP_BUCKETS) + 1], sum_us;
	} gaps[MODELS_MAX];
	uint32_t gaps_of;
	int64_t flushed_ns;
};
_Static_assert(MODELS_MAX <= 32, "one bit for each");

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

/* A word of slot n: -1 is whether it is used, the name begins at 0, the values at NAME_WORDS. */
static _Atomic int64_t *slot_word(struct counters_file *f, enum counter_label label, size_t n, size_t word)
{
	return &f->words[labels[label].at + n * labels[label].words + 1 + word];
}

static bool is_used(struct counters_file *f, enum counter_label label, size_t n)
{
	uint64_t used;

	return safe_load(slot_word(f, label, n, 0) - 1, &used) && used == 1;
}

static void reset_gauges(struct counters_file *f)
{
	for (size_t s = 0; s < COUNTER_SERIES; s++)
		for (size_t n = 0; series[s].kind == SERIES_GAUGE && n < labels[series[s].label].slots; n++)
			safe_store(slot_word(f, series[s].label, n, NAME_WORDS + series[s].at), 0);
}

static void begin(struct counters_file *f)
{
	bool fresh = !is_ours(f);
	uint64_t known = 0;

	for (size_t i = 0; i < COUNTERS; i++)
		if (fresh || table[i].gauge)
			safe_store(&f->values[i], 0);
	if (fresh || !safe_load(&f->layout, &known) || known != layout())
		for (size_t i = 0; i < LABEL_WORDS; i++)
			safe_store(&f->words[i], 0);
	reset_gauges(f);
	safe_store(&f->layout, layout());
	safe_store(&f->version, COUNTERS_VERSION);
	safe_store(&f->writer_pid, (uint64_t)getpid());
	safe_store(&f->magic, COUNTERS_MAGIC);
}

/* The names of slot n, "" if it cannot be read. */
static void read_name(struct counters_file *f, enum counter_label label, size_t n, char out[COUNTER_NAME_MAX + 1])
{
	if (!safe_copy(out, slot_word(f, label, n, 0), COUNTER_NAME_MAX + 1))
		out[0] = '\0';
	out[COUNTER_NAME_MAX] = '\0';
}

static int know_members(struct counters *c)
{
	for (size_t l = 0; l < COUNTER_LABELS; l++) {
		enum counter_label label = (enum counter_label)l;

		c->names[l] = calloc(labels[l].slots, sizeof *c->names[l]);
		if (c->names[l] == NULL)
			return -1;
		while (c->member_count[l] < labels[l].slots - 1 && is_used(c->file, label, c->member_count[l])) {
			read_name(c->file, label, c->member_count[l], c->names[l][c->member_count[l]]);
			c->member_count[l]++;
		}
	}
	return 0;
}

void counters_close(struct counters *c)
{
	if (c == NULL)
		return;
	if (c->file != NULL)
		counters_flush(c);
	for (size_t l = 0; l < COUNTER_LABELS; l++)
		free(c->names[l]);
	if (c->file != NULL)
		munmap(c->file, sizeof *c->file);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
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
	if (know_members(c) < 0) {
		err_set(e, "out of memory");
		goto bad;
	}
	return c;
bad:
	counters_close(c);
	return NULL;
}

void counters_add(struct counters *c, enum counter id, int64_t n)
{
	if (c != NULL)
		safe_add(&c->file->values[id], n);
}

void counters_set(struct counters *c, enum counter id, int64_t value)
{
	if (c != NULL)
		safe_store(&c->file->values[id], (uint64_t)(clock_boot_ms() / 1000) << 32 | (uint64_t)(uint32_t)value);
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

static void write_gaps(struct counters *c, unsigned member)
{
	const struct counter_series_info *info = &series[SERIES_TOKEN_GAP];
	_Atomic int64_t *values = slot_word(c->file, LABEL_MODEL, member, NAME_WORDS + info->at);
	int64_t sum_us = c->gaps[member].sum_us;

	for (size_t i = 0; i <= info->count; i++) {
		if (c->gaps[member].counts[i] == 0)
			continue;
		safe_add_pair(&values[i], c->gaps[member].counts[i], &values[info->count + 1], sum_us);
		sum_us = 0;
	}
	memset(&c->gaps[member], 0, sizeof c->gaps[member]);
}

void counters_flush(struct counters *c)
{
	for (unsigned member = 0; c != NULL && c->gaps_of != 0; member++) {
		if ((c->gaps_of & 1u << member) != 0)
			write_gaps(c, member);
		c->gaps_of &= ~(1u << member);
	}
}

void counters_end_iteration(struct counters *c, int64_t now_ns)
{
	_Atomic int64_t *longest;
	int64_t us;
	uint64_t value;

	if (c != NULL && c->gaps_of != 0 && now_ns - c->flushed_ns >= FLUSH_NS) {
		counters_flush(c);
		c->flushed_ns = now_ns;
	}
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

/* --- series: the writer ------------------------------------------------------------------------ */

static void use_slot(struct counters *c, enum counter_label label, size_t n, const char *name)
{
	for (size_t i = 0; i < NAME_WORDS; i++) {
		uint64_t word;

		memcpy(&word, name + i * sizeof word, sizeof word);
		safe_store(slot_word(c->file, label, n, i), word);
	}
	safe_store(slot_word(c->file, label, n, 0) - 1, 1);
}

/* How many there are: it is none of them. */
static size_t find_member(const struct counters *c, enum counter_label label, const char *name)
{
	size_t n = 0;

	while (n < c->member_count[label] && strcmp(c->names[label][n], name) != 0)
		n++;
	return n;
}

unsigned counters_member(struct counters *c, enum counter_label label, const char *name)
{
	char known_as[COUNTER_NAME_MAX + 1] = "";
	size_t other = labels[label].slots - 1, n;

	if (c == NULL)
		return 0;
	n = find_member(c, label, name); /* most are harmless as they are */
	if (n < c->member_count[label])
		return (unsigned)n;
	memcpy(known_as, name, utf8_cut(name, COUNTER_NAME_MAX));
	utf8_disarm(known_as);
	n = find_member(c, label, known_as);
	if (n < c->member_count[label])
		return (unsigned)n;
	if (n == other) {
		use_slot(c, label, other, (const char[COUNTER_NAME_MAX + 1]){OTHER});
	} else {
		memcpy(c->names[label][n], known_as, sizeof known_as);
		c->member_count[label]++;
		use_slot(c, label, n, known_as);
	}
	return (unsigned)n;
}

void counters_count(struct counters *c, enum counter_series s, unsigned member, size_t which, int64_t n)
{
	_Atomic int64_t *word;

	if (c == NULL)
		return;
	word = slot_word(c->file, series[s].label, member, NAME_WORDS + series[s].at + which);
	safe_add_pair(word, n, word, 0);
}

static size_t bucket_of(const struct counter_series_info *info, int64_t us)
{
	size_t bucket = 0;

	while (bucket < info->count && us > info->bounds_us[bucket])
		bucket++;
	return bucket;
}

void counters_observe_gap(struct counters *c, unsigned member, int64_t ns, int64_t n)
{
	int64_t us = ns / 1000;

	if (c == NULL || n <= 0)
		return;
	c->gaps[member].counts[bucket_of(&series[SERIES_TOKEN_GAP], us)] += n;
	c->gaps[member].sum_us += n * us;
	c->gaps_of |= 1u << member;
}

void counters_observe(struct counters *c, enum counter_series s, unsigned member, int64_t ns, int64_t n)
{
	const struct counter_series_info *info = &series[s];
	int64_t us = ns / 1000;
	size_t bucket;

	if (c == NULL || n <= 0)
		return;
	bucket = bucket_of(info, us);
	safe_add_pair(slot_word(c->file, info->label, member, NAME_WORDS + info->at + bucket), n,
	              slot_word(c->file, info->label, member, NAME_WORDS + info->at + info->count + 1), n * us);
}

/* --- the reader ---------------------------------------------------------------------------------- */

static void add_values(struct counters_file *f, const struct stat *st, bool lives, int64_t sums[COUNTERS])
{
	size_t count = counters_in(st);

	for (size_t i = 0; i < count; i++) {
		uint64_t value;

		if ((!lives && table[i].gauge) || !safe_load(&f->values[i], &value))
			continue;
		if (table[i].maximum)
			sums[i] = (int64_t)value > sums[i] ? (int64_t)value : sums[i];
		else
			sums[i] = (int64_t)((uint64_t)sums[i] + value); /* any value, if it is damaged */
	}
}

/* The member of that name; "other" where there are too many; NULL: no memory. */
static struct counter_member *member_of(struct counters_total *t, enum counter_label label, const char *name)
{
	struct counter_member *all = t->members[label];
	size_t n = 0;

	while (n < t->member_count[label] && strcmp(all[n].name, name) != 0)
		n++;
	if (n < t->member_count[label])
		return &all[n];
	if (n >= COUNTER_MEMBERS_MAX - 1 && strcmp(name, OTHER) != 0)
		return member_of(t, label, OTHER);
	all[n].values = calloc(labels[label].values, sizeof *all[n].values);
	if (all[n].values == NULL)
		return NULL;
	memcpy(all[n].name, name, sizeof all[n].name);
	t->member_count[label]++;
	return &all[n];
}

static void add_slot(struct counters_file *f, enum counter_label label, size_t n, bool lives, struct counters_total *t)
{
	uint64_t values[MODEL_WORDS];
	char name[COUNTER_NAME_MAX + 1];
	struct counter_member *m;

	_Static_assert(MODEL_WORDS >= (int)TOOL_WORDS && MODEL_WORDS >= (int)ENDPOINT_WORDS,
	               "room for the values of any");
	read_name(f, label, n, name);
	utf8_disarm(name);
	if (!safe_load_words(values, slot_word(f, label, n, NAME_WORDS), labels[label].values) ||
	    (m = member_of(t, label, name)) == NULL)
		return;
	for (size_t s = 0; !lives && s < COUNTER_SERIES; s++)
		if (series[s].kind == SERIES_GAUGE && series[s].label == label)
			values[series[s].at] = 0;
	for (size_t i = 0; i < labels[label].values; i++)
		m->values[i] = (int64_t)((uint64_t)m->values[i] + values[i]);
}

static void add_members(struct counters_file *f, bool lives, struct counters_total *t)
{
	uint64_t known;

	if (!safe_load(&f->layout, &known) || known != layout())
		return;
	for (size_t l = 0; l < COUNTER_LABELS; l++)
		for (size_t n = 0; n < labels[l].slots; n++)
			if (is_used(f, (enum counter_label)l, n))
				add_slot(f, (enum counter_label)l, n, lives, t);
}

/* t: NULL: only the sums are wanted. */
static void add_file(int fd, unsigned number, int64_t sums[COUNTERS], struct counters_total *t)
{
	struct stat st;
	struct counters_file *f;
	uint64_t pid;
	bool lives;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (f = map_file(fd, PROT_READ)) == NULL)
		return;
	lives = has_writer(fd);
	if (is_ours(f)) {
		add_values(f, &st, lives, sums);
		if (t != NULL)
			add_members(f, lives, t);
		if (t != NULL && lives && t->worker_count < sizeof t->workers / sizeof t->workers[0] &&
		    safe_load(&f->writer_pid, &pid))
			t->workers[t->worker_count++] = (struct counter_worker){.number = number, .pid = (int64_t)pid};
	}
	munmap(f, sizeof *f);
}

static bool is_worker_file(const char *name)
{
	const char *number = name + strlen(PREFIX);

	return strncmp(name, PREFIX, strlen(PREFIX)) == 0 && *number != '\0' && strlen(number) <= 6 &&
	       strspn(number, "0123456789") == strlen(number);
}

static int by_number(const void *a, const void *b)
{
	const unsigned *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int read_files(const char *dir, int64_t sums[COUNTERS], struct counters_total *t, struct err *e)
{
	DIR *d = opendir(dir);
	const struct dirent *entry;
	unsigned numbers[WORKERS_MAX];
	size_t count = 0;

	memset(sums, 0, COUNTERS * sizeof sums[0]);
	if (d == NULL)
		return err_set_errno(e, errno, "open %s", dir);
	safe_read_install();
	while (count < WORKERS_MAX && (entry = readdir(d)) != NULL)
		if (is_worker_file(entry->d_name))
			numbers[count++] = (unsigned)strtoul(entry->d_name + strlen(PREFIX), NULL, 10);
	/* In their order, so that where there are too many names it is always the same ones that are "other". */
	qsort(numbers, count, sizeof numbers[0], by_number);
	for (size_t i = 0; i < count; i++) {
		char name[32];
		int fd;

		snprintf(name, sizeof name, PREFIX "%u", numbers[i]);
		fd = openat(dirfd(d), name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd < 0)
			continue;
		add_file(fd, numbers[i], sums, t);
		close(fd);
	}
	closedir(d);
	for (size_t i = 0; i < COUNTERS; i++)
		if (table[i].latest)
			sums[i] &= UINT32_MAX;
	return 0;
}

int counters_sum(const char *dir, int64_t sums[COUNTERS], struct err *e)
{
	return read_files(dir, sums, NULL, e);
}

struct counters_total *counters_read(const char *dir, struct err *e)
{
	struct counters_total *t = calloc(1, sizeof *t);

	if (t == NULL) {
		err_set(e, "out of memory");
		return NULL;
	}
	if (read_files(dir, t->sums, t, e) < 0) {
		free(t);
		return NULL;
	}
	return t;
}

void counters_total_free(struct counters_total *t)
{
	if (t == NULL)
		return;
	for (size_t l = 0; l < COUNTER_LABELS; l++)
		for (size_t n = 0; n < t->member_count[l]; n++)
			free(t->members[l][n].values);
	free(t);
}

int64_t counters_observations(const struct counter_member *m, enum counter_series s)
{
	int64_t sum = 0;

	for (size_t i = 0; i <= series[s].count; i++)
		sum += m->values[series[s].at + i];
	return sum;
}

double counters_quantile(const struct counter_member *m, enum counter_series s, double q)
{
	const struct counter_series_info *info = &series[s];
	double rank = q * (double)counters_observations(m, s), below = 0, from = 0;

	for (size_t i = 0; i <= info->count; i++) {
		double in = (double)m->values[info->at + i];
		double to = i < info->count ? (double)info->bounds_us[i] / 1e6 : from;

		if (in > 0 && below + in >= rank)
			return from + (to - from) * (rank - below) / in;
		below += in;
		from = to;
	}
	return NAN;
}
