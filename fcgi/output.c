/* SPDX-License-Identifier: Apache-2.0 */
/* A response's way out: records, and the room that the socket has for them. */
#include "fcgi/connection_internal.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BACKLOG_MAX     (16u << 20)
#define BACKLOG_HIGH    (32u << 10) /* the writer is asked to wait */
#define BACKLOG_LOW     (8u << 10)  /* ... and to go on */
#define TCP_SEND_BUFFER (256 << 10)
#define FRAME           32 /* bytes of a record beside its content, and of the request's end */

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
	event_assign(&c->writable, s->base, c->fd, EV_WRITE | EV_ET | EV_PERSIST, on_writable, c);
	output_reset(c);
}

void output_reset(struct connection *c)
{
	struct output *o = &c->out;

	if (o->dirty)
		TAILQ_REMOVE(&c->set->dirty, c, dirty);
	if (o->waits_writable)
		event_del(&c->writable);
	flush_boundary_clear(c);
	buf_free(&o->backlog);
	*o = (struct output){.backlog = BUF_INIT(BACKLOG_MAX)};
}

void output_free(struct connection *c)
{
	buf_free(&c->out.backlog);
	flush_boundary_clear(c);
}

/* --- what the endpoints give ---------------------------------------------------------- */

void output_mark(struct connection *c)
{
	if (!c->out.dirty)
		TAILQ_INSERT_TAIL(&c->set->dirty, c, dirty);
	c->out.dirty = true;
}

static void give(struct connection *c, const char *bytes, size_t len)
{
	struct output *o = &c->out;

	if (o->backlog.len == 0 && !flush_boundary_pending(o) && len <= request_room(c->exchange)) {
		request_put(c->exchange, bytes, len);
		o->taken += len;
	} else if (buf_add(&o->backlog, bytes, len) < 0) {
		o->failed = true;
	}
	o->given += len;
}

void connection_head(struct connection *c, const char *bytes, size_t len)
{
	assert(c->state == CONNECTION_ACTIVE && c->out.given == 0);
	request_put(c->exchange, bytes, len);
}

int connection_write(struct connection *c, const char *bytes, size_t len, bool apart)
{
	struct output *o = &c->out;

	assert(c->state == CONNECTION_ACTIVE && !o->ended);
	if (apart)
		flush_boundary_add(c);
	if (len > 0)
		give(c, bytes, len);
	if (apart)
		flush_boundary_add(c);
	output_mark(c);
	if (o->backlog.len > BACKLOG_HIGH)
		o->enough = true;
	return o->enough;
}

void connection_end(struct connection *c)
{
	assert(c->state == CONNECTION_ACTIVE && !c->out.ended);
	c->owner = NULL;
	c->out.ended = true;
	output_mark(c);
}

/* --- records -------------------------------------------------------------------------- */

/* A record costs the socket about this much: its bytes in the allocator's sizes and
 * the kernel's own. */
static int64_t cost(size_t len)
{
	return (int64_t)len * 2 + 1024;
}

bool output_has_room(struct connection *c, size_t len)
{
	struct pollfd p = {.fd = c->fd, .events = POLLOUT};
	int64_t needed = cost(len + FRAME);

	if (c->credit < needed) {
		if (poll(&p, 1, 0) != 1) {
			c->out.waits_writable = true;
			event_add(&c->writable, NULL);
			return false;
		}
		c->credit = c->set->window;
	}
	c->credit -= needed;
	return true;
}

static void refill(struct connection *c)
{
	struct output *o = &c->out;
	size_t n = flush_boundary_limit(o, o->backlog.len), room = request_room(c->exchange);

	if (n > room)
		n = room;
	if (n == 0)
		return;
	request_put(c->exchange, o->backlog.data, n);
	buf_consume(&o->backlog, n);
	o->taken += n;
	if (o->backlog.len == 0)
		buf_free(&o->backlog);
}

/* Writes one record; false: the socket is full, or the connection is gone or done. */
static bool write_record(struct connection *c)
{
	struct output *o = &c->out;
	bool last = o->ended && o->backlog.len == 0;
	size_t pending = request_pending(c->exchange);

	if (!output_has_room(c, pending))
		return false;
	if (!last) {
		if (request_flush(c->exchange) == 0)
			return true;
		connection_lost(c);
		return false;
	}
	if (request_finish(c->exchange) == 0)
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
	if (o->apart != FLUSH_NOT || o->waits_writable)
		return;
	do {
		if (flush_boundary_holds(c))
			return;
		refill(c);
		if (request_pending(c->exchange) == 0 && !(o->ended && o->backlog.len == 0))
			break;
	} while (write_record(c));
	if (c->state == CONNECTION_ACTIVE && o->enough && o->backlog.len < BACKLOG_LOW && c->owner != NULL) {
		o->enough = false;
		c->owner->resume(c->owner_arg);
	}
}

void output_writable(struct connection *c)
{
	if (c->state != CONNECTION_ACTIVE)
		return;
	if (c->out.waits_writable) {
		event_del(&c->writable);
		c->out.waits_writable = false;
		output_flush(c);
	} else if (c->out.apart == FLUSH_UNREAD) {
		flush_boundary_check(c);
	}
}
