/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access/limits.h"

#include "core/base/log.h"
#include "core/status/shared_file.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC   UINT64_C(0x4d494c5354474154) /* "TAGTSLIM", little endian */
#define VERSION 2
#define SLOTS   LIMITS_CLIENTS_MAX
#define PROBES  64u /* where one may be */

#define MINUTE_NS INT64_C(60000000000)

struct slot {
	uint64_t client;                /* 0: free */
	int64_t requests_ns, tokens_ns; /* when all is paid that it took: CLOCK_BOOTTIME */
	uint32_t running, unused;
};

struct page {
	uint16_t held[SLOTS]; /* turns of this worker, by slot */
};

struct file {
	struct shared_head head;
	struct slot all;
	struct slot slots[SLOTS];
	struct page pages[SHARED_FILE_PAGES];
};

_Static_assert(sizeof(struct slot) == 32, "layout");
_Static_assert(sizeof(struct file) == sizeof(struct shared_head) + 32 + 32 * SLOTS + 2 * SLOTS * SHARED_FILE_PAGES,
               "layout");

#define NO_SLOT UINT32_MAX

/* Given back as soon as the lock can be had. */
struct owed {
	struct limits_share share;
	int64_t tokens;
};

struct limits {
	struct shared_file *file;
	int64_t (*now_ns)(void);
	bool logged; /* that nothing is counted */
	struct owed *owed;
	size_t owed_count, owed_room;
};

/* ---- the file ---------------------------------------------------------------------------------- */

/* The turns that run are what the pages hold. A worker that died between two numbers of one decision left the others
 * as they are: only the turns must agree. */
static void recount(void *file)
{
	struct file *f = file;

	for (uint32_t s = 0; s < SLOTS; s++)
		f->slots[s].running = 0;
	for (uint32_t p = 0; p < SHARED_FILE_PAGES; p++)
		for (uint32_t s = 0; shared_file_is_claimed(&f->head, p) && s < SLOTS; s++)
			f->slots[s].running += f->pages[p].held[s];
}

static const struct shared_kind kind = {
	.name = LIMITS_FILE,
	.magic = MAGIC,
	.version = VERSION,
	.size = sizeof(struct file),
	.pages_at = offsetof(struct file, pages),
	.page_size = sizeof(struct page),
	.recount = recount,
};

struct limits *limits_open(const char *run_dir, int64_t (*now_ns)(void), struct err *e)
{
	struct limits *l = calloc(1, sizeof *l);

	if (l == NULL) {
		err_set(e, "no memory for limits");
		return NULL;
	}
	l->now_ns = now_ns;
	l->file = shared_file_open(run_dir, &kind, e);
	if (l->file != NULL && shared_file_map(l->file) != NULL)
		return l;
	limits_close(l);
	return NULL;
}

void limits_close(struct limits *l)
{
	if (l == NULL)
		return;
	shared_file_close(l->file);
	free(l->owed);
	free(l);
}

void limits_tick(struct limits *l)
{
	struct err e = ERR_INIT;
	size_t count = l->owed_count;

	shared_file_tick(l->file, &e);
	if (err_is_set(&e) && !l->logged)
		log_event(LOG_LIMITS_NOT_COUNTED, L_STR("error", e.text));
	l->logged = err_is_set(&e);
	l->owed_count = 0;
	for (size_t i = 0; i < count; i++) {
		const struct owed owed = l->owed[i];

		limits_give(l, &owed.share, owed.tokens);
	}
}

/* ---- a client's slot -------------------------------------------------------------------------------------- */

static bool is_idle(const struct slot *s, int64_t now_ns)
{
	return s->running == 0 && s->requests_ns <= now_ns && s->tokens_ns <= now_ns;
}

/* NULL: all places where it may be are taken by others. */
static struct slot *find_slot(struct file *f, uint64_t client, int64_t now_ns)
{
	struct slot *unused = NULL;

	for (uint32_t i = 0; i < PROBES; i++) {
		struct slot *s = &f->slots[(client + i) % SLOTS];

		if (s->client == client)
			return s;
		if (unused == NULL && (s->client == 0 || is_idle(s, now_ns)))
			unused = s;
		if (s->client == 0)
			break; /* none is ever freed, only taken over */
	}
	if (unused != NULL)
		*unused = (struct slot){.client = client};
	return unused;
}

/* ---- GCRA -------------------------------------------------------------------------------------------------- */

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* What n of limit per minute cost. */
static int64_t cost_ns(int64_t n, int64_t limit)
{
	return (int64_t)((double)n * (double)MINUTE_NS / (double)limit);
}

/* How long until n more may be taken; 0: now. paid_ns: when all is paid so far. What the limit's requests
 * cost, each rounded down, is a little less than a minute. */
static int64_t wait_ns(int64_t paid_ns, int64_t n, int64_t limit, int64_t now_ns)
{
	int64_t burst_ns = limit == 0 || n != 1 ? MINUTE_NS : limit * cost_ns(1, limit);

	return limit == 0 ? 0 : later(later(paid_ns, now_ns) + cost_ns(n, limit) - burst_ns - now_ns, 0);
}

struct access_rate limits_rate(int64_t owed_ns, int64_t limit)
{
	struct access_rate r = {.limit = limit};

	owed_ns = later(owed_ns, 0);
	if (limit == 0)
		return r;
	r.remaining = (int64_t)((double)later(MINUTE_NS - owed_ns, 0) * (double)limit / (double)MINUTE_NS + 1e-6);
	r.reset_ms = (owed_ns + 999999) / 1000000;
	return r;
}

/* A turn that is larger than the limit may run when nothing else was taken. */
static int64_t at_most(int64_t n, int64_t limit)
{
	return limit != 0 && n > limit ? limit : n;
}

static bool is_limited(const struct access_limits *own)
{
	return own->requests != 0 || own->tokens != 0 || own->turns != 0;
}

static enum limits_verdict judge(const struct file *f, const struct slot *s, const struct limits_request *r,
                                 int64_t now, int64_t *wait)
{
	const int64_t second = INT64_C(1000000000);
	const bool turns = s != NULL && r->own.turns != 0 && s->running >= r->own.turns;
	const struct {
		enum limits_verdict verdict;
		int64_t wait_ns;
	} tests[] = {
		{LIMITS_TURNS, turns ? second : 0},
		{LIMITS_REQUESTS, s == NULL ? 0 : wait_ns(s->requests_ns, 1, r->own.requests, now)},
		{LIMITS_TOKENS,
	         s == NULL ? 0 : wait_ns(s->tokens_ns, at_most(r->tokens, r->own.tokens), r->own.tokens, now)},
		{LIMITS_ALL_REQUESTS, wait_ns(f->all.requests_ns, 1, r->all_requests, now)},
		{LIMITS_ALL_TOKENS, wait_ns(f->all.tokens_ns, at_most(r->tokens, r->all_tokens), r->all_tokens, now)},
	};
	enum limits_verdict verdict = LIMITS_GRANTED;

	*wait = 0;
	for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
		if (tests[i].wait_ns > *wait) {
			*wait = tests[i].wait_ns;
			verdict = tests[i].verdict;
		}
	return verdict;
}

static void charge(int64_t *paid_ns, int64_t n, int64_t limit, int64_t now_ns)
{
	if (limit != 0)
		*paid_ns = later(*paid_ns, now_ns) + cost_ns(n, limit);
}

struct taking {
	uint32_t page; /* of this worker */
	int64_t (*now_ns)(void);
	const struct limits_request *request;
	struct limits_answer *answer;
	enum limits_verdict verdict;
};

static void take(void *file, void *arg)
{
	struct file *f = file;
	struct taking *t = arg;
	const struct limits_request *r = t->request;
	struct limits_answer *a = t->answer;
	const int64_t now = t->now_ns();
	struct slot *s = is_limited(&r->own) ? find_slot(f, r->client, now) : NULL;
	struct limits_share share = {.file = f->head.random,
	                             .client = r->client,
	                             .slot = s != NULL ? (uint32_t)(s - f->slots) : NO_SLOT,
	                             .tokens = at_most(r->tokens, r->own.tokens),
	                             .all_tokens = at_most(r->tokens, r->all_tokens),
	                             .own = r->own,
	                             .all_tokens_limit = r->all_tokens};
	bool own;

	t->verdict = judge(f, s, r, now, &a->retry_ns);
	if (s == NULL && is_limited(&r->own) && t->verdict == LIMITS_GRANTED) {
		t->verdict = LIMITS_NO_ROOM;
		a->retry_ns = INT64_C(1000000000);
	}
	if (r->forced)
		t->verdict = LIMITS_GRANTED;
	if (t->verdict == LIMITS_GRANTED) {
		charge(&f->all.requests_ns, 1, r->all_requests, now);
		charge(&f->all.tokens_ns, share.all_tokens, r->all_tokens, now);
		a->share = share;
	}
	if (t->verdict == LIMITS_GRANTED && s != NULL) {
		charge(&s->requests_ns, 1, r->own.requests, now);
		charge(&s->tokens_ns, share.tokens, r->own.tokens, now);
		f->pages[t->page].held[share.slot]++;
		s->running++;
	}
	own = s != NULL && r->own.requests != 0;
	a->requests =
		limits_rate((own ? s->requests_ns : f->all.requests_ns) - now, own ? r->own.requests : r->all_requests);
	own = s != NULL && r->own.tokens != 0;
	a->tokens = limits_rate((own ? s->tokens_ns : f->all.tokens_ns) - now, own ? r->own.tokens : r->all_tokens);
}

enum limits_verdict limits_take(struct limits *l, const struct limits_request *r, struct limits_answer *out)
{
	struct taking t = {.page = shared_file_page(l->file), .now_ns = l->now_ns, .request = r, .answer = out};

	memset(out, 0, sizeof *out);
	if (shared_file_change(l->file, take, &t))
		return t.verdict;
	memset(out, 0, sizeof *out);
	return LIMITS_GRANTED;
}

/* What a turn took beyond its reservation is taken now; what it did not is given back as if it had never
 * been taken. */
static void correct(int64_t *paid_ns, int64_t more, int64_t limit, int64_t now_ns)
{
	if (limit == 0)
		return;
	if (more > 0)
		*paid_ns = later(*paid_ns, now_ns);
	*paid_ns += cost_ns(more, limit);
}

struct giving {
	uint32_t page;
	int64_t (*now_ns)(void);
	const struct limits_share *share;
	int64_t tokens;
};

static void give(void *file, void *arg)
{
	struct file *f = file;
	const struct giving *g = arg;
	const struct limits_share *share = g->share;
	uint16_t *held;
	struct slot *s;

	if (share->file != f->head.random)
		return;
	if (g->tokens >= 0)
		correct(&f->all.tokens_ns, g->tokens - share->all_tokens, share->all_tokens_limit, g->now_ns());
	if (share->slot >= SLOTS || f->slots[share->slot].client != share->client)
		return;
	s = &f->slots[share->slot];
	held = &f->pages[g->page].held[share->slot];
	if (g->tokens >= 0)
		correct(&s->tokens_ns, g->tokens - share->tokens, share->own.tokens, g->now_ns());
	if (*held > 0) {
		--*held;
		s->running--;
	}
}

static void owe(struct limits *l, const struct limits_share *s, int64_t tokens)
{
	if (l->owed_count == l->owed_room) {
		size_t room = l->owed_room == 0 ? 64 : 2 * l->owed_room;
		struct owed *more = reallocarray(l->owed, room, sizeof *more);

		if (more == NULL)
			return;
		l->owed = more;
		l->owed_room = room;
	}
	l->owed[l->owed_count++] = (struct owed){.share = *s, .tokens = tokens};
}

void limits_give(struct limits *l, const struct limits_share *s, int64_t tokens)
{
	struct giving g = {.page = shared_file_page(l->file), .now_ns = l->now_ns, .share = s, .tokens = tokens};

	if (s->file != 0 && !shared_file_change(l->file, give, &g) && shared_file_map(l->file) != NULL)
		owe(l, s, tokens);
}
