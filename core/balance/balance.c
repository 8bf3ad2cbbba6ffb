/* SPDX-License-Identifier: Apache-2.0 */
#include "core/balance/balance.h"

#include "core/base/log.h"
#include "core/base/process.h"
#include "core/status/metrics.h"
#include "core/status/safe_read.h"
#include "core/status/shared_file.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC   UINT64_C(0x4c414254474154) /* "TAGTBAL", little endian */
#define VERSION 1
#define ROWS    BALANCE_LLMS_MAX
#define PROBES  64u   /* where one may be */
#define SETS    8192u /* of threads that are remembered */
#define WAYS    4u

#define SECOND_NS INT64_C(1000000000)
#define IDLE_NS   (600 * SECOND_NS) /* an LLM that nothing was heard of for so long makes room for another one */
#define SEEN_NS   (SECOND_NS / 4)   /* how exactly it is noted when one could be used */
#define GONE_NS   (2 * SECOND_NS)   /* one that could not be used for so long has come back */
#define GROW_NS   SECOND_NS         /* a learned capacity grows at most so often */
#define GROW_PART 16                /* by this part, and by one */
#define FORGET_NS (300 * SECOND_NS) /* what was learned, and not met since */
#define OTHERS_NS (5 * SECOND_NS)   /* what other hosts said counts for so long */
#define NEW_SHARE 0.1               /* that a new replica begins with */
#define PACE_PART 8                 /* of the mean, that the last turn makes */

struct row {
	uint64_t instance; /* 0: free */
	uint32_t in_flight, configured, learned, learned_from;
	int64_t learned_ns; /* when it last changed */
	int64_t seen_ns;    /* when a turn could last have been sent to it; 0: never */
	int64_t since_ns;   /* its share grows from then on; 0: it has all of it */
	int64_t pace_ns;
	uint64_t taken, refused;
	int64_t reported_ns;
	uint32_t running, waiting;
	uint32_t others, unused2; /* in flight from other hosts, */
	int64_t others_ns;        /* as they said then */
	uint64_t unused[3];
};

/* Which replica answered it last: the lower half of its instance. */
struct thread {
	uint64_t thread; /* 0: free */
	uint32_t instance, used_s;
};

struct page {
	uint16_t held[ROWS]; /* places of this process, by row */
};

struct file {
	struct shared_head head;
	_Atomic uint64_t freed;
	uint64_t unused[7];
	struct row rows[ROWS];
	struct thread sets[SETS][WAYS];
	struct page pages[SHARED_FILE_PAGES];
};

_Static_assert(sizeof(struct row) == 128 && sizeof(struct thread) == 16, "layout");
_Static_assert(sizeof(struct file) ==
                       sizeof(struct shared_head) + 64 + 128 * ROWS + 16 * SETS * WAYS + 2 * ROWS * SHARED_FILE_PAGES,
               "layout");

/* Given back as soon as the lock can be had. */
struct owed {
	struct balance_place place;
	enum balance_end end;
	int64_t now_ns;
};

struct balance {
	struct shared_file *file;
	uint64_t random; /* the state of xorshift64 */
	bool logged;     /* that nothing is counted */
	struct owed *owed;
	size_t owed_count, owed_room;
};

/* ---- the file ---------------------------------------------------------------------------------------------- */

static void recount(void *file)
{
	struct file *f = file;

	for (uint32_t i = 0; i < ROWS; i++)
		f->rows[i].in_flight = 0;
	for (uint32_t p = 0; p < SHARED_FILE_PAGES; p++)
		for (uint32_t i = 0; shared_file_is_claimed(&f->head, p) && i < ROWS; i++)
			f->rows[i].in_flight += f->pages[p].held[i];
	atomic_fetch_add(&f->freed, 1);
}

static const struct shared_kind kind = {
	.name = BALANCE_FILE,
	.magic = MAGIC,
	.version = VERSION,
	.size = sizeof(struct file),
	.pages_at = offsetof(struct file, pages),
	.page_size = sizeof(struct page),
	.recount = recount,
};

static void note_state(struct balance *b, const struct err *e)
{
	if (err_is_set(e) && !b->logged)
		log_event(LOG_BALANCE_NOT_COUNTED, L_STR("error", e->text));
	b->logged = err_is_set(e);
}

struct balance *balance_open(const char *run_dir)
{
	struct balance *b = calloc(1, sizeof *b);
	struct err e = ERR_INIT;

	if (b == NULL)
		return NULL;
	b->random = process_random() | 1;
	b->file = shared_file_open(run_dir, &kind, &e);
	note_state(b, &e);
	if (b->file != NULL)
		return b;
	free(b);
	return NULL;
}

void balance_close(struct balance *b)
{
	if (b == NULL)
		return;
	shared_file_close(b->file);
	free(b->owed);
	free(b);
}

/* FNV-1a */
uint64_t balance_hash(uint64_t begun, const char *text)
{
	uint64_t h = begun != 0 ? begun : UINT64_C(14695981039346656037);

	do
		h = (h ^ (unsigned char)*text) * UINT64_C(1099511628211);
	while (*text++ != '\0');
	return h != 0 ? h : 1;
}

/* xorshift64 */
static uint64_t next_random(struct balance *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return b->random;
}

/* ---- rows ---------------------------------------------------------------------------------------------------- */

static bool is_idle(const struct row *r, int64_t now_ns)
{
	return r->in_flight == 0 && now_ns - r->seen_ns > IDLE_NS && now_ns - r->reported_ns > IDLE_NS;
}

/* NULL: it has none (makes: and all places where it may be are taken by others). */
static struct row *find_row(struct file *f, uint64_t instance, bool makes, int64_t now_ns)
{
	struct row *unused = NULL;

	for (uint32_t i = 0; i < PROBES; i++) {
		struct row *r = &f->rows[(instance + i) % ROWS];

		if (r->instance == instance)
			return r;
		if (unused == NULL && (r->instance == 0 || is_idle(r, now_ns)))
			unused = r;
		if (r->instance == 0)
			break; /* none is ever freed, only taken over */
	}
	if (!makes || unused == NULL)
		return NULL;
	*unused = (struct row){.instance = instance};
	return unused;
}

static uint32_t capacity_of(const struct row *r, enum balance_source *from)
{
	bool learned = r->learned != 0 && (r->configured == 0 || r->learned < r->configured);

	if (from != NULL)
		*from = learned              ? (enum balance_source)r->learned_from
		        : r->configured != 0 ? BALANCE_CONFIGURED
		                             : BALANCE_UNKNOWN;
	return learned ? r->learned : r->configured;
}

static void learn(struct row *r, uint32_t capacity, enum balance_source from, int64_t now_ns)
{
	if (capacity == 0)
		capacity = 1;
	if (r->learned == 0 || capacity < r->learned) {
		r->learned = capacity;
		r->learned_from = from;
	}
	r->learned_ns = now_ns;
}

/* More than what was learned is tried where that is the limit. */
static void grow(struct row *r, int64_t now_ns)
{
	if (r->learned == 0 || r->in_flight < r->learned || now_ns - r->learned_ns < GROW_NS)
		return;
	r->learned += 1 + r->learned / GROW_PART;
	r->learned_ns = now_ns;
}

/* What was learned from its queue grows when its server says that there is none. */
static void age(struct row *r, int64_t now_ns)
{
	if (now_ns - r->learned_ns > FORGET_NS)
		r->learned = 0;
	else if (r->learned_from == BALANCE_REFUSED)
		grow(r, now_ns);
}

static void grow_all(void *file, void *arg)
{
	const int64_t *now_ns = arg;
	struct file *f = file;

	for (uint32_t i = 0; i < ROWS; i++)
		if (f->rows[i].learned != 0)
			age(&f->rows[i], *now_ns);
	atomic_fetch_add(&f->freed, 1);
}

/* ---- threads ---------------------------------------------------------------------------------------------------- */

static struct thread *find_thread(struct file *f, uint64_t thread)
{
	struct thread *set = f->sets[thread % SETS];

	for (uint32_t i = 0; i < WAYS; i++)
		if (set[i].thread == thread)
			return &set[i];
	return NULL;
}

/* In place of the one that was used the longest time ago. */
static void remember(struct file *f, uint64_t thread, uint64_t instance, int64_t now_ns)
{
	struct thread *set = f->sets[thread % SETS], *at = find_thread(f, thread);

	if (at == NULL)
		at = set;
	for (uint32_t i = 0; at->thread != thread && i < WAYS; i++)
		if (set[i].used_s < at->used_s)
			at = &set[i];
	*at = (struct thread){
		.thread = thread, .instance = (uint32_t)instance, .used_s = (uint32_t)(now_ns / SECOND_NS)};
}

/* ---- a place -------------------------------------------------------------------------------------------------- */

/* What is done under the lock. */
struct operation {
	struct balance *balance;
	const struct balance_request *request;
	struct balance_place *place;
	struct balance_group *group;
	struct balance_llm *llm;
	const struct balance_report *report;
	uint64_t instance;
	enum balance_end end;
	int64_t now_ns;
	int result;
};

/* When each of them could last be used: one that could not, while others could, has come back. */
static void note_seen(const struct balance_request *r, struct row *const *rows)
{
	int64_t latest_ns = 0;

	for (size_t i = 0; i < r->count; i++)
		if (rows[i] != NULL && rows[i]->seen_ns > latest_ns)
			latest_ns = rows[i]->seen_ns;
	for (size_t i = 0; i < r->count; i++) {
		struct row *row = rows[i];

		if (row == NULL)
			continue;
		if (latest_ns - row->seen_ns > GONE_NS)
			row->since_ns = r->now_ns;
		if (r->now_ns - row->seen_ns > SEEN_NS)
			row->seen_ns = r->now_ns;
	}
}

static double share_of(const struct row *row, const struct balance_request *r)
{
	int64_t age_ns = r->now_ns - row->since_ns;

	if (row->since_ns == 0 || age_ns >= r->warmup_ns || age_ns < 0)
		return 1;
	return NEW_SHARE + (1 - NEW_SHARE) * (double)age_ns / (double)r->warmup_ns;
}

static struct balance_load load_of(const struct row *row, const struct balance_request *r, size_t i)
{
	struct balance_load l = {.weight = r->replicas[i].degraded ? 0.5 : 1, .share = 1};

	if (row != NULL) {
		l.in_flight = row->in_flight;
		l.capacity = capacity_of(row, NULL);
		l.share = share_of(row, r);
	}
	return l;
}

/* What other hosts have there changes the order, but not whether there is room: it is only a hint. */
static void add_others(struct balance_load *l, const struct row *row, int64_t now_ns)
{
	if (row == NULL || now_ns - row->others_ns >= OTHERS_NS)
		return;
	l->in_flight += row->others;
	l->capacity += l->capacity != 0 ? row->others : 0;
}

static void take(void *file, void *arg)
{
	struct balance_load loads[BALANCE_REPLICAS_MAX];
	struct row *rows[BALANCE_REPLICAS_MAX], *row;
	struct operation *op = arg;
	const struct balance_request *r = op->request;
	const struct thread *t;
	struct file *f = file;
	size_t last = BALANCE_NONE;
	uint16_t *held;

	rows[0] = NULL;
	for (size_t i = 0; i < r->count; i++)
		rows[i] = find_row(f, r->replicas[i].instance, true, r->now_ns);
	if (r->count > 1)
		note_seen(r, rows);
	else if (rows[0] != NULL)
		rows[0]->seen_ns = r->now_ns;
	t = r->count > 1 && r->thread != 0 ? find_thread(f, r->thread) : NULL;
	for (size_t i = 0; i < r->count; i++) {
		loads[i] = load_of(rows[i], r, i);
		add_others(&loads[i], rows[i], r->now_ns);
		if (t != NULL && t->instance == (uint32_t)r->replicas[i].instance)
			last = i;
	}
	op->result = balance_choose(loads, r->count, last, next_random(op->balance), r->forced);
	row = op->result >= 0 ? rows[op->result] : NULL;
	if (row == NULL)
		return;
	held = &f->pages[shared_file_page(op->balance->file)].held[row - f->rows];
	if (*held == UINT16_MAX)
		return;
	++*held;
	row->in_flight++;
	row->taken++;
	*op->place = (struct balance_place){.file = f->head.random,
	                                    .instance = row->instance,
	                                    .thread = r->thread,
	                                    .row = (uint32_t)(row - f->rows),
	                                    .began_ns = r->now_ns};
}

int balance_take(struct balance *b, const struct balance_request *r, struct balance_place *out)
{
	struct operation op = {.balance = b, .request = r, .place = out};

	memset(out, 0, sizeof *out);
	if (b != NULL && shared_file_change(b->file, take, &op))
		return op.result;
	memset(out, 0, sizeof *out);
	return b != NULL ? (int)(next_random(b) % r->count) : 0;
}

static void give(void *file, void *arg)
{
	struct operation *op = arg;
	const struct balance_place *p = op->place;
	struct file *f = file;
	struct row *row = p->row < ROWS ? &f->rows[p->row] : NULL;
	uint16_t *held = &f->pages[shared_file_page(op->balance->file)].held[p->row % ROWS];

	if (p->file != f->head.random || row == NULL || row->instance != p->instance || *held == 0)
		return;
	if (op->end == BALANCE_BUSY) {
		row->refused++;
		learn(row, row->in_flight - 1, BALANCE_REFUSED, op->now_ns);
	} else if (op->end == BALANCE_ANSWERED) {
		int64_t took_ns = op->now_ns > p->began_ns ? op->now_ns - p->began_ns : 0;

		row->pace_ns = row->pace_ns == 0 ? took_ns : row->pace_ns + (took_ns - row->pace_ns) / PACE_PART;
	}
	if (p->thread != 0 && (op->end == BALANCE_ANSWERED || op->end == BALANCE_STOPPED))
		remember(f, p->thread, p->instance, op->now_ns);
	--*held;
	row->in_flight--;
	atomic_fetch_add(&f->freed, 1);
}

static void owe(struct balance *b, const struct operation *op)
{
	if (b->owed_count == b->owed_room) {
		size_t room = b->owed_room == 0 ? 64 : 2 * b->owed_room;
		struct owed *more = reallocarray(b->owed, room, sizeof *more);

		if (more == NULL)
			return;
		b->owed = more;
		b->owed_room = room;
	}
	b->owed[b->owed_count++] = (struct owed){.place = *op->place, .end = op->end, .now_ns = op->now_ns};
}

void balance_give(struct balance *b, struct balance_place *p, enum balance_end end, int64_t now_ns)
{
	struct operation op = {.balance = b, .place = p, .end = end, .now_ns = now_ns};

	if (b != NULL && p->file != 0 && !shared_file_change(b->file, give, &op) && shared_file_map(b->file) != NULL)
		owe(b, &op);
	p->file = 0;
}

void balance_tick(struct balance *b, int64_t now_ns)
{
	struct err e = ERR_INIT;
	size_t count;

	if (b == NULL)
		return;
	shared_file_tick(b->file, &e);
	note_state(b, &e);
	shared_file_change(b->file, grow_all, &now_ns);
	count = b->owed_count;
	b->owed_count = 0;
	for (size_t i = 0; i < count; i++) {
		struct owed owed = b->owed[i];

		balance_give(b, &owed.place, owed.end, owed.now_ns);
	}
}

/* ---- those who wait --------------------------------------------------------------------------------------------- */

uint64_t balance_freed(const struct balance *b)
{
	const struct file *f = b != NULL ? shared_file_map(b->file) : NULL;
	uint64_t freed;

	return f != NULL && safe_load(&f->freed, &freed) ? freed : 0;
}

static void sum_group(void *file, void *arg)
{
	struct operation *op = arg;
	const struct balance_request *r = op->request;
	struct balance_group *g = op->group;
	bool unlimited = false;
	int64_t paces = 0;

	*g = (struct balance_group){.replicas = (uint32_t)r->count};
	for (size_t i = 0; i < r->count; i++) {
		const struct row *row = find_row(file, r->replicas[i].instance, false, op->now_ns);
		const struct balance_load l = load_of(row, r, i);

		g->in_flight += l.in_flight;
		g->capacity += l.capacity;
		g->free += l.in_flight < l.capacity ? l.capacity - l.in_flight : 0;
		unlimited |= l.capacity == 0;
		if (row != NULL && row->pace_ns != 0) {
			g->pace_ns += row->pace_ns;
			paces++;
		}
	}
	if (paces > 0)
		g->pace_ns /= paces;
	if (unlimited) {
		g->capacity = 0;
		g->free = UINT32_MAX;
	}
}

void balance_group(struct balance *b, const struct balance_request *r, struct balance_group *out)
{
	struct operation op = {.request = r, .group = out, .now_ns = r->now_ns};

	if (b == NULL || !shared_file_change(b->file, sum_group, &op))
		*out = (struct balance_group){.replicas = (uint32_t)r->count, .free = UINT32_MAX};
}

/* ---- what is known ---------------------------------------------------------------------------------------------- */

const char *balance_source_text(enum balance_source s)
{
	static const char *const texts[] = {
		[BALANCE_UNKNOWN] = "unknown",
		[BALANCE_CONFIGURED] = "configured",
		[BALANCE_REFUSED] = "refused",
		[BALANCE_QUEUED] = "queued",
	};

	return texts[s];
}

static bool describe_row(const struct row *row, struct balance_llm *out)
{
	if (row == NULL)
		return false;
	*out = (struct balance_llm){
		.instance = row->instance,
		.in_flight = row->in_flight,
		.pace_ns = row->pace_ns,
		.taken = row->taken,
		.refused = row->refused,
		.reported_ns = row->reported_ns,
		.running = row->running,
		.waiting = row->waiting,
	};
	out->capacity = capacity_of(row, &out->source);
	return true;
}

static void describe(void *file, void *arg)
{
	struct operation *op = arg;

	op->result = describe_row(find_row(file, op->instance, false, op->now_ns), op->llm);
}

struct balance_copy {
	struct file *file; /* without what comes after its rows */
};

struct balance_copy *balance_copy(const char *run_dir)
{
	struct balance_copy *c = calloc(1, sizeof *c);

	if (c != NULL)
		c->file = shared_file_copy(run_dir, &kind, offsetof(struct file, sets));
	if (c != NULL && c->file != NULL)
		return c;
	free(c);
	return NULL;
}

void balance_copy_free(struct balance_copy *c)
{
	if (c == NULL)
		return;
	free(c->file);
	free(c);
}

bool balance_copy_llm(const struct balance_copy *c, uint64_t instance, struct balance_llm *out)
{
	return c != NULL && describe_row(find_row(c->file, instance, false, 0), out);
}

bool balance_copy_load(const void *copy, uint64_t instance, struct metrics_load *out)
{
	struct balance_llm l;

	if (!balance_copy_llm(copy, instance, &l))
		return false;
	*out = (struct metrics_load){.in_flight = l.in_flight,
	                             .capacity = l.capacity,
	                             .taken = (int64_t)l.taken,
	                             .refused = (int64_t)l.refused};
	return true;
}

bool balance_llm(struct balance *b, uint64_t instance, struct balance_llm *out)
{
	struct operation op = {.instance = instance, .llm = out};

	return b != NULL && shared_file_change(b->file, describe, &op) && op.result != 0;
}

static void configure(void *file, void *arg)
{
	struct operation *op = arg;
	struct row *row = find_row(file, op->instance, op->result != 0, op->now_ns);

	if (row != NULL)
		row->configured = (uint32_t)op->result;
}

void balance_configure(struct balance *b, uint64_t instance, uint32_t capacity, int64_t now_ns)
{
	struct operation op = {.instance = instance, .now_ns = now_ns};

	op.result = capacity < BALANCE_CAPACITY_MAX ? (int)capacity : BALANCE_CAPACITY_MAX;
	if (b != NULL)
		shared_file_change(b->file, configure, &op);
}

static void report(void *file, void *arg)
{
	struct operation *op = arg;
	const struct balance_report *r = op->report;
	struct row *row = find_row(file, op->instance, true, op->now_ns);
	uint64_t there = (uint64_t)r->running + r->waiting;

	if (row == NULL)
		return;
	row->running = r->running;
	row->waiting = r->waiting;
	row->reported_ns = op->now_ns;
	/* Of what we sent there, as much runs as of all that is there. */
	if (r->waiting > 0 && row->in_flight > 0)
		learn(row, (uint32_t)(row->in_flight * (uint64_t)r->running / there), BALANCE_QUEUED, op->now_ns);
	else if (r->waiting == 0 && row->learned_from == BALANCE_QUEUED)
		grow(row, op->now_ns);
}

void balance_report(struct balance *b, uint64_t instance, const struct balance_report *r, int64_t now_ns)
{
	struct operation op = {.instance = instance, .report = r, .now_ns = now_ns};

	if (b != NULL)
		shared_file_change(b->file, report, &op);
}

static void note_others(void *file, void *arg)
{
	struct operation *op = arg;
	struct row *row = find_row(file, op->instance, op->result != 0, op->now_ns);

	if (row == NULL)
		return;
	row->others = (uint32_t)op->result;
	row->others_ns = op->now_ns;
}

void balance_others(struct balance *b, uint64_t instance, uint32_t in_flight, int64_t now_ns)
{
	struct operation op = {.instance = instance, .now_ns = now_ns};

	op.result = in_flight < BALANCE_CAPACITY_MAX ? (int)in_flight : BALANCE_CAPACITY_MAX;
	if (b != NULL)
		shared_file_change(b->file, note_others, &op);
}
