/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/acceptor.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/exhaustion.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#define ACCEPT_MIN      4   /* at once while it is quiet, so that other workers get their share */
#define ACCEPT_MAX      512 /* ... and in a burst, which must not overflow the backlog */
#define BACK_OFF_MS     100
#define LOG_INTERVAL_MS 10000

struct acceptor {
	int listener;
	size_t open, limit;
	int at_once;
	struct acceptor_host host;
	struct event *readable, *pause;
	bool listening, stopped, yields;
	bool full;         /* and the backlog is not empty */
	int64_t logged_ms; /* the last warning */
};

static void log_limited(struct acceptor *a, enum log_event event, const char *why)
{
	int64_t now = clock_mono_ms();

	if (a->logged_ms != 0 && now - a->logged_ms < LOG_INTERVAL_MS)
		return;
	a->logged_ms = now;
	log_event(event, L_STR("reason", why), L_INT("connections", a->open), L_INT("limit", a->limit));
}

static void resume_listening(struct acceptor *a)
{
	if (a->stopped || a->listening || a->full || evtimer_pending(a->pause, NULL))
		return;
	a->listening = event_add(a->readable, NULL) == 0;
}

static void stop_listening(struct acceptor *a)
{
	if (a->listening)
		event_del(a->readable);
	a->listening = false;
}

static void pause_listening(struct acceptor *a)
{
	stop_listening(a);
	evtimer_add(a->pause, &(struct timeval){.tv_usec = BACK_OFF_MS * 1000});
}

static void back_off(struct acceptor *a, int error)
{
	char why[160];

	log_limited(a, LOG_ACCEPT_FAILED, exhaustion_text(error, why, sizeof why));
	pause_listening(a);
}

static bool is_transient(int error)
{
	return error == EAGAIN || error == ECONNABORTED || error == EINTR || error == EPROTO;
}

/* Without a free file descriptor accept4 fails even if the backlog is empty. */
static bool backlog_pending(const struct acceptor *a)
{
	struct pollfd p = {.fd = a->listener, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* The limit is reached. true: one connection was closed. */
static bool make_room(struct acceptor *a)
{
	if (a->host.make_room(a->host.arg))
		return true;
	log_limited(
		a, LOG_CONNECTIONS_FULL,
		"no file descriptors are left for more connections, which wait: raise LimitNOFILE= of the unit, or ulimit -n");
	a->full = true;
	stop_listening(a);
	return false;
}

/* Whether to try again at once. */
static bool recover(struct acceptor *a, int error)
{
	if (is_transient(error) || !backlog_pending(a))
		return false;
	if (exhaustion_is(error) && a->host.make_room(a->host.arg))
		return true;
	back_off(a, error);
	return false;
}

/* As long as each round accepts as many as it may, the next one may accept twice as many. */
static void accept_pending(struct acceptor *a, bool quiet)
{
	int fd;

	for (int i = 0; i < a->at_once && a->listening; i++) {
		if (a->open >= a->limit && (!backlog_pending(a) || !make_room(a)))
			return;
		fd = accept4(a->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 && recover(a, errno))
			continue;
		if (fd < 0) {
			a->at_once = ACCEPT_MIN;
			return;
		}
		a->open++;
		a->host.accepted(a->host.arg, fd, quiet);
	}
	a->at_once = a->at_once * 2 < ACCEPT_MAX ? a->at_once * 2 : ACCEPT_MAX;
}

static void on_listener(evutil_socket_t fd, short what, void *arg)
{
	struct acceptor *a = arg;

	(void)fd, (void)what;
	accept_pending(a, a->at_once == ACCEPT_MIN);
}

void acceptor_poll(struct acceptor *a)
{
	accept_pending(a, false);
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct acceptor *a = arg;

	(void)fd, (void)what;
	resume_listening(a);
	if (a->yields)
		accept_pending(a, false);
	if (a->yields && !a->stopped)
		pause_listening(a);
}

void acceptor_yield(struct acceptor *a, bool yields)
{
	if (a->yields == yields || a->stopped)
		return;
	a->yields = yields;
	if (yields) {
		pause_listening(a);
	} else {
		evtimer_del(a->pause);
		resume_listening(a);
	}
}

struct acceptor *acceptor_new(struct event_base *base, int listener, size_t limit, const struct acceptor_host *host,
                              struct err *e)
{
	struct acceptor *a = calloc(1, sizeof *a);

	if (a == NULL) {
		err_set(e, "no memory for the listener");
		return NULL;
	}
	*a = (struct acceptor){.listener = listener, .limit = limit, .at_once = ACCEPT_MIN, .host = *host};
	a->readable = event_new(base, listener, EV_READ | EV_PERSIST, on_listener, a);
	a->pause = evtimer_new(base, on_pause_over, a);
	if (a->readable != NULL && a->pause != NULL) {
		event_priority_set(a->readable, 0); /* before requests that are being answered */
		resume_listening(a);
	}
	if (!a->listening) {
		err_set(e, "cannot watch the listener");
		acceptor_free(a);
		return NULL;
	}
	return a;
}

void acceptor_free(struct acceptor *a)
{
	if (a == NULL)
		return;
	if (a->readable != NULL)
		event_free(a->readable);
	if (a->pause != NULL)
		event_free(a->pause);
	free(a);
}

void acceptor_add(struct acceptor *a)
{
	a->open++;
}

void acceptor_release(struct acceptor *a)
{
	a->open--;
	acceptor_idle(a);
}

void acceptor_idle(struct acceptor *a)
{
	a->full = false;
	resume_listening(a);
}

void acceptor_stop(struct acceptor *a)
{
	size_t before;

	a->stopped = true;
	do {
		before = a->open;
		accept_pending(a, false);
	} while (a->listening && a->open > before);
	stop_listening(a);
}
