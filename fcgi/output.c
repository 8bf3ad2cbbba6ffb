/* A response's way out: records, the socket's room, chunks that must stand apart. */
#include "fcgi/connection_internal.h"

#include "core/base/clock.h"

#include <assert.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define BACKLOG_MAX     (16u << 20)
#define BACKLOG_HIGH    (32u << 10) /* the writer is asked to wait */
#define BACKLOG_LOW     (8u << 10)  /* ... and to go on */
#define TCP_SEND_BUFFER (256 << 10)

#define SETTLE_NS          INT64_C(200000)     /* between the peer's reading and what stands apart */
#define SETTLE_TCP_NS      INT64_C(1000000)    /* the same, where its reading cannot be seen */
#define SETTLE_LOOK_NS     INT64_C(100000)     /* until the first look at whether it has read, */
#define SETTLE_LOOK_MAX_NS INT64_C(5000000)    /* then twice as long each time */
#define SETTLE_CAP_NS      INT64_C(5000000000) /* longest wait for a slow peer */

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	output_writable(arg);
}

/* How much a writable socket takes without blocking. AF_UNIX says "writable" while at
 * most a quarter of the buffer is used, TCP while at least a third is free. */
static int64_t window_of(int fd, bool local)
{
	int size = 0;
	socklen_t len = sizeof size;

	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) < 0 || size < 4)
		return 1;
	return local ? size / 4 * 3 : size / 4;
}

static bool is_local(int fd)
{
	int family = AF_UNSPEC;
	socklen_t len = sizeof family;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) == 0 && family == AF_UNIX;
}

/* All connections of one listener are alike, so the first one tells. */
void output_prepare(struct connection *c)
{
	struct connections *s = c->set;
	bool first = s->window == 0;

	if (first)
		s->local = is_local(c->fd);
	if (!s->local) {
		setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &(int){TCP_SEND_BUFFER}, sizeof(int));
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	}
	if (first)
		s->window = window_of(c->fd, s->local);
	c->credit = s->window;
	/* libevent wants both events of a descriptor edge-triggered or none. */
	event_assign(&c->writable, s->base, c->fd, EV_WRITE | EV_ET, on_writable, c);
	output_reset(c);
}

void output_reset(struct connection *c)
{
	struct output *o = &c->out;

	if (o->dirty)
		TAILQ_REMOVE(&c->set->dirty, c, dirty);
	if (o->settling)
		TAILQ_REMOVE(&c->set->settling, c, settle);
	if (o->waits_writable)
		event_del(&c->writable);
	buf_free(&o->backlog);
	free(o->barriers);
	*o = (struct output){.backlog = BUF_INIT(BACKLOG_MAX)};
}

void output_free(struct connection *c)
{
	buf_free(&c->out.backlog);
	free(c->out.barriers);
}

/* --- what the endpoints give ---------------------------------------------------------- */

static void mark_dirty(struct connection *c)
{
	if (!c->out.dirty)
		TAILQ_INSERT_TAIL(&c->set->dirty, c, dirty);
	c->out.dirty = true;
}

static void add_barrier(struct output *o)
{
	size_t cap = o->barrier_cap == 0 ? 4 : o->barrier_cap * 2;
	size_t *more;

	if (o->barrier_count > 0 && o->barriers[o->barrier_count - 1] == o->given)
		return;
	if (o->barrier_count == o->barrier_cap) {
		more = realloc(o->barriers, cap * sizeof *more);
		if (more == NULL) {
			o->failed = true;
			return;
		}
		o->barriers = more;
		o->barrier_cap = cap;
	}
	o->barriers[o->barrier_count++] = o->given;
}

static void give(struct connection *c, const char *bytes, size_t len)
{
	struct output *o = &c->out;

	if (o->backlog.len == 0 && o->barrier_count == 0 && len <= exchange_room(c->exchange)) {
		exchange_put(c->exchange, bytes, len);
		o->taken += len;
	} else if (buf_add(&o->backlog, bytes, len) < 0) {
		o->failed = true;
	}
	o->given += len;
}

void connection_head(struct connection *c, const char *bytes, size_t len)
{
	assert(c->state == CONNECTION_ACTIVE && c->out.given == 0);
	exchange_put(c->exchange, bytes, len);
}

int connection_write(struct connection *c, const char *bytes, size_t len, bool apart)
{
	struct output *o = &c->out;

	assert(c->state == CONNECTION_ACTIVE && !o->ended);
	if (len == 0)
		return 0;
	if (apart)
		add_barrier(o);
	give(c, bytes, len);
	if (apart)
		add_barrier(o);
	mark_dirty(c);
	if (o->backlog.len > BACKLOG_HIGH)
		o->enough = true;
	return o->enough;
}

void connection_end(struct connection *c)
{
	assert(c->state == CONNECTION_ACTIVE && !c->out.ended);
	c->owner = NULL;
	c->out.ended = true;
	mark_dirty(c);
}

/* --- records -------------------------------------------------------------------------- */

/* A record costs the socket about this much: its bytes in the allocator's sizes and
 * the kernel's own. */
static int64_t cost(size_t len)
{
	return (int64_t)len * 2 + 1024;
}

static bool may_write(struct connection *c, size_t len)
{
	struct pollfd p = {.fd = c->fd, .events = POLLOUT};

	if (c->credit < cost(len)) {
		if (poll(&p, 1, 0) != 1)
			return false;
		c->credit = c->set->window;
	}
	c->credit -= cost(len);
	return true;
}

static void refill(struct connection *c)
{
	struct output *o = &c->out;
	size_t n = o->backlog.len, room = exchange_room(c->exchange);

	if (o->barrier_count > 0 && n > o->barriers[0] - o->taken)
		n = o->barriers[0] - o->taken;
	if (n > room)
		n = room;
	if (n == 0)
		return;
	exchange_put(c->exchange, o->backlog.data, n);
	buf_consume(&o->backlog, n);
	o->taken += n;
	if (o->backlog.len == 0)
		buf_free(&o->backlog);
}

static void arm_settle(struct connections *s, int64_t due_ns)
{
	struct itimerspec t = {.it_value = {.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000}};

	if (s->settle_due_ns != 0 && s->settle_due_ns <= due_ns)
		return;
	s->settle_due_ns = due_ns;
	timerfd_settime(s->settle_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void pass_barrier(struct output *o)
{
	o->barrier_count--;
	for (size_t i = 0; i < o->barrier_count; i++)
		o->barriers[i] = o->barriers[i + 1];
}

/* Whether the next byte must wait at a barrier. Before the first byte, and behind the
 * last, there is nothing to keep apart. */
static bool held(struct connection *c)
{
	struct output *o = &c->out;
	int64_t now;

	if (o->barrier_count == 0 || o->barriers[0] > o->taken)
		return false;
	if (o->taken == 0 || (o->ended && o->backlog.len == 0)) {
		pass_barrier(o);
		return false;
	}
	if (o->backlog.len == 0 || exchange_pending(c->exchange) > 0)
		return false;
	now = clock_mono_ns();
	o->settling = true;
	o->settle_cap_ns = now + SETTLE_CAP_NS;
	o->look_ns = SETTLE_LOOK_NS;
	o->settle_due_ns = now + (c->set->local ? o->look_ns : SETTLE_TCP_NS);
	o->drained = !c->set->local;
	TAILQ_INSERT_TAIL(&c->set->settling, c, settle);
	arm_settle(c->set, o->settle_due_ns);
	return true;
}

/* Writes one record; false: the socket is full, or the connection is gone or done. */
static bool write_record(struct connection *c)
{
	struct output *o = &c->out;
	bool last = o->ended && o->backlog.len == 0;
	size_t pending = exchange_pending(c->exchange);

	if (!may_write(c, pending + 32)) {
		o->waits_writable = true;
		event_add(&c->writable, NULL);
		return false;
	}
	if (!last) {
		if (exchange_flush(c->exchange) == 0)
			return true;
		connection_lost(c);
		return false;
	}
	if (exchange_finish(c->exchange) == 0)
		connection_finished(c);
	else
		connection_lost(c);
	return false;
}

void output_flush(struct connection *c)
{
	struct output *o = &c->out;

	if (o->failed) {
		connection_lost(c);
		return;
	}
	if (o->settling || o->waits_writable)
		return;
	do {
		if (held(c))
			return;
		refill(c);
		if (exchange_pending(c->exchange) == 0 && !(o->ended && o->backlog.len == 0))
			break;
	} while (write_record(c));
	if (c->state == CONNECTION_ACTIVE && o->enough && o->backlog.len < BACKLOG_LOW && c->owner != NULL) {
		o->enough = false;
		c->owner->resume(c->owner_arg);
	}
}

void output_writable(struct connection *c)
{
	if (c->state != CONNECTION_ACTIVE || !c->out.waits_writable)
		return;
	c->out.waits_writable = false;
	output_flush(c);
}

/* --- barriers --------------------------------------------------------------------------- */

/* The web server merges what it reads in one go. When it has read all that was sent
 * (the socket's queue is empty) and a moment has passed, what follows is read alone.
 * On TCP the queue counts what is not acknowledged; there the moment must do. */
static bool settled(struct connection *c, int64_t now)
{
	struct output *o = &c->out;
	int queued = 0;

	if (o->settle_due_ns > now)
		return false;
	if (o->drained)
		return true;
	o->drained = now >= o->settle_cap_ns || ioctl(c->fd, SIOCOUTQ, &queued) < 0 || queued <= 1;
	o->settle_due_ns = now + (o->drained ? SETTLE_NS : o->look_ns);
	o->look_ns = o->look_ns * 2 < SETTLE_LOOK_MAX_NS ? o->look_ns * 2 : SETTLE_LOOK_MAX_NS;
	return false;
}

void output_settle(struct connections *s)
{
	struct connection *c, *next;
	int64_t now = clock_mono_ns(), first = INT64_MAX;

	s->settle_due_ns = 0;
	for (c = TAILQ_FIRST(&s->settling); c != NULL; c = next) {
		next = TAILQ_NEXT(c, settle);
		if (settled(c, now)) {
			TAILQ_REMOVE(&s->settling, c, settle);
			c->out.settling = false;
			pass_barrier(&c->out);
			mark_dirty(c);
		} else if (c->out.settle_due_ns < first) {
			first = c->out.settle_due_ns;
		}
	}
	if (first != INT64_MAX)
		arm_settle(s, first);
}
