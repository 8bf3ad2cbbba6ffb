/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access/limits.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/process.h"
#include "core/status/safe_read.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAGIC   UINT64_C(0x4d494c5354474154) /* "TAGTSLIM", little endian */
#define VERSION 1
#define SLOTS   LIMITS_CLIENTS_MAX
#define PROBES  64u  /* where one may be */
#define PAGES   256u /* workers at once, with those that drain */

#define MINUTE_NS    INT64_C(60000000000)
#define LOCK_WAIT_NS 300000000 /* a worker that stands still with the lock must not stop the others */
#define STUCK_NS     1000000000

struct slot {
	uint64_t client;                /* 0: free */
	int64_t requests_ns, tokens_ns; /* when all is paid that it took: CLOCK_BOOTTIME */
	uint32_t running, unused;
};

struct page {
	uint16_t held[SLOTS]; /* turns of this worker, by slot */
};

struct head {
	uint64_t magic;
	uint32_t version, size;
	uint8_t boot_id[16];
	uint64_t random; /* another one for each file */
};

/* Whose page it is. pid 0: nobody's. */
struct claim {
	int64_t pid;
	uint64_t birth;
};

struct file {
	struct head head;
	_Atomic uint64_t lock; /* the pid of the worker that has it; 0: free */
	struct slot all;
	struct claim claims[PAGES];
	struct slot slots[SLOTS];
	struct page pages[PAGES];
};

_Static_assert(sizeof(struct slot) == 32 && offsetof(struct file, slots) == 80 + 16 * PAGES, "layout");

#define NO_SLOT UINT32_MAX

/* Given back as soon as the lock can be had. */
struct owed {
	struct limits_share share;
	int64_t tokens;
};

struct limits {
	char *path;
	int fd;
	struct file *file; /* NULL: it cannot be used */
	uint32_t page;
	int64_t pid;            /* this process, which getpid asks the kernel for each time */
	int64_t stuck_until_ns; /* the lock could not be had */
	bool logged;
	struct owed *owed;
	size_t owed_count, owed_room;
};

/* ---- the file ---------------------------------------------------------------------------------- */

static bool is_current(const struct file *f)
{
	struct head head;
	uint8_t boot[16];

	if (!safe_copy(&head, f, sizeof head) || head.magic != MAGIC || head.version != VERSION ||
	    head.size != sizeof *f)
		return false;
	process_boot_id(boot);
	return memcmp(head.boot_id, boot, sizeof boot) == 0;
}

/* A new file in place of what is there. Its pages are allocated when they are claimed; a full file system
 * is an error here and not a signal later. */
static int make_file(const char *path, struct err *e)
{
	struct head head = {
		.magic = MAGIC, .version = VERSION, .size = sizeof(struct file), .random = process_random()};
	char temporary[4200];
	int fd;

	process_boot_id(head.boot_id);
	snprintf(temporary, sizeof temporary, "%s.new", path);
	unlink(temporary);
	fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set_errno(e, errno, "open %s", temporary);
	if (ftruncate(fd, (off_t)sizeof(struct file)) < 0 ||
	    (errno = posix_fallocate(fd, 0, (off_t)offsetof(struct file, pages))) != 0 ||
	    pwrite(fd, &head, sizeof head, 0) != (ssize_t)sizeof head || rename(temporary, path) < 0) {
		err_set_errno(e, errno, "write %s", temporary);
		unlink(temporary);
		close(fd);
		return -1;
	}
	close(fd);
	return 0;
}

static void unmap(struct limits *l)
{
	if (l->file != NULL)
		munmap(l->file, sizeof *l->file);
	if (l->fd >= 0)
		close(l->fd);
	l->file = NULL;
	l->fd = -1;
}

/* The file of this boot and this layout; -1: there is none. */
static int map_file(struct limits *l)
{
	struct stat st;
	void *map;

	l->fd = open(l->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (l->fd >= 0 && fstat(l->fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == (off_t)sizeof *l->file) {
		map = mmap(NULL, sizeof *l->file, PROT_READ | PROT_WRITE, MAP_SHARED, l->fd, 0);
		l->file = map != MAP_FAILED ? map : NULL;
	}
	if (l->file != NULL && is_current(l->file))
		return 0;
	unmap(l);
	return -1;
}

/* ---- the lock -------------------------------------------------------------------------------------- */

/* The turns that run are what the pages hold. */
static void recount(struct file *f)
{
	for (uint32_t s = 0; s < SLOTS; s++)
		f->slots[s].running = 0;
	for (uint32_t p = 0; p < PAGES; p++)
		for (uint32_t s = 0; f->claims[p].pid != 0 && s < SLOTS; s++)
			f->slots[s].running += f->pages[p].held[s];
}

static bool is_dead(int64_t pid)
{
	return pid <= 0 || pid > INT32_MAX || (kill((pid_t)pid, 0) < 0 && errno == ESRCH);
}

/* False: it could not be had in time. */
static bool lock(struct limits *l)
{
	_Atomic uint64_t *word = &l->file->lock;
	const uint64_t self = (uint64_t)l->pid;
	const struct timespec pause = {.tv_nsec = 20000};
	int64_t until_ns = 0;
	uint64_t owner = 0;

	for (unsigned tries = 1; !atomic_compare_exchange_strong(word, &owner, self); tries++, owner = 0) {
		if (tries % 64 != 0)
			continue;
		if (until_ns == 0)
			until_ns = clock_mono_ns() < l->stuck_until_ns ? 1 : clock_mono_ns() + LOCK_WAIT_NS;
		/* It may have died between two numbers of one decision: only the turns must agree. */
		if (owner != 0 && is_dead((int64_t)owner) && atomic_compare_exchange_strong(word, &owner, self)) {
			recount(l->file);
			break;
		}
		if (clock_mono_ns() >= until_ns) {
			l->stuck_until_ns = clock_mono_ns() + STUCK_NS;
			return false;
		}
		nanosleep(&pause, NULL); /* for the one that has it, if it has no processor */
	}
	return true;
}

/* What is done under the lock; it is left in the middle if somebody truncated the file. */
struct operation {
	struct limits *limits;
	void (*run)(struct operation *op);
	const struct limits_request *request;
	struct limits_answer *answer;
	enum limits_verdict verdict;
	const struct limits_share *share;
	int64_t tokens, now_ns;
	bool failed, done;
};

static void run_locked(void *arg)
{
	struct operation *op = arg;

	if (!lock(op->limits))
		return;
	op->run(op);
	atomic_store(&op->limits->file->lock, 0);
	op->done = true;
}

/* False: the file cannot be used now. */
static bool locked(struct limits *l, struct operation *op)
{
	op->limits = l;
	op->done = false;
	if (l->file == NULL)
		return false;
	if (safe_call(run_locked, op))
		return op->done;
	safe_store(&l->file->lock, 0); /* if that page is still there, others wait for it */
	unmap(l);                      /* limits_tick makes another one */
	return false;
}

/* ---- the pages of workers ----------------------------------------------------------------------------- */

static bool lives(const struct claim *c)
{
	uint64_t birth;

	if (is_dead(c->pid))
		return false;
	birth = process_birth_of((long)c->pid);
	return birth == 0 || c->birth == 0 || birth == c->birth;
}

static void clear_page(struct file *f, uint32_t page)
{
	memset(&f->pages[page], 0, sizeof f->pages[page]);
	f->claims[page] = (struct claim){.pid = 0};
}

static void clear_dead(struct operation *op)
{
	struct file *f = op->limits->file;
	bool found = false;

	for (uint32_t p = 0; p < PAGES; p++)
		if (f->claims[p].pid != 0 && !lives(&f->claims[p])) {
			clear_page(f, p);
			found = true;
		}
	if (found)
		recount(f);
}

static void claim_page(struct operation *op)
{
	struct limits *l = op->limits;
	struct file *f = l->file;
	uint32_t p = 0;

	clear_dead(op);
	while (p < PAGES && f->claims[p].pid != 0)
		p++;
	op->failed = p == PAGES || (errno = posix_fallocate(l->fd, (off_t)((char *)&f->pages[p] - (char *)f),
	                                                    (off_t)sizeof f->pages[p])) != 0;
	if (op->failed)
		return;
	l->page = p;
	clear_page(f, p); /* as a truncated decision may have left it */
	f->claims[p] = (struct claim){.pid = l->pid, .birth = process_birth()};
}

static void leave_page(struct operation *op)
{
	clear_page(op->limits->file, op->limits->page);
	recount(op->limits->file);
}

/* Of several workers that start at once, one makes the file. */
static int open_limits(struct limits *l, struct err *e)
{
	struct operation op = {.run = claim_page};
	char *directory = strdup(l->path);
	int fd = directory == NULL ? -1 : open(dirname(directory), O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = -1;

	errno = 0;
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		err_set_errno(e, errno, "lock the directory of %s", l->path);
	else if (map_file(l) < 0 && (make_file(l->path, e) < 0 || map_file(l) < 0))
		err_set(e, "%s cannot be mapped", l->path);
	else if (!locked(l, &op) || op.failed)
		err_set_errno(e, errno, "%s: no room for one more worker", l->path);
	else
		result = 0;
	if (fd >= 0)
		close(fd);
	if (result < 0)
		unmap(l);
	free(directory);
	return result;
}

struct limits *limits_open(const char *run_dir, struct err *e)
{
	struct limits *l = calloc(1, sizeof *l);

	if (l != NULL) {
		l->fd = -1;
		l->pid = getpid();
	}
	if (l == NULL || asprintf(&l->path, "%s/" LIMITS_FILE, run_dir) < 0) {
		err_set(e, "no memory for limits");
		free(l);
		return NULL;
	}
	safe_read_install();
	if (open_limits(l, e) == 0)
		return l;
	limits_close(l);
	return NULL;
}

void limits_close(struct limits *l)
{
	struct operation op = {.run = leave_page};

	if (l == NULL)
		return;
	locked(l, &op);
	unmap(l);
	free(l->owed);
	free(l->path);
	free(l);
}

static bool is_in_place(const struct limits *l)
{
	struct stat ours, there;

	return l->file != NULL && fstat(l->fd, &ours) == 0 && stat(l->path, &there) == 0 &&
	       ours.st_dev == there.st_dev && ours.st_ino == there.st_ino && ours.st_size == (off_t)sizeof *l->file;
}

static void reopen(struct limits *l)
{
	struct err e = ERR_INIT;

	unmap(l);
	if (open_limits(l, &e) < 0 && !l->logged)
		log_event(LOG_LIMITS_NOT_COUNTED, L_STR("error", e.text));
	l->logged = err_is_set(&e);
}

void limits_tick(struct limits *l)
{
	struct operation op = {.run = clear_dead};
	size_t count = l->owed_count;

	if (!is_in_place(l))
		reopen(l);
	locked(l, &op);
	l->owed_count = 0;
	for (size_t i = 0; i < count; i++) {
		const struct owed owed = l->owed[i];

		limits_give(l, &owed.share, owed.tokens, clock_boot_ns());
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
                                 int64_t *wait)
{
	const int64_t now = r->now_ns, second = INT64_C(1000000000);
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

static void take(struct operation *op)
{
	const struct limits_request *r = op->request;
	struct file *f = op->limits->file;
	struct limits_answer *a = op->answer;
	struct slot *s = is_limited(&r->own) ? find_slot(f, r->client, r->now_ns) : NULL;
	struct limits_share share = {.file = f->head.random,
	                             .client = r->client,
	                             .slot = s != NULL ? (uint32_t)(s - f->slots) : NO_SLOT,
	                             .tokens = at_most(r->tokens, r->own.tokens),
	                             .all_tokens = at_most(r->tokens, r->all_tokens),
	                             .own = r->own,
	                             .all_tokens_limit = r->all_tokens};
	bool own;

	op->verdict = judge(f, s, r, &a->retry_ns);
	if (s == NULL && is_limited(&r->own) && op->verdict == LIMITS_GRANTED) {
		op->verdict = LIMITS_NO_ROOM;
		a->retry_ns = INT64_C(1000000000);
	}
	if (r->forced)
		op->verdict = LIMITS_GRANTED;
	if (op->verdict == LIMITS_GRANTED) {
		charge(&f->all.requests_ns, 1, r->all_requests, r->now_ns);
		charge(&f->all.tokens_ns, share.all_tokens, r->all_tokens, r->now_ns);
		a->share = share;
	}
	if (op->verdict == LIMITS_GRANTED && s != NULL) {
		charge(&s->requests_ns, 1, r->own.requests, r->now_ns);
		charge(&s->tokens_ns, share.tokens, r->own.tokens, r->now_ns);
		f->pages[op->limits->page].held[share.slot]++;
		s->running++;
	}
	own = s != NULL && r->own.requests != 0;
	a->requests = limits_rate((own ? s->requests_ns : f->all.requests_ns) - r->now_ns,
	                          own ? r->own.requests : r->all_requests);
	own = s != NULL && r->own.tokens != 0;
	a->tokens =
		limits_rate((own ? s->tokens_ns : f->all.tokens_ns) - r->now_ns, own ? r->own.tokens : r->all_tokens);
}

enum limits_verdict limits_take(struct limits *l, const struct limits_request *r, struct limits_answer *out)
{
	struct operation op = {.run = take, .request = r, .answer = out};

	memset(out, 0, sizeof *out);
	if (locked(l, &op))
		return op.verdict;
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

static void give(struct operation *op)
{
	const struct limits_share *share = op->share;
	struct file *f = op->limits->file;
	uint16_t *held;
	struct slot *s;

	if (share->file != f->head.random)
		return;
	if (op->tokens >= 0)
		correct(&f->all.tokens_ns, op->tokens - share->all_tokens, share->all_tokens_limit, op->now_ns);
	if (share->slot >= SLOTS || f->slots[share->slot].client != share->client)
		return;
	s = &f->slots[share->slot];
	held = &f->pages[op->limits->page].held[share->slot];
	if (op->tokens >= 0)
		correct(&s->tokens_ns, op->tokens - share->tokens, share->own.tokens, op->now_ns);
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

void limits_give(struct limits *l, const struct limits_share *s, int64_t tokens, int64_t now_ns)
{
	struct operation op = {.run = give, .share = s, .tokens = tokens, .now_ns = now_ns};

	if (s->file != 0 && !locked(l, &op) && l->file != NULL)
		owe(l, s, tokens);
}
