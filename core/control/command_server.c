/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control/command_server_private.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEERS_MAX      512u
#define PEERS_OF_ONE   64u        /* of one process, and of one user who is neither root nor ours */
#define ACCEPT_PAUSE_S 1          /* when descriptors ran out */
#define OUTPUT_BUSY    (1u << 20) /* beyond it no further command of this peer is read */
#define FIRST_LINE_S   10         /* a peer must send its first line within this time */
#define WRITE_STALL_S  30         /* and reads what it asked for */

/* --- a peer -------------------------------------------------------------------------- */

static void peer_free(struct peer *p)
{
	calls_end(p);
	LIST_REMOVE(p, link);
	p->server->peer_count--;
	event_del(&p->close_event);
	bufferevent_free(p->bev);
	free(p);
}

static void on_close_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	peer_free(arg);
}

/* Sends the error and closes the connection once it is written. */
static void reject(struct peer *p, const int64_t *id, const char *text)
{
	int64_t times;

	if (calls_may_log(&p->server->peers_dropped, &times))
		log_event(LOG_COMMAND_PEER_DROPPED, L_INT("uid", p->who.uid), L_INT("pid", p->who.pid),
		          L_STR("reason", id != NULL ? "protocol" : "no protocol"), L_INT("times", times));
	peer_send_error(p, id, text);
	p->closing = true;
	bufferevent_disable(p->bev, EV_READ);
}

static void take_line(struct peer *p, const char *line, size_t len)
{
	struct wire_request r = {.args = NULL};
	struct err e = ERR_INIT;

	switch (command_wire_request(line, len, &r, &e)) {
	case WIRE_OK:
		bufferevent_set_timeouts(p->bev, NULL, &(struct timeval){.tv_sec = WRITE_STALL_S});
		calls_start(p, &r);
		break;
	case WIRE_REFUSED:
		peer_send_error(p, &r.id, e.text);
		break;
	case WIRE_BROKEN:
		reject(p, r.has_id ? &r.id : NULL, e.text);
		break;
	}
	json_decref(r.args);
}

static void take_lines(struct peer *p)
{
	struct evbuffer *in = bufferevent_get_input(p->bev);
	const char *line;
	bool too_long = false;
	size_t len;

	while (!p->closing && !p->close_scheduled && peer_pending(p) < OUTPUT_BUSY &&
	       (line = command_wire_next(in, &p->scanned, COMMAND_REQUEST_MAX, &len, &too_long)) != NULL) {
		p->scanned = 0;
		take_line(p, line, len);
		evbuffer_drain(in, len + 1);
	}
	if (p->closing || p->close_scheduled)
		return;
	if (too_long)
		reject(p, NULL, "the line is longer than 65536 bytes");
	else if (peer_pending(p) >= OUTPUT_BUSY)
		/* A full input that is not drained would keep libevent busy. */
		bufferevent_disable(p->bev, EV_READ);
	else
		bufferevent_enable(p->bev, EV_READ);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	(void)bev;
	take_lines(arg);
}

/* All is written: go on with what was held back, or end. */
static void on_written(struct bufferevent *bev, void *arg)
{
	struct peer *p = arg;

	(void)bev;
	if (p->close_scheduled)
		return;
	take_lines(p);
	if (p->closing && LIST_EMPTY(&p->calls) && peer_pending(p) == 0)
		peer_free(p);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct peer *p = arg;

	if ((what & BEV_EVENT_TIMEOUT) != 0 && (what & BEV_EVENT_READING) != 0 && !p->closing) {
		bufferevent_enable(bev, EV_WRITE);
		reject(p, NULL, "no command was sent");
		return;
	}
	if ((what & BEV_EVENT_EOF) == 0) {
		peer_free(p);
		return;
	}
	/* The peer writes no more but may still read (`... | nc -U`). Its streams end, its
	 * commands are answered. */
	p->closing = true;
	calls_end_streams(p);
	if (LIST_EMPTY(&p->calls) && peer_pending(p) == 0)
		peer_free(p);
}

static int peer_open(struct command_server *s, int fd, const struct command_peer *who)
{
	struct peer *p = calloc(1, sizeof *p);

	if (p == NULL || (p->bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE)) == NULL) {
		free(p);
		close(fd);
		return -1;
	}
	p->server = s;
	p->who = *who;
	LIST_INIT(&p->calls);
	LIST_INSERT_HEAD(&s->peers, p, link);
	s->peer_count++;
	event_assign(&p->close_event, s->base, -1, 0, on_close_due, p);
	bufferevent_setcb(p->bev, on_read, on_written, on_event, p);
	bufferevent_setwatermark(p->bev, EV_READ, 0, COMMAND_REQUEST_MAX + 2);
	bufferevent_set_timeouts(p->bev, &(struct timeval){.tv_sec = FIRST_LINE_S},
	                         &(struct timeval){.tv_sec = WRITE_STALL_S});
	bufferevent_enable(p->bev, EV_READ | EV_WRITE);
	return 0;
}

/* --- the listener --------------------------------------------------------------------- */

/* Nobody can shut out the workers, which are processes of ours: half of all connections is theirs. */
static bool has_room(const struct command_server *s, const struct command_peer *who)
{
	size_t of_process = 0, of_user = 0, of_others = 0;
	const struct peer *p;

	LIST_FOREACH(p, &s->peers, link)
	{
		of_process += p->who.pid == who->pid && who->pid != 0; /* 0: in another namespace */
		of_user += p->who.uid == who->uid;
		of_others += !p->who.service;
	}
	if (s->peer_count >= PEERS_MAX || of_process >= PEERS_OF_ONE)
		return false;
	return who->service || (of_user < PEERS_OF_ONE && of_others < PEERS_MAX / 2);
}

static void log_refusal(struct command_server *s, const char *reason, const struct command_peer *who)
{
	int64_t times;

	if (calls_may_log(&s->peers_refused, &times))
		log_event(LOG_COMMAND_PEER_REFUSED, L_STR("reason", reason), L_INT("uid", who->uid),
		          L_INT("pid", who->pid), L_INT("connections", s->peer_count), L_INT("times", times));
}

static void admit(struct command_server *s, int fd)
{
	struct command_peer who = {.uid = (uid_t)-1};

	if (command_listen_peer(&s->listen, fd, &who) < 0 || !has_room(s, &who)) {
		log_refusal(s, "too many connections", &who);
		close(fd);
	} else if (peer_open(s, fd, &who) < 0) {
		log_refusal(s, "out of memory", &who);
	}
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int len, void *arg)
{
	struct command_server *s = arg;

	(void)listener;
	(void)sa;
	(void)len;
	admit(s, fd);
}

/* File descriptors or memory ran out: retrying at once would only waste CPU time. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct command_server *s = arg;

	log_event(LOG_COMMAND_ACCEPT_FAILED, L_STR("error", strerror(EVUTIL_SOCKET_ERROR())),
	          L_INT("again_in_s", ACCEPT_PAUSE_S));
	evconnlistener_disable(listener);
	event_add(s->accept_again, &(struct timeval){.tv_sec = ACCEPT_PAUSE_S});
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
	struct command_server *s = arg;

	(void)fd;
	(void)what;
	evconnlistener_enable(s->listener);
}

struct command_server *command_server_new(struct event_base *base, const char *path, command_handler_fn *handler,
                                          void *arg, struct err *e)
{
	struct command_server *s = calloc(1, sizeof *s);
	int fd;

	if (s == NULL) {
		err_set_errno(e, ENOMEM, "the command socket");
		return NULL;
	}
	s->base = base;
	s->handler = handler;
	s->arg = arg;
	LIST_INIT(&s->peers);
	fd = command_listen_open(&s->listen, path, e);
	if (fd < 0) {
		free(s);
		return NULL;
	}
	s->listener = evconnlistener_new(base, on_accept, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	s->accept_again = evtimer_new(base, on_accept_again, s);
	if (s->listener == NULL)
		close(fd);
	if (s->listener == NULL || s->accept_again == NULL) {
		err_set_errno(e, ENOMEM, "the command socket");
		command_server_free(s);
		return NULL;
	}
	evconnlistener_set_error_cb(s->listener, on_accept_error);
	return s;
}

void command_server_free(struct command_server *s)
{
	struct peer *p;

	if (s == NULL)
		return;
	while ((p = LIST_FIRST(&s->peers)) != NULL) {
		/* The answer to shutdown is still sent, if the socket takes it. */
		peer_write_now(p);
		peer_free(p);
	}
	if (s->listener != NULL)
		evconnlistener_free(s->listener);
	if (s->accept_again != NULL)
		event_free(s->accept_again);
	command_listen_close(&s->listen);
	free(s);
}
