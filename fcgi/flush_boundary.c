/* SPDX-License-Identifier: Apache-2.0 */
/* What must be an HTTP chunk of its own. The web server merges what it reads in one go, so
 * what follows a barrier waits until the web server's read has ended.
 *
 * On AF_UNIX a read ends behind a record that carries a descriptor. The socket tells each time
 * that the peer has read (an edge of "writable"), and SIOCOUTQ whether it was all. Nothing may
 * follow earlier: nginx takes a short read for the last and waits for what comes after it.
 * On TCP the queue counts what is not acknowledged, which tells nothing; there a moment must
 * do, in which the peer will have read. */
#include "fcgi/connection_internal.h"

#include "core/base/clock.h"

#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>

#define MOMENT_NS INT64_C(1000000)

/* --- one timer for all whose moment runs, in the order of its end --------------------------- */

static void arm(struct connections *s, int64_t due_ns)
{
	struct itimerspec t = {.it_value = {.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000}};

	timerfd_settime(s->apart_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void enter_moment(struct connection *c)
{
	bool first = TAILQ_EMPTY(&c->set->moments);

	c->out.apart = FLUSH_MOMENT;
	c->out.apart_due_ns = clock_mono_ns() + MOMENT_NS;
	TAILQ_INSERT_TAIL(&c->set->moments, c, apart);
	if (first)
		arm(c->set, c->out.apart_due_ns);
}

/* The event comes at once, as the descriptor is writable, and then with each read. */
static void enter_unread(struct connection *c)
{
	c->out.apart = FLUSH_UNREAD;
	event_add(&c->writable, NULL);
}

static void leave(struct connection *c)
{
	if (c->out.apart == FLUSH_MOMENT)
		TAILQ_REMOVE(&c->set->moments, c, apart);
	else if (c->out.apart == FLUSH_UNREAD)
		event_del(&c->writable);
	c->out.apart = FLUSH_NOT;
}

/* --- barriers ------------------------------------------------------------------------------ */

void flush_boundary_add(struct connection *c)
{
	struct output *o = &c->out;
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

void flush_boundary_clear(struct connection *c)
{
	leave(c);
	free(c->out.barriers);
	c->out.barriers = NULL;
	c->out.barrier_count = c->out.barrier_cap = 0;
}

bool flush_boundary_pending(const struct output *o)
{
	return o->barrier_count > 0;
}

size_t flush_boundary_limit(const struct output *o, size_t len)
{
	return o->barrier_count > 0 && len > o->barriers[0] - o->taken ? o->barriers[0] - o->taken : len;
}

static void pass_barrier(struct output *o)
{
	o->passed = o->barriers[0];
	o->barrier_count--;
	for (size_t i = 0; i < o->barrier_count; i++)
		o->barriers[i] = o->barriers[i + 1];
}

bool flush_boundary_holds(struct connection *c)
{
	struct output *o = &c->out;

	if (o->barrier_count == 0 || o->barriers[0] > o->taken)
		return false;
	/* Nothing before it that it could be merged with, or nothing behind it. */
	if (o->taken == o->passed || (o->ended && o->backlog.len == 0)) {
		pass_barrier(o);
		return false;
	}
	if (request_pending(c->exchange) > 0)
		return false;
	if (c->set->local && !output_has_room(c, 0))
		return true;
	if (c->set->local && request_split(c->exchange, c->set->apart_fd) == 0)
		enter_unread(c);
	else
		enter_moment(c);
	return true;
}

static void reached(struct connection *c)
{
	leave(c);
	pass_barrier(&c->out);
	output_mark(c);
}

void flush_boundary_check(struct connection *c)
{
	int queued = 0;

	if (ioctl(c->fd, SIOCOUTQ, &queued) < 0 || queued <= 1)
		reached(c);
}

void flush_boundary_tick(struct connections *s)
{
	int64_t now = clock_mono_ns();
	struct connection *c;

	while ((c = TAILQ_FIRST(&s->moments)) != NULL && c->out.apart_due_ns <= now)
		reached(c);
	if (c != NULL)
		arm(s, c->out.apart_due_ns);
}
