/* SPDX-License-Identifier: Apache-2.0 */
#include "core/balance/queue.h"

#include "core/status/safe_read.h"
#include "core/status/shared_file.h"

#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC   UINT64_C(0x4555515354474154) /* "TAGTSQUE", little endian */
#define VERSION 1
#define GROUPS  256u /* with turns that wait */
#define FLOWS   4096u
#define PROBES  32u /* where a flow may be */

#define NS_FIRST INT64_C(1000000000) /* between two grants, before anything is known */

enum { FREE, WAITING, GRANTED, LEFT }; /* LEFT: its worker could not have the lock; it is as good as free */

/* Its serial number and its state, in one word: what others see of it is true. */
#define WORD(serial, state) ((serial) << 2 | (uint64_t)(state))
#define STATE_OF(word)      ((unsigned)((word)&3))
#define SERIAL_OF(word)     ((word) >> 2)

struct ticket {
	_Atomic uint64_t word;
	uint64_t group, key;
	uint64_t start; /* on the clock of its group */
	int64_t entered_ns, deadline_ns, not_before_ns;
	uint32_t priority, unused;
};

/* The tickets of one worker. */
struct page {
	uint32_t end, unused; /* all from here on are free */
	struct ticket tickets[QUEUE_TICKETS_MAX];
};

/* The replicas that turns wait for. The clock counts grants: it shows the start of the ticket that was granted
 * last. */
struct group {
	uint64_t id; /* 0: free */
	uint64_t clock;
	uint32_t waiting, granted;
	int64_t granted_ns;  /* the last one, or when the first one began to wait */
	int64_t interval_ns; /* from one grant to the next, the last ones counting most; 0: not known */
};

/* A key in a group: when its next ticket starts at the earliest. It says nothing once the clock is there. */
struct flow {
	uint64_t group, key;
	uint64_t finish;
};

struct file {
	struct shared_head head;
	_Atomic uint64_t occupied; /* tickets that wait or were granted */
	uint64_t serial;           /* of the last ticket */
	uint64_t latest;           /* of all clocks and flows */
	struct group groups[GROUPS];
	struct flow flows[FLOWS];
	struct page pages[SHARED_FILE_PAGES];
};

_Static_assert(sizeof(struct ticket) == 64 && sizeof(struct page) == 8 + 64 * QUEUE_TICKETS_MAX, "layout");
_Static_assert(offsetof(struct file, pages) == sizeof(struct shared_head) + 24 + 40 * GROUPS + 24 * FLOWS, "layout");

struct queue {
	struct shared_file *file;
	void (*granted)(void *arg);
	void *arg;
	bool owes; /* a ticket was left without the lock */
};

/* ---- tickets, groups and flows: under the lock ----------------------------------------------------------- */

static struct ticket *next_ticket(struct file *f, uint32_t *page, uint32_t *i)
{
	for (; *page < SHARED_FILE_PAGES; ++*page, *i = 0) {
		struct page *p = &f->pages[*page];
		uint32_t end = p->end < QUEUE_TICKETS_MAX ? p->end : QUEUE_TICKETS_MAX;

		if (!shared_file_is_claimed(&f->head, *page))
			continue;
		for (; *i < end; ++*i)
			if (STATE_OF(p->tickets[*i].word) == WAITING || STATE_OF(p->tickets[*i].word) == GRANTED)
				return &p->tickets[(*i)++];
	}
	return NULL;
}

/* Each ticket that waits or was granted, of all workers. */
#define EACH_TICKET(f, t)                                                                                              \
	uint32_t page_ = 0, i_ = 0;                                                                                    \
	for (struct ticket *t = next_ticket(f, &page_, &i_); t != NULL; t = next_ticket(f, &page_, &i_))

static struct group *find_group(struct file *f, uint64_t id)
{
	for (uint32_t i = 0; i < GROUPS; i++)
		if (f->groups[i].id == id)
			return &f->groups[i];
	return NULL;
}

/* NULL: others have all of them. */
static struct group *make_group(struct file *f, uint64_t id)
{
	struct group *g = find_group(f, id);

	for (uint32_t i = 0; g == NULL && i < GROUPS; i++)
		if (f->groups[i].id == 0 || f->groups[i].waiting + f->groups[i].granted == 0) {
			g = &f->groups[i];
			*g = (struct group){.id = id, .clock = f->latest};
		}
	return g;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
	return x ^ x >> 33;
}

static bool is_over(struct file *f, const struct flow *w)
{
	const struct group *g = w->group == 0 ? NULL : find_group(f, w->group);

	return g == NULL || w->finish <= g->clock;
}

/* NULL: there is none, and no room for one; the key then begins again. */
static struct flow *find_flow(struct file *f, uint64_t group, uint64_t key, bool make)
{
	uint64_t at = mix(group ^ mix(key));
	struct flow *unused = NULL;

	for (uint32_t i = 0; i < PROBES; i++) {
		struct flow *w = &f->flows[(at + i) % FLOWS];

		if (w->group == group && w->key == key)
			return w;
		if (make && unused == NULL && is_over(f, w))
			unused = w;
	}
	if (unused != NULL)
		*unused = (struct flow){.group = group, .key = key};
	return unused;
}

/* The counts are what the tickets say. */
static void recount(void *file)
{
	struct file *f = file;
	uint64_t occupied = 0;

	for (uint32_t i = 0; i < GROUPS; i++)
		f->groups[i].waiting = f->groups[i].granted = 0;
	EACH_TICKET(f, t)
	{
		struct group *g = make_group(f, t->group);

		occupied++;
		if (g == NULL)
			continue;
		if (STATE_OF(t->word) == WAITING)
			g->waiting++;
		else
			g->granted++;
	}
	f->occupied = occupied;
}

static const struct shared_kind kind = {.name = QUEUE_FILE,
                                        .magic = MAGIC,
                                        .version = VERSION,
                                        .size = sizeof(struct file),
                                        .pages_at = offsetof(struct file, pages),
                                        .page_size = sizeof(struct page),
                                        .recount = recount};

/* ---- who is next ------------------------------------------------------------------------------------------ */

static unsigned class_of(const struct ticket *t, int64_t now_ns)
{
	int64_t third_ns = (t->deadline_ns - t->entered_ns) / QUEUE_PRIORITIES, waited_ns = now_ns - t->entered_ns;
	int64_t class = t->priority + (third_ns > 0 && waited_ns > 0 ? waited_ns / third_ns : 0);

	return class < QUEUE_PRIORITIES ? (unsigned)class : QUEUE_PRIORITIES - 1;
}

static bool is_before(const struct ticket *a, const struct ticket *b, int64_t now_ns)
{
	unsigned first = class_of(a, now_ns), second = class_of(b, now_ns);

	if (first != second)
		return first > second;
	return a->start != b->start ? a->start < b->start : SERIAL_OF(a->word) < SERIAL_OF(b->word);
}

static struct ticket *next_of(struct file *f, uint64_t group, int64_t now_ns)
{
	struct ticket *best = NULL;

	EACH_TICKET(f, t)
	{
		if (t->group == group && STATE_OF(t->word) == WAITING && now_ns < t->deadline_ns &&
		    now_ns >= t->not_before_ns && (best == NULL || is_before(t, best, now_ns)))
			best = t;
	}
	return best;
}

/* How long until one with that start and priority is granted a place: those before it, and itself. */
static int64_t left_ns(struct file *f, const struct group *g, const struct ticket *wanted, int64_t now_ns)
{
	int64_t interval_ns = NS_FIRST, ahead = 0;

	if (g == NULL)
		return interval_ns;
	if (g->interval_ns != 0)
		interval_ns = g->interval_ns;
	if (g->waiting > 0 && now_ns - g->granted_ns > interval_ns) /* it has become slower */
		interval_ns = now_ns - g->granted_ns;
	EACH_TICKET(f, t)
	{
		ahead += t != wanted && t->group == g->id && STATE_OF(t->word) == WAITING &&
		         is_before(t, wanted, now_ns);
	}
	return ahead < INT64_MAX / 2 / (interval_ns + 1) ? (ahead + 1) * interval_ns : INT64_MAX / 2;
}

/* ---- what is done under the lock ------------------------------------------------------------------------------ */

struct operation {
	uint32_t page; /* of this process */
	const struct queue_request *request;
	struct queue_ticket *ticket;
	enum queue_verdict verdict;
	uint64_t group;
	int64_t now_ns, answer_ns;
	uint32_t count;
	int64_t *woken; /* pids, by page */
};

static struct ticket *own_ticket(struct file *f, const struct operation *op)
{
	struct ticket *t = &f->pages[op->page].tickets[op->ticket->at];

	return op->ticket->file == f->head.random && SERIAL_OF(t->word) == op->ticket->serial &&
	                       (STATE_OF(t->word) == WAITING || STATE_OF(t->word) == GRANTED)
	               ? t
	               : NULL;
}

static struct ticket *free_ticket(struct page *p)
{
	for (uint32_t i = 0; i < QUEUE_TICKETS_MAX; i++)
		if (i >= p->end || STATE_OF(p->tickets[i].word) == FREE || STATE_OF(p->tickets[i].word) == LEFT)
			return &p->tickets[i];
	return NULL;
}

static void enter(void *file, void *arg)
{
	struct operation *op = arg;
	const struct queue_request *r = op->request;
	struct file *f = file;
	struct page *p = &f->pages[op->page];
	struct group *g = make_group(f, r->group);
	struct flow *w = g != NULL ? find_flow(f, r->group, r->key, true) : NULL;
	struct ticket *t = free_ticket(p), new = {.group = r->group,
	                                          .key = r->key,
	                                          .start = g != NULL ? g->clock : 0,
	                                          .entered_ns = r->now_ns,
	                                          .deadline_ns = r->deadline_ns,
	                                          .priority = r->priority};
	uint32_t of_key = 0;
	uint64_t serial = ++f->serial;

	if (w != NULL && w->finish > new.start)
		new.start = w->finish;
	new.word = WORD(serial, WAITING);
	EACH_TICKET(f, other)
	{
		of_key += other->key == r->key;
	}
	op->verdict = QUEUE_WAITS;
	if (r->per_key != 0 && of_key >= r->per_key)
		op->verdict = QUEUE_KEY_FULL;
	else if (f->occupied >= r->length || t == NULL || g == NULL)
		op->verdict = QUEUE_FULL;
	if (op->verdict != QUEUE_WAITS || g == NULL) {
		op->answer_ns = left_ns(f, g, &new, r->now_ns);
		return;
	}
	if (g->waiting++ == 0)
		g->granted_ns = r->now_ns;
	if (w != NULL)
		w->finish = new.start + 1;
	if (new.start >= f->latest)
		f->latest = new.start + 1;
	op->ticket->file = f->head.random;
	op->ticket->serial = serial;
	op->ticket->at = (uint32_t)(t - p->tickets);
	atomic_store(&t->word, WORD(serial, LEFT)); /* until the rest of it is there */
	memcpy((char *)t + sizeof t->word, (char *)&new + sizeof new.word, sizeof new - sizeof new.word);
	if (op->ticket->at >= p->end)
		p->end = op->ticket->at + 1;
	atomic_fetch_add(&f->occupied, 1);
	atomic_store(&t->word, new.word);
}

/* One that left before it was granted a place has cost its key nothing. */
static void undo_start(struct file *f, const struct ticket *left)
{
	struct flow *w = find_flow(f, left->group, left->key, false);

	EACH_TICKET(f, t)
	{
		if (t->group == left->group && t->key == left->key && STATE_OF(t->word) == WAITING &&
		    t->start > left->start)
			t->start--;
	}
	if (w != NULL && w->finish > left->start)
		w->finish--;
}

static void leave(void *file, void *arg)
{
	struct operation *op = arg;
	struct file *f = file;
	struct page *p = &f->pages[op->page];
	struct ticket *t = own_ticket(f, op);
	struct group *g;

	if (t == NULL)
		return;
	g = find_group(f, t->group);
	if (STATE_OF(t->word) == WAITING)
		undo_start(f, t);
	if (g != NULL && STATE_OF(t->word) == WAITING && g->waiting > 0)
		g->waiting--;
	else if (g != NULL && STATE_OF(t->word) == GRANTED && g->granted > 0)
		g->granted--;
	atomic_store(&t->word, FREE);
	while (p->end > 0 && STATE_OF(p->tickets[p->end - 1].word) == FREE)
		p->end--;
	if (f->occupied > 0)
		atomic_fetch_sub(&f->occupied, 1);
}

static void give_back(void *file, void *arg)
{
	struct operation *op = arg;
	struct file *f = file;
	struct ticket *t = own_ticket(f, op);
	struct group *g = t != NULL ? find_group(f, t->group) : NULL;

	if (g == NULL || STATE_OF(t->word) != GRANTED)
		return;
	t->not_before_ns = op->now_ns;
	atomic_store(&t->word, WORD(SERIAL_OF(t->word), WAITING));
	g->waiting++;
	if (g->granted > 0)
		g->granted--;
}

static void grant(void *file, void *arg)
{
	struct operation *op = arg;
	struct file *f = file;
	struct group *g = find_group(f, op->group);
	const uint32_t most = op->count;
	struct ticket *t;

	op->count = 0;
	while (g != NULL && g->granted < most && g->waiting > 0 && (t = next_of(f, g->id, op->now_ns)) != NULL) {
		size_t page = (size_t)((char *)t - (char *)f->pages) / sizeof f->pages[0];

		if (t->start > g->clock)
			g->clock = t->start;
		g->interval_ns = g->interval_ns == 0 ? op->now_ns - g->granted_ns
		                                     : (7 * g->interval_ns + (op->now_ns - g->granted_ns)) / 8;
		g->granted_ns = op->now_ns;
		atomic_store(&t->word, WORD(SERIAL_OF(t->word), GRANTED));
		g->waiting--;
		g->granted++;
		op->woken[page] = f->head.claims[page].pid;
		op->count++;
	}
}

static void look_up(void *file, void *arg)
{
	struct operation *op = arg;
	const struct group *g = find_group(file, op->group);

	op->count = g != NULL ? g->waiting + g->granted : 0;
}

static void estimate(void *file, void *arg)
{
	struct operation *op = arg;
	struct ticket *t = own_ticket(file, op);

	op->answer_ns = t != NULL ? left_ns(file, find_group(file, t->group), t, op->now_ns) : NS_FIRST;
}

static void settle(void *file, void *arg)
{
	(void)arg;
	recount(file);
}

/* ---- from outside ---------------------------------------------------------------------------------------------- */

struct queue *queue_open(const char *run_dir, void (*granted)(void *arg), void *arg, struct err *e)
{
	struct queue *q = calloc(1, sizeof *q);

	if (q == NULL) {
		err_set(e, "no memory for the queue of turns");
		return NULL;
	}
	q->granted = granted;
	q->arg = arg;
	q->file = shared_file_open(run_dir, &kind, e);
	if (q->file != NULL)
		return q;
	free(q);
	return NULL;
}

void queue_close(struct queue *q)
{
	if (q == NULL)
		return;
	shared_file_close(q->file);
	free(q);
}

static bool change(struct queue *q, void (*run)(void *file, void *arg), struct operation *op)
{
	op->page = shared_file_page(q->file);
	if (q->owes && shared_file_change(q->file, settle, NULL))
		q->owes = false;
	return shared_file_change(q->file, run, op);
}

void queue_tick(struct queue *q, struct err *e)
{
	shared_file_tick(q->file, e);
	if (q->owes && shared_file_change(q->file, settle, NULL))
		q->owes = false;
}

enum queue_verdict queue_enter(struct queue *q, const struct queue_request *r, struct queue_ticket *out,
                               int64_t *retry_ns)
{
	struct operation op = {.request = r, .ticket = out};

	*out = (struct queue_ticket){.serial = 0};
	*retry_ns = 0;
	if (!change(q, enter, &op))
		return QUEUE_UNUSABLE;
	*retry_ns = op.answer_ns;
	return op.verdict;
}

static const struct file *mapped(const struct queue *q)
{
	return shared_file_map(q->file);
}

/* Its word; 0: the file is not the one that it is in. */
static uint64_t word_of(const struct queue *q, const struct queue_ticket *t)
{
	const struct file *f = mapped(q);
	uint64_t random, word;

	if (f == NULL || !safe_load(&f->head.random, &random) || random != t->file ||
	    !safe_load(&f->pages[shared_file_page(q->file)].tickets[t->at].word, &word) || SERIAL_OF(word) != t->serial)
		return 0;
	return word;
}

enum queue_state queue_state(const struct queue *q, const struct queue_ticket *t)
{
	unsigned state = STATE_OF(word_of(q, t));

	return state == WAITING ? QUEUE_WAITING : state == GRANTED ? QUEUE_GRANTED : QUEUE_LOST;
}

void queue_leave(struct queue *q, struct queue_ticket *t)
{
	struct operation op = {.ticket = t};
	uint64_t word;

	if (t->serial == 0)
		return;
	if (!change(q, leave, &op) && (word = word_of(q, t)) != 0) {
		safe_store(&((struct file *)mapped(q))->pages[op.page].tickets[t->at].word, WORD(t->serial, LEFT));
		q->owes = true;
	}
	*t = (struct queue_ticket){.serial = 0};
}

void queue_return(struct queue *q, const struct queue_ticket *t, int64_t not_before_ns)
{
	struct operation op = {.ticket = (struct queue_ticket *)(uintptr_t)t, .now_ns = not_before_ns};

	change(q, give_back, &op);
}

unsigned queue_grant(struct queue *q, uint64_t group, uint32_t free_places, int64_t now_ns)
{
	int64_t woken[SHARED_FILE_PAGES] = {0};
	struct operation op = {.group = group, .count = free_places, .now_ns = now_ns, .woken = woken};
	bool own;

	if (free_places == 0 || !queue_is_used(q) || !change(q, grant, &op))
		return 0;
	own = woken[op.page] != 0;
	for (uint32_t p = 0; op.count > own && p < SHARED_FILE_PAGES; p++)
		if (p != op.page && woken[p] > 0 && woken[p] <= INT_MAX)
			kill((pid_t)woken[p], QUEUE_WAKE);
	if (own)
		q->granted(q->arg);
	return op.count;
}

bool queue_is_used(const struct queue *q)
{
	const struct file *f = q != NULL ? mapped(q) : NULL;
	uint64_t occupied;

	return f != NULL && safe_load(&f->occupied, &occupied) && occupied > 0;
}

bool queue_has_group(struct queue *q, uint64_t group)
{
	struct operation op = {.group = group};

	return queue_is_used(q) && change(q, look_up, &op) && op.count > 0;
}

int64_t queue_left_ns(struct queue *q, const struct queue_ticket *t, int64_t now_ns)
{
	struct operation op = {.ticket = (struct queue_ticket *)(uintptr_t)t, .now_ns = now_ns};

	return t->serial != 0 && change(q, estimate, &op) ? op.answer_ns : NS_FIRST;
}
