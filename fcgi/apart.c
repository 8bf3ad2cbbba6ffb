/* What must be an HTTP chunk of its own. The web server merges what it reads in one go, so
 * what follows a barrier waits until the web server has read all before it, and a moment
 * longer: it may still be within that read, where it would find the next bytes as well.
 *
 * On AF_UNIX the descriptor tells each time that the peer has read (an edge of "writable"),
 * and SIOCOUTQ whether it was all. On TCP the queue counts what is not acknowledged, which
 * tells nothing; there the moment alone must do. */
#include "fcgi/connection_internal.h"

#include "core/base/clock.h"

#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/timerfd.h>

#define MOMENT_NS     INT64_C(200000)     /* longer than a read takes */
#define MOMENT_TCP_NS INT64_C(1000000)    /* until the peer will have read */
#define UNREAD_NS     INT64_C(5000000000) /* longest wait for a peer that does not read */

/* --- one timer for all that wait; both lists are in the order of their ends --------------- */

static void arm(struct connections *s, int64_t due_ns)
{
	struct itimerspec t = {.it_value = {.tv_sec = due_ns / 1000000000, .tv_nsec = due_ns % 1000000000}};

	if (s->apart_due_ns != 0 && s->apart_due_ns <= due_ns)
		return;
	s->apart_due_ns = due_ns;
	timerfd_settime(s->apart_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

static struct connection_list *list_of(struct connections *s, enum apart a)
{
	return a == APART_UNREAD ? &s->unread : &s->moments;
}

static void leave(struct connection *c)
{
	struct output *o = &c->out;

	if (o->apart == APART_NOT)
		return;
	TAILQ_REMOVE(list_of(c->set, o->apart), c, apart);
	if (o->apart == APART_UNREAD)
		event_del(&c->writable);
	o->apart = APART_NOT;
}

static void enter(struct connection *c, enum apart a, int64_t due_ns)
{
	leave(c);
	c->out.apart = a;
	c->out.apart_due_ns = due_ns;
	TAILQ_INSERT_TAIL(list_of(c->set, a), c, apart);
	arm(c->set, due_ns);
}

/* --- barriers ------------------------------------------------------------------------------ */

void apart_here(struct connection *c)
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

void apart_forget(struct connection *c)
{
	leave(c);
	free(c->out.barriers);
	c->out.barriers = NULL;
	c->out.barrier_count = c->out.barrier_cap = 0;
}

bool apart_waits(const struct output *o)
{
	return o->barrier_count > 0;
}

size_t apart_limit(const struct output *o, size_t len)
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

bool apart_holds(struct connection *c)
{
	struct output *o = &c->out;

	if (o->barrier_count == 0 || o->barriers[0] > o->taken)
		return false;
	/* Nothing before it that it could be merged with, or nothing behind it. */
	if (o->taken == o->passed || (o->ended && o->backlog.len == 0)) {
		pass_barrier(o);
		return false;
	}
	if (exchange_pending(c->exchange) > 0)
		return false;
	if (!c->set->local) {
		enter(c, APART_MOMENT, clock_mono_ns() + MOMENT_TCP_NS);
		return true;
	}
	/* The event comes at once, as the descriptor is writable, and then with each read. */
	enter(c, APART_UNREAD, clock_mono_ns() + UNREAD_NS);
	event_add(&c->writable, NULL);
	return true;
}

void apart_look(struct connection *c)
{
	int queued = 0;

	if (ioctl(c->fd, SIOCOUTQ, &queued) < 0 || queued <= 1)
		enter(c, APART_MOMENT, clock_mono_ns() + MOMENT_NS);
}

void apart_due(struct connections *s)
{
	int64_t now = clock_mono_ns();
	struct connection *c;

	s->apart_due_ns = 0;
	while ((c = TAILQ_FIRST(&s->unread)) != NULL && c->out.apart_due_ns <= now)
		enter(c, APART_MOMENT, now + MOMENT_NS);
	while ((c = TAILQ_FIRST(&s->moments)) != NULL && c->out.apart_due_ns <= now) {
		leave(c);
		pass_barrier(&c->out);
		output_mark(c);
	}
	if (c != NULL)
		arm(s, c->out.apart_due_ns);
	if ((c = TAILQ_FIRST(&s->unread)) != NULL)
		arm(s, c->out.apart_due_ns);
}
