/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/keeper.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "fcgi/journal.h"

#include <errno.h>
#include <fastcgi.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES_MAX  1048576
#define FIRST_FD     3
#define CHECK_MS     1000
#define JOURNALS_MAX 16384
#define NOTIFY_MS    10000 /* a client that reads nothing for that long is not notified */
#define PIECE_MAX    1024
/* On TCP, where nobody knows what the peer has read, and after it has read on AF_UNIX. */
#define BOUNDARY_NS INT64_C(1000000)

enum kept_state { KEPT_FREE, KEPT_BEGUN, KEPT_STREAMS, KEPT_ENDS };

struct kept {
	_Atomic unsigned char state; /* enum kept_state */
	_Atomic unsigned char reply_state;
	uint16_t request_id;
	bool was_handed_over;
	_Atomic uint32_t writes;
	_Atomic uint32_t sends, sent; /* records; unequal: one is being sent */
	struct fcgi_sending sending;
	unsigned char state_before; /* what is true if it was not sent */
	uint32_t writes_before;
	int64_t began_ns, first_ns, last_ns;
	char memo[OUTPUT_MEMO_MAX];
	const struct protocol *protocol; /* a constant: it has the same address in the keeper */

	struct journals *journals;
	_Atomic(char *) journal; /* the request and the text; NULL: no room */
	bool resumable;          /* both are there */
	uint32_t request_len, text_len;
	_Atomic uint32_t text_sent;

	/* The keeper's own, after the death. */
	enum { NOTIFYING, NOTIFIED, CLIENT_LEFT, HANDED_OVER } result;
	int64_t read_ns; /* when the peer had read all so far; 0: it has not */
};

struct keeper {
	_Atomic int64_t beat_ns, hang_ns;
	pid_t pid;       /* of the keeper; 0: it died */
	_Atomic int end; /* no file descriptor from here on was ever used */
	int entries_max;
	_Atomic bool takes; /* into handed_over */
	struct handed_over handed_over;
	struct handover handover;
	size_t size;
	struct journals journals;
	struct kept entries[];
};

/* --- in the worker ------------------------------------------------------------------------ */

void keeper_beat(struct keeper *k, int64_t now_ns)
{
	if (k != NULL)
		atomic_store_explicit(&k->beat_ns, now_ns, memory_order_relaxed);
}

void keeper_set_hang_time(struct keeper *k, int64_t ms)
{
	if (k != NULL)
		atomic_store_explicit(&k->hang_ns, ms * 1000000, memory_order_relaxed);
}

struct kept *keeper_begin(struct keeper *k, int fd, unsigned request_id, const struct protocol *p)
{
	struct kept *e;

	if (k == NULL || fd < FIRST_FD || fd >= k->entries_max)
		return NULL;
	e = &k->entries[fd];
	*e = (struct kept){.request_id = (uint16_t)request_id,
	                   .began_ns = clock_mono_ns(),
	                   .protocol = p,
	                   .journals = &k->journals,
	                   .journal = journal_begin(&k->journals)};
	if (fd >= k->end)
		k->end = fd + 1;
	atomic_store_explicit(&e->state, KEPT_BEGUN, memory_order_release);
	return e;
}

/* Room for len bytes behind those that are there. */
static char *journal_for(struct kept *e, size_t used, size_t len)
{
	char *old = e->journal, *now = old != NULL ? journal_room(e->journals, old, used, used + len) : NULL;

	if (now == NULL || now == old)
		return now;
	atomic_store_explicit(&e->journal, now, memory_order_release);
	journal_end(e->journals, old, used);
	return now;
}

void kept_request(struct kept *e, const char *bytes, size_t len)
{
	char *journal = e != NULL && len <= HANDOVER_MAX / 2 ? journal_for(e, 0, len) : NULL;

	if (journal == NULL)
		return;
	memcpy(journal, bytes, len);
	e->request_len = (uint32_t)len;
	e->resumable = true;
}

struct handed_over *keeper_takes(struct keeper *k)
{
	static struct handed_over own;

	if (k == NULL)
		return &own;
	memset(k->handed_over.control, 0, sizeof k->handed_over.control);
	atomic_store_explicit(&k->takes, true, memory_order_release);
	return &k->handed_over;
}

void keeper_took(struct keeper *k)
{
	if (k != NULL)
		atomic_store_explicit(&k->takes, false, memory_order_release);
}

void kept_resumed(struct kept *e, const struct orphan *o)
{
	if (e == NULL)
		return;
	e->was_handed_over = true;
	e->began_ns = o->began_ns;
	e->first_ns = o->first_ns;
	e->last_ns = o->last_ns;
	e->writes = o->writes;
	e->reply_state = o->state;
	memcpy(e->memo, o->memo, sizeof e->memo);
	atomic_store_explicit(&e->state, KEPT_STREAMS, memory_order_release);
}

void kept_not_resumable(struct kept *e)
{
	if (e != NULL)
		e->resumable = false;
}

void kept_memo(struct kept *e, const char *memo)
{
	if (e != NULL)
		snprintf(e->memo, sizeof e->memo, "%s", memo);
}

void kept_text(struct kept *e, const char *bytes, size_t len)
{
	size_t used;
	char *journal;

	if (e == NULL || !e->resumable)
		return;
	used = e->request_len + e->text_len;
	journal = journal_for(e, used, len);
	if (journal == NULL) {
		e->resumable = false;
		return;
	}
	memcpy(journal + used, bytes, len);
	e->text_len += (uint32_t)len;
}

void kept_state(struct kept *e, unsigned char state)
{
	if (e != NULL)
		atomic_store_explicit(&e->reply_state, state, memory_order_release);
}

void kept_sends(struct kept *e, unsigned char state, uint32_t writes)
{
	if (e == NULL)
		return;
	fcgi_sending_begin(&e->sending);
	e->state_before = e->reply_state;
	e->writes_before = e->writes;
	atomic_store_explicit(&e->sends, e->sends + 1, memory_order_release);
	e->last_ns = clock_mono_ns();
	if (e->first_ns == 0)
		e->first_ns = e->last_ns;
	atomic_store_explicit(&e->reply_state, state, memory_order_relaxed);
	atomic_store_explicit(&e->writes, writes, memory_order_relaxed);
	atomic_store_explicit(&e->state, KEPT_STREAMS, memory_order_release);
}

struct fcgi_sending *kept_sending(struct kept *e)
{
	return e != NULL ? &e->sending : NULL;
}

void kept_sent(struct kept *e)
{
	if (e == NULL)
		return;
	atomic_store_explicit(&e->text_sent, e->text_len, memory_order_relaxed);
	atomic_store_explicit(&e->sent, e->sends, memory_order_release);
}

void kept_ends(struct kept *e)
{
	if (e != NULL)
		atomic_store_explicit(&e->state, KEPT_ENDS, memory_order_release);
}

void kept_free(struct kept *e)
{
	char *journal;

	if (e == NULL)
		return;
	journal = e->journal;
	atomic_store_explicit(&e->state, KEPT_FREE, memory_order_release);
	if (journal != NULL)
		journal_end(e->journals, journal, e->request_len + e->text_len);
}

/* --- in the keeper: notifying the clients --------------------------------------------------- */

static size_t record(char *out, int type, unsigned request_id, const char *content, size_t len)
{
	FCGI_Header header = {.version = FCGI_VERSION_1,
	                      .type = (unsigned char)type,
	                      .requestIdB1 = (unsigned char)(request_id >> 8),
	                      .requestIdB0 = (unsigned char)request_id,
	                      .contentLengthB1 = (unsigned char)(len >> 8),
	                      .contentLengthB0 = (unsigned char)len};

	memcpy(out, &header, sizeof header);
	memcpy(out + sizeof header, content, len);
	return sizeof header + len;
}

/* The next record or, with the last piece, those that end the request; *state: after it. */
static size_t next_records(const struct kept *e, char out[PIECE_MAX + 128], unsigned char *state, bool *last)
{
	struct broken_reply broken = {
		.state = e->reply_state,
		.usage = {.tokens = e->writes,
	                  .ttft_ns = e->writes == 0 ? -1 : e->first_ns - e->began_ns,
	                  .tpot_ns = e->writes < 2 ? -1 : (e->last_ns - e->first_ns) / (e->writes - 1),
	                  .total_ns = clock_mono_ns() - e->began_ns},
	};
	char piece[PIECE_MAX];
	size_t n = e->protocol->broken(&broken, piece, sizeof piece, last);
	size_t len = n > 0 ? record(out, FCGI_STDOUT, e->request_id, piece, n) : 0;

	*state = broken.state;
	if (*last) {
		FCGI_EndRequestBody end = {.protocolStatus = FCGI_REQUEST_COMPLETE};

		len += record(out + len, FCGI_STDOUT, e->request_id, "", 0);
		len += record(out + len, FCGI_END_REQUEST, e->request_id, (const char *)&end, sizeof end);
	}
	return len;
}

/* Whether the next piece would be an HTTP chunk of its own. */
static bool was_read(struct kept *e, int fd, bool local)
{
	int64_t now = clock_mono_ns();
	int queued = 0;

	if (local && (ioctl(fd, SIOCOUTQ, &queued) < 0 || queued > 1)) {
		e->read_ns = 0;
		return false;
	}
	if (e->read_ns == 0)
		e->read_ns = now;
	return now - e->read_ns >= BOUNDARY_NS;
}

static void notify(struct kept *e, int fd)
{
	char out[PIECE_MAX + 128];
	unsigned char state;
	bool last = false;
	size_t len = next_records(e, out, &state, &last);
	ssize_t n = send(fd, out, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	e->reply_state = state;
	e->read_ns = 0;
	e->result = n != (ssize_t)len ? CLIENT_LEFT : last ? NOTIFIED : NOTIFYING;
	if (e->result != NOTIFYING)
		close(fd);
}

/* --- in the keeper: handing over ------------------------------------------------------------- */

/* Whether the record that the worker was sending was sent. */
static void settle(struct kept *e)
{
	const enum fcgi_sent result = fcgi_sending_result(&e->sending);

	if (e->sends == e->sent || result == FCGI_SENT_UNKNOWN)
		return;
	if (result == FCGI_SENT_ALL) {
		e->text_sent = e->text_len;
	} else {
		e->reply_state = e->state_before;
		e->writes = e->writes_before;
		if (e->sent == 0 && !e->was_handed_over)
			e->state = KEPT_BEGUN; /* the web server asks another worker */
	}
	e->sent = e->sends;
}

static bool hand_over(const struct keeper *k, struct kept *e, int fd)
{
	struct orphan o = {.state = e->reply_state,
	                   .request_id = e->request_id,
	                   .request_len = e->request_len,
	                   .text_len = e->text_sent,
	                   .writes = e->writes,
	                   .began_ns = e->began_ns,
	                   .first_ns = e->first_ns,
	                   .last_ns = e->last_ns};

	if (!e->resumable || e->was_handed_over || e->sends != e->sent || !e->protocol->can_resume(o.state))
		return false;
	snprintf(o.protocol, sizeof o.protocol, "%s", e->protocol->name);
	memcpy(o.memo, e->memo, sizeof o.memo);
	if (handover_give(k->handover.give, &o, e->journal, fd) < 0)
		return false;
	close(fd);
	return true;
}

/* --- in the keeper: after the death ----------------------------------------------------------- */

/* The descriptors of everything else: LLMs would write on, the locks of the database would stay. */
static void close_others(struct keeper *k)
{
	const struct handover *h = &k->handover;
	int from = FIRST_FD;

	for (int fd = FIRST_FD; fd < k->end || fd <= h->give || fd <= h->take; fd++) {
		bool own = fd == h->give || fd == h->take;

		if (k->entries[fd].state != KEPT_STREAMS && !own)
			continue;
		if (fd > from)
			close_range((unsigned)from, (unsigned)fd - 1, 0);
		from = fd + 1;
	}
	close_range((unsigned)from, ~0u, 0);
}

/* An answer that nobody has tried to resume yet. */
static void keep_taken(struct keeper *k)
{
	const struct handed_over *h = &k->handed_over;
	const struct orphan *o = &h->known;
	int fd = handover_connection(h);
	const struct protocol *p = protocol_find(o->protocol);
	struct kept *e = p != NULL ? keeper_begin(k, fd, o->request_id, p) : NULL;

	if (e == NULL) {
		close(fd);
		return;
	}
	kept_request(e, h->bytes, o->request_len);
	kept_text(e, h->bytes + o->request_len, o->text_len);
	kept_resumed(e, o);
	e->was_handed_over = false;
	e->text_sent = e->text_len;
}

/* Answers that wait to be taken over, for which the worker had no room: if it was the last one that could,
 * they would end silently. They are given again, like its own. */
static void take_waiting(struct keeper *k)
{
	while (handover_take(k->handover.take, &k->handed_over) == 0)
		keep_taken(k);
	close(k->handover.take);
}

static bool is_local(int fd)
{
	int family = AF_UNSPEC;
	socklen_t len = sizeof family;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) == 0 && family == AF_UNIX;
}

static void after_death(struct keeper *k)
{
	int64_t began_ms = clock_mono_ms(), end_ms = began_ms + NOTIFY_MS;
	int answers = 0, count[HANDED_OVER + 1] = {0};

	for (int fd = FIRST_FD; fd < k->end; fd++)
		if (k->entries[fd].state == KEPT_STREAMS)
			settle(&k->entries[fd]);
	if (k->takes && handover_connection(&k->handed_over) >= 0) /* it died before it was kept */
		keep_taken(k);
	close_others(k);
	take_waiting(k);
	for (int fd = FIRST_FD; fd < k->end; fd++)
		if (k->entries[fd].state == KEPT_STREAMS) {
			answers++;
			if (hand_over(k, &k->entries[fd], fd))
				k->entries[fd].result = HANDED_OVER;
		}
	do {
		memset(count, 0, sizeof count);
		for (int fd = FIRST_FD; fd < k->end; fd++) {
			struct kept *e = &k->entries[fd];

			if (e->state != KEPT_STREAMS)
				continue;
			if (e->result == NOTIFYING && was_read(e, fd, is_local(fd)))
				notify(e, fd);
			count[e->result]++;
		}
		nanosleep(&(struct timespec){.tv_nsec = count[NOTIFYING] > 0 ? 500000 : 0}, NULL);
	} while (count[NOTIFYING] > 0 && clock_mono_ms() < end_ms);
	k->handover.deaths->answers += (uint32_t)(count[NOTIFIED] + count[NOTIFYING]);
	if (answers > 0)
		log_event(LOG_ANSWERS_BROKE_OFF, L_INT("answers", answers), L_INT("handed_over", count[HANDED_OVER]),
		          L_INT("notified", count[NOTIFIED]), L_INT("client_left", count[CLIENT_LEFT]),
		          L_INT("not_read", count[NOTIFYING]), L_INT("ms", clock_mono_ms() - began_ms));
}

/* --- in the keeper: watching the worker --------------------------------------------------- */

static void watch(struct keeper *k, pid_t worker, int pidfd)
{
	struct pollfd dead = {.fd = pidfd, .events = POLLIN};
	int64_t alive_ns = clock_mono_ns(), before_ns = alive_ns, now_ns;

	while (poll(&dead, 1, CHECK_MS) <= 0) {
		now_ns = clock_mono_ns();
		/* This process stood still itself, so the worker may have as well: judge nothing. */
		if (now_ns - before_ns > INT64_C(1500000) * CHECK_MS)
			alive_ns = now_ns;
		before_ns = now_ns;
		if (k->beat_ns > alive_ns)
			alive_ns = k->beat_ns;
		if (k->hang_ns > 0 && now_ns - alive_ns > k->hang_ns) {
			log_event(LOG_WORKER_HANGS, L_INT("pid", worker),
			          L_REAL("seconds", (double)(now_ns - alive_ns) / 1e9));
			kill(worker, SIGKILL);
		}
	}
}

static void become_keeper(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "tt-agent-keeper");
}

static void run(struct keeper *k, pid_t worker, int pidfd)
{
	become_keeper();
	watch(k, worker, pidfd);
	after_death(k);
	_exit(0);
}

/* --- start and end ---------------------------------------------------------------------------- */

static void *map(size_t size)
{
	/* Only the pages of file descriptors that are used ever exist. */
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static struct keeper *map_table(void)
{
	struct rlimit files;
	struct keeper *k;
	rlim_t entries;
	size_t size;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return NULL;
	entries = files.rlim_cur < ENTRIES_MAX ? files.rlim_cur : ENTRIES_MAX;
	size = sizeof *k + entries * sizeof k->entries[0];
	k = map(size);
	if (k == NULL)
		return NULL;
	k->entries_max = (int)entries;
	k->size = size;
	journals_map(&k->journals, entries < JOURNALS_MAX ? entries : JOURNALS_MAX);
	return k;
}

struct keeper *keeper_start(const struct handover *h)
{
	struct keeper *k = map_table();
	pid_t self = getpid();
	int pidfd = k != NULL ? (int)syscall(SYS_pidfd_open, self, 0) : -1;
	/* Its end sends the worker no signal. */
	long pid = pidfd >= 0 ? syscall(SYS_clone, CLONE_FILES, 0, 0, 0, 0) : -1;

	if (pid == 0) {
		k->handover = *h;
		run(k, self, pidfd);
	}
	if (pid > 0) {
		k->pid = (pid_t)pid;
		return k;
	}
	log_event(LOG_KEEPER_FAILED, L_STR("error", strerror(errno)));
	if (pidfd >= 0)
		close(pidfd);
	keeper_free(k);
	return NULL;
}

void keeper_end_waiting(const struct handover *h)
{
	struct keeper *k;

	if (fork() != 0)
		return;
	become_keeper();
	k = map_table();
	if (k != NULL) {
		k->handover = *h;
		after_death(k);
	}
	_exit(0);
}

bool keeper_died(struct keeper *k)
{
	if (k == NULL || k->pid == 0 || waitpid(k->pid, NULL, WNOHANG | __WALL) <= 0)
		return false;
	k->pid = 0;
	return true;
}

void keeper_free(struct keeper *k)
{
	if (k == NULL)
		return;
	journals_unmap(&k->journals);
	munmap(k, k->size);
}
