#include "fcgi/acceptor.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ACCEPT_FIRST    4   /* at once while it is quiet: the other workers get theirs */
#define ACCEPT_MOST     512 /* ... and in a burst, which must not overflow the backlog */
#define BACK_OFF_MS     100
#define LOG_INTERVAL_MS 10000

struct acceptor {
	int listener;
	size_t open, limit;
	int at_once;
	acceptor_fn *accepted;
	void *arg;
	struct event *readable, *pause;
	bool listening, stopped;
	int64_t logged_ms; /* the last complaint; one each ten seconds is enough */
};

static void complain(struct acceptor *a, const char *event, const char *why)
{
	int64_t now = clock_mono_ms();

	if (a->logged_ms != 0 && now - a->logged_ms < LOG_INTERVAL_MS)
		return;
	a->logged_ms = now;
	log_warning(event, L_STR("reason", why), L_INT("connections", a->open), L_INT("limit", a->limit));
}

static void listen_again(struct acceptor *a)
{
	if (a->stopped || a->listening || a->open >= a->limit || evtimer_pending(a->pause, NULL))
		return;
	a->listening = event_add(a->readable, NULL) == 0;
}

static void stop_listening(struct acceptor *a)
{
	if (a->listening)
		event_del(a->readable);
	a->listening = false;
}

static void back_off(struct acceptor *a, const char *why)
{
	complain(a, "accept_failed", why);
	stop_listening(a);
	evtimer_add(a->pause, &(struct timeval){.tv_usec = BACK_OFF_MS * 1000});
}

static bool is_passing(int error)
{
	return error == EAGAIN || error == ECONNABORTED || error == EINTR || error == EPROTO;
}

/* As long as each look finds as many as it may take, the next one takes twice as many. */
static void take(struct acceptor *a, bool quiet)
{
	int taken;

	for (int i = 0; i < a->at_once && a->listening; i++) {
		taken = accept4(a->listener, NULL, NULL, SOCK_CLOEXEC);
		if (taken < 0) {
			a->at_once = ACCEPT_FIRST;
			if (!is_passing(errno))
				back_off(a, strerror(errno));
			return;
		}
		if (++a->open >= a->limit) {
			complain(a, "connections_full", "limit reached, the others wait");
			stop_listening(a);
		}
		a->accepted(a->arg, taken, quiet);
	}
	a->at_once = a->at_once * 2 < ACCEPT_MOST ? a->at_once * 2 : ACCEPT_MOST;
}

static void on_listener(evutil_socket_t fd, short what, void *arg)
{
	struct acceptor *a = arg;

	(void)fd, (void)what;
	take(a, a->at_once == ACCEPT_FIRST);
}

void acceptor_look(struct acceptor *a)
{
	take(a, false);
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	listen_again(arg);
}

struct acceptor *acceptor_new(struct event_base *base, int listener, size_t limit, acceptor_fn *accepted,
			      void *arg, struct err *e)
{
	struct acceptor *a = calloc(1, sizeof *a);

	if (a == NULL) {
		err_set(e, "no memory for the listener");
		return NULL;
	}
	*a = (struct acceptor){.listener = listener,
			       .limit = limit,
			       .at_once = ACCEPT_FIRST,
			       .accepted = accepted,
			       .arg = arg};
	a->readable = event_new(base, listener, EV_READ | EV_PERSIST, on_listener, a);
	a->pause = evtimer_new(base, on_pause_over, a);
	if (a->readable != NULL && a->pause != NULL) {
		event_priority_set(a->readable, 0); /* before anything that runs already */
		listen_again(a);
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

void acceptor_release(struct acceptor *a)
{
	a->open--;
	listen_again(a);
}

void acceptor_stop(struct acceptor *a)
{
	size_t before;

	a->stopped = true;
	do {
		before = a->open;
		take(a, false);
	} while (a->listening && a->open > before);
	stop_listening(a);
}
