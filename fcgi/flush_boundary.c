/* SPDX-License-Identifier: Apache-2.0 */
/* Flush boundaries. The web server merges what it gets in one read into one HTTP chunk, so what
 * follows a boundary is not written until the web server's read has ended.
 *
 * On AF_UNIX a read ends after a record that carries a file descriptor, and SIOCOUTQ says whether the
 * peer has read everything. Nothing may be written earlier: nginx takes a short read for the last one
 * and waits for an event. On TCP, SIOCOUTQ counts what is not acknowledged, which says nothing about
 * reads; there a delay must do, within which the peer will have read.
 *
 * What follows is mostly written later anyway, when the peer has read, and only then is that looked at. What follows
 * at once is looked at after the loop's next iteration. Only if the peer has not read then does the connection wait
 * for an event, which costs three system calls more. */
#include "fcgi/connection_internal.h"

#include "core/base/clock.h"

#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>

#define DELAY_NS INT64_C(1000000)
/* The peer's buffer has room for as much: of a record that carries a file descriptor it must not read a part. */
#define READ_AT_ONCE_MAX 4000u

/* --- one timer for all delays, in the order in which they end -------------------------------- */

static void arm(struct connections *s, int64_t due_ns)
{
	struct itimerspec t = {.it_value = {.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000}};

	timerfd_settime(s->flush_timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static void await_delay(struct connection *c)
{
	struct connection *before = TAILQ_LAST(&c->set->delayed, connection_list);

	c->out.flush = FLUSH_DELAY;
	while (before != NULL && before->out.flush_due_ns > c->out.flush_due_ns)
		before = TAILQ_PREV(before, connection_list, delayed);
	if (before != NULL) {
		TAILQ_INSERT_AFTER(&c->set->delayed, before, c, delayed);
		return;
	}
	TAILQ_INSERT_HEAD(&c->set->delayed, c, delayed);
	arm(c->set, c->out.flush_due_ns);
}

/* The socket becomes writable (an edge) whenever the peer has read; the first event comes at once, as it is now. */
static void await_read(struct connection *c)
{
	c->out.flush = FLUSH_UNREAD;
	event_add(&c->writable, NULL);
}

static void await_iteration(struct connection *c)
{
	c->out.flush = FLUSH_SENT;
	TAILQ_INSERT_TAIL(&c->set->sent, c, delayed);
}

static void stop_waiting(struct connection *c)
{
	if (c->out.flush == FLUSH_DELAY)
		TAILQ_REMOVE(&c->set->delayed, c, delayed);
	else if (c->out.flush == FLUSH_SENT)
		TAILQ_REMOVE(&c->set->sent, c, delayed);
	else if (c->out.flush == FLUSH_UNREAD)
		event_del(&c->writable);
	c->out.flush = FLUSH_NONE;
}

/* --- boundaries ---------------------------------------------------------------------------- */

void flush_boundary_add(struct output *o)
{
	size_t cap = o->boundary_cap == 0 ? 4 : o->boundary_cap * 2;
	size_t *more;

	if (o->boundary_count > 0 && o->boundaries[o->boundary_count - 1] == o->written)
		return;
	if (o->boundary_count == o->boundary_cap) {
		more = realloc(o->boundaries, cap * sizeof *more);
		if (more == NULL) {
			o->failed = true;
			return;
		}
		o->boundaries = more;
		o->boundary_cap = cap;
	}
	o->boundaries[o->boundary_count++] = o->written;
}

void flush_boundary_clear(struct connection *c)
{
	stop_waiting(c);
	free(c->out.boundaries);
	c->out.boundaries = NULL;
	c->out.boundary_count = c->out.boundary_cap = 0;
}

bool flush_boundary_pending(const struct output *o)
{
	return o->boundary_count > 0;
}

size_t flush_boundary_limit(const struct output *o, size_t len)
{
	return o->boundary_count > 0 && len > o->boundaries[0] - o->in_records ? o->boundaries[0] - o->in_records : len;
}

static void pass_boundary(struct output *o)
{
	o->flush = FLUSH_NONE;
	o->last_boundary = o->boundaries[0];
	o->boundary_count--;
	for (size_t i = 0; i < o->boundary_count; i++)
		o->boundaries[i] = o->boundaries[i + 1];
}

/* The peer has read all that came before the boundary, in a read that ended there. */
static bool was_read(const struct connection *c)
{
	int queued = 0;

	if (c->out.flush_due_ns != 0)
		return clock_mono_ns() >= c->out.flush_due_ns;
	return ioctl(c->fd, SIOCOUTQ, &queued) < 0 || queued <= 1;
}

static void mark(struct connection *c, bool carried)
{
	c->out.flush = FLUSH_MARKED;
	c->out.flush_due_ns = carried ? 0 : clock_mono_ns() + DELAY_NS;
	c->out.just_sent = true;
}

/* The record that is being filled ends at a boundary, and what follows it could be merged. */
static bool ends_at_boundary(const struct output *o)
{
	return o->boundary_count > 0 && o->boundaries[0] == o->in_records && o->in_records != o->last_boundary &&
	       (!o->ended || output_backlog(o) > 0);
}

/* A record of its own costs a system call, and the web server another one. */
int flush_boundary_in_record(struct connection *c)
{
	const size_t len = c->out.on_wire + fcgi_request_pending(c->request) + FCGI_REQUEST_OVERHEAD;

	if (!c->set->local || len > READ_AT_ONCE_MAX || (int64_t)len > c->set->window / 2 ||
	    !ends_at_boundary(&c->out) ||
	    fcgi_request_flush_split(c->request, c->set->flush_timer_fd, kept_sending(c->out.kept)) < 0)
		return -1;
	mark(c, true);
	return 0;
}

bool flush_boundary_holds(struct connection *c)
{
	struct output *o = &c->out;

	if (o->boundary_count == 0 || o->boundaries[0] > o->in_records)
		return false;
	/* There is nothing before it, or nothing after it, that could be merged. */
	if (o->in_records == o->last_boundary || (o->ended && output_backlog(o) == 0)) {
		pass_boundary(o);
		return false;
	}
	if (fcgi_request_pending(c->request) > 0)
		return false;
	if (o->flush == FLUSH_NONE && c->set->local && !output_has_room(c, 0))
		return true;
	if (o->flush == FLUSH_NONE)
		mark(c, c->set->local && fcgi_request_split(c->request, c->set->flush_timer_fd) == 0);
	if (output_backlog(o) == 0)
		return true;
	if (!o->just_sent && was_read(c)) {
		pass_boundary(o);
		return false;
	}
	if (o->flush_due_ns != 0)
		await_delay(c);
	else if (o->just_sent)
		await_iteration(c);
	else
		await_read(c);
	return true;
}

static void release(struct connection *c)
{
	stop_waiting(c);
	pass_boundary(&c->out);
	output_mark(c);
}

void flush_boundary_check(struct connection *c)
{
	if (was_read(c))
		release(c);
}

void flush_boundary_after_iteration(struct connections *s)
{
	struct connection *c;

	while ((c = TAILQ_FIRST(&s->sent)) != NULL) {
		if (was_read(c)) {
			release(c);
		} else {
			stop_waiting(c);
			await_read(c);
		}
	}
}

void flush_boundary_tick(struct connections *s)
{
	int64_t now = clock_mono_ns();
	struct connection *c;

	while ((c = TAILQ_FIRST(&s->delayed)) != NULL && c->out.flush_due_ns <= now)
		release(c);
	if (c != NULL)
		arm(s, c->out.flush_due_ns);
}
