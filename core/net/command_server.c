#include "core/net/command_wire.h"

#include "core/base/log.h"
#include "core/net/command_listen.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event_struct.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define PEERS_MAX      512u
#define CALLS_MAX      256u        /* of one peer, at once */
#define OUTPUT_BUSY    (1u << 20)  /* beyond it no further command of this peer is read */
#define OUTPUT_MAX     (4u << 20)  /* a reader of events who is so far behind is dropped */
#define FIRST_LINE_S   10          /* a peer says something within this time */
#define WRITE_STALL_S  30          /* and reads what it asked for */
#define ACCEPT_PAUSE_S 1           /* when descriptors ran out */

struct command_call {
	LIST_ENTRY(command_call) link;
	struct event_base *base;
	struct peer *peer; /* NULL: gone */
	int64_t id;
	enum command command;
	uid_t uid;
	bool told; /* the peer has its answer: the deadline passed */
	bool timed;
	struct event timer;
	void (*closed)(void *arg);
	void *closed_arg;
	bool stream; /* ends when the peer says no more */
};
LIST_HEAD(call_list, command_call);

struct peer {
	LIST_ENTRY(peer) link;
	struct command_server *server;
	struct bufferevent *bev;
	struct command_peer who;
	struct call_list calls;
	size_t call_count, scanned;
	bool closing; /* nothing is read any more; what is written still goes out */
	bool doomed;
	struct event doom;
};
LIST_HEAD(peer_list, peer);

struct command_server {
	struct event_base *base;
	struct command_listen listen;
	struct evconnlistener *listener;
	struct event *accept_again;
	command_handler_fn *handler;
	void *arg;
	struct peer_list peers;
	size_t peer_count;
};

/* --- calls ---------------------------------------------------------------------------- */

static void call_free(struct command_call *call)
{
	if (call->timed)
		event_del(&call->timer);
	if (call->peer != NULL) {
		LIST_REMOVE(call, link);
		call->peer->call_count--;
	}
	free(call);
}

static void call_detach(struct command_call *call)
{
	LIST_REMOVE(call, link);
	call->peer->call_count--;
	call->peer = NULL;
	if (call->timed)
		event_del(&call->timer);
	call->timed = false;
}

/* The peer has gone, or takes the call back. A stream ends with it, and what asked to be
 * told; another command goes on, for nobody. */
static void call_orphan(struct command_call *call)
{
	void (*closed)(void *arg) = call->closed;
	void *arg = call->closed_arg;

	if (closed != NULL) {
		call_free(call);
		closed(arg);
		return;
	}
	call_detach(call);
}

static void peer_free(struct peer *p)
{
	struct command_call *call;

	while ((call = LIST_FIRST(&p->calls)) != NULL)
		call_orphan(call);
	LIST_REMOVE(p, link);
	p->server->peer_count--;
	event_del(&p->doom);
	bufferevent_free(p->bev);
	free(p);
}

static void on_doom(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	peer_free(arg);
}

/* From within somebody's call: the peer goes when the stack is empty. */
static void doom(struct peer *p)
{
	p->doomed = true;
	event_active(&p->doom, EV_TIMEOUT, 0);
}

static size_t pending(const struct peer *p)
{
	return evbuffer_get_length(bufferevent_get_output(p->bev));
}

static void free_line(const void *data, size_t len, void *line)
{
	(void)data;
	(void)len;
	free(line);
}

/* Steals line; NULL: no memory for it. */
static void send_line(struct peer *p, char *line, size_t len)
{
	if (!p->doomed && line != NULL &&
	    evbuffer_add_reference(bufferevent_get_output(p->bev), line, len, free_line, line) == 0)
		return;
	free(line);
	doom(p);
}

static void send_error(struct peer *p, const int64_t *id, const char *text)
{
	size_t len = 0;
	char *line = command_wire_put_error(id, text, &len);

	send_line(p, line, len);
}

/* Says what is wrong, and no more. */
static void hang_up(struct peer *p, const int64_t *id, const char *text)
{
	log_warning("command_peer_dropped", L_INT("uid", p->who.uid), L_INT("pid", p->who.pid),
	            L_STR("reason", id != NULL ? "protocol" : "no protocol"));
	send_error(p, id, text);
	p->closing = true;
	bufferevent_disable(p->bev, EV_READ);
}

/* --- answers -------------------------------------------------------------------------- */

/* What was held back, or the end, comes with the write callback. */
static void nudge(struct peer *p)
{
	if (p != NULL && !p->doomed && p->closing)
		bufferevent_trigger(p->bev, EV_WRITE, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

static void answered(struct command_call *call)
{
	struct peer *p = call->peer;

	call_free(call);
	nudge(p);
}

void command_reply(struct command_call *call, json_t *result)
{
	size_t len = 0;

	if (call->peer == NULL || call->told) {
		json_decref(result);
	} else if (result == NULL) {
		send_error(call->peer, &call->id, "tt-agentd has no memory for the answer");
	} else {
		char *line = command_wire_put_value(call->id, WIRE_RESULT, result, &len);

		if (line != NULL && len > COMMAND_LINE_MAX) {
			free(line);
			send_error(call->peer, &call->id, "the answer is too long for one line");
		} else {
			send_line(call->peer, line, len);
		}
	}
	answered(call);
}

void command_fail(struct command_call *call, const char *text)
{
	if (call->peer != NULL && !call->told)
		send_error(call->peer, &call->id, text);
	answered(call);
}

void command_event(struct command_call *call, json_t *event)
{
	struct peer *p = call->peer;
	size_t len = 0;
	char *line;

	if (p == NULL || p->doomed || pending(p) > OUTPUT_MAX) {
		json_decref(event);
		if (p != NULL && !p->doomed) {
			log_warning("command_peer_dropped", L_INT("uid", p->who.uid), L_INT("pid", p->who.pid),
			            L_STR("reason", "reads its events too slowly"));
			doom(p);
		}
		return;
	}
	line = command_wire_put_value(call->id, WIRE_EVENT, event, &len);
	send_line(p, line, len);
}

static void on_closed_late(evutil_socket_t fd, short what, void *arg)
{
	struct command_call *call = arg;
	void (*closed)(void *arg) = call->closed;
	void *closed_arg = call->closed_arg;

	(void)fd;
	(void)what;
	call_free(call);
	closed(closed_arg);
}

void command_on_close(struct command_call *call, void (*closed)(void *arg), void *arg)
{
	call->closed = closed;
	call->closed_arg = arg;
	call->stream = true;
	if (call->timed)
		event_del(&call->timer);
	call->timed = false;
	if (call->peer != NULL && call->peer->closing) {
		struct peer *p = call->peer;

		call_detach(call);
		nudge(p);
	}
	if (call->peer == NULL) {
		call->timed = true;
		evtimer_assign(&call->timer, call->base, on_closed_late, call);
		event_active(&call->timer, EV_TIMEOUT, 0);
	}
}

uid_t command_peer_uid(const struct command_call *call)
{
	return call->uid;
}

void command_on_cancel(struct command_call *call, void (*closed)(void *arg), void *arg)
{
	call->closed = closed;
	call->closed_arg = arg;
}

/* --- questions ------------------------------------------------------------------------ */

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct command_call *call = arg;

	(void)fd;
	(void)what;
	call->told = true;
	send_error(call->peer, &call->id, "timed out");
}

static struct command_call *call_new(struct peer *p, const struct wire_request *r)
{
	struct command_call *call = calloc(1, sizeof *call);
	int64_t deadline_ms = command_info(r->command)->deadline_ms;
	struct timeval tv = {.tv_sec = deadline_ms / 1000, .tv_usec = deadline_ms % 1000 * 1000};

	if (call == NULL)
		return NULL;
	call->base = p->server->base;
	call->peer = p;
	call->id = r->id;
	call->command = r->command;
	call->uid = p->who.uid;
	LIST_INSERT_HEAD(&p->calls, call, link);
	p->call_count++;
	if (deadline_ms > 0) {
		evtimer_assign(&call->timer, call->base, on_deadline, call);
		event_add(&call->timer, &tv);
		call->timed = true;
	}
	return call;
}

/* Commands that cannot be taken back go on. */
static void cancel(struct peer *p, const struct wire_request *r)
{
	const json_t *id = json_object_get(r->args, "call");
	struct command_call *call;
	size_t len = 0;
	char *line;

	LIST_FOREACH(call, &p->calls, link)
		if (json_is_integer(id) && call->id == json_integer_value(id) && call->closed != NULL)
			break;
	if (call != NULL)
		call_orphan(call);
	line = command_wire_put_value(r->id, WIRE_RESULT, json_pack("{s:b}", "cancelled", call != NULL), &len);
	send_line(p, line, len);
}

static void take_request(struct peer *p, const struct wire_request *r)
{
	struct command_server *s = p->server;
	struct command_call *call;
	struct err e = ERR_INIT;

	if (command_listen_allow(&s->listen, &p->who, r->command, &e) < 0) {
		log_warning("command_refused", L_STR("command", command_info(r->command)->name),
		            L_INT("uid", p->who.uid), L_INT("pid", p->who.pid));
		send_error(p, &r->id, e.text);
		return;
	}
	if (r->command == CMD_CANCEL) {
		cancel(p, r);
		return;
	}
	if (p->call_count >= CALLS_MAX) {
		send_error(p, &r->id, "too many commands at once on one connection");
		return;
	}
	call = call_new(p, r);
	if (call == NULL)
		send_error(p, &r->id, "tt-agentd has no memory for the command");
	else
		s->handler(s->arg, call, r->command, r->args);
}

static void take_line(struct peer *p, const char *line, size_t len)
{
	struct wire_request r = {.args = NULL};
	struct err e = ERR_INIT;

	switch (command_wire_request(line, len, &r, &e)) {
	case WIRE_OK:
		bufferevent_set_timeouts(p->bev, NULL, &(struct timeval){.tv_sec = WRITE_STALL_S});
		take_request(p, &r);
		break;
	case WIRE_REFUSED:
		send_error(p, &r.id, e.text);
		break;
	case WIRE_BROKEN:
		hang_up(p, r.has_id ? &r.id : NULL, e.text);
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

	while (!p->closing && !p->doomed && pending(p) < OUTPUT_BUSY &&
	       (line = command_wire_next(in, &p->scanned, COMMAND_REQUEST_MAX, &len, &too_long)) != NULL) {
		p->scanned = 0;
		take_line(p, line, len);
		evbuffer_drain(in, len + 1);
	}
	if (p->closing || p->doomed)
		return;
	if (too_long)
		hang_up(p, NULL, "the line is longer than 65536 bytes");
	else if (pending(p) >= OUTPUT_BUSY)
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
	if (p->doomed)
		return;
	take_lines(p);
	if (p->closing && LIST_EMPTY(&p->calls) && pending(p) == 0)
		peer_free(p);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct peer *p = arg;
	struct command_call *call, *next;

	if ((what & BEV_EVENT_TIMEOUT) != 0 && (what & BEV_EVENT_READING) != 0 && !p->closing) {
		bufferevent_enable(bev, EV_WRITE);
		hang_up(p, NULL, "no command came");
		return;
	}
	if ((what & BEV_EVENT_EOF) == 0) {
		peer_free(p);
		return;
	}
	/* The peer writes no more but may still read (`... | nc -U`). Its streams end, its
	 * commands are answered. */
	p->closing = true;
	for (call = LIST_FIRST(&p->calls); call != NULL; call = next) {
		next = LIST_NEXT(call, link);
		if (call->stream)
			call_orphan(call);
	}
	if (LIST_EMPTY(&p->calls) && pending(p) == 0)
		peer_free(p);
}

/* --- connections ---------------------------------------------------------------------- */

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *sa, int len, void *arg)
{
	struct command_server *s = arg;
	struct peer *p = s->peer_count < PEERS_MAX ? calloc(1, sizeof *p) : NULL;

	(void)listener;
	(void)sa;
	(void)len;
	if (p == NULL || command_listen_peer(&s->listen, fd, &p->who) < 0 ||
	    (p->bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE)) == NULL) {
		log_warning("command_peer_refused", L_INT("connections", s->peer_count));
		free(p);
		close(fd);
		return;
	}
	p->server = s;
	LIST_INIT(&p->calls);
	LIST_INSERT_HEAD(&s->peers, p, link);
	s->peer_count++;
	event_assign(&p->doom, s->base, -1, 0, on_doom, p);
	bufferevent_setcb(p->bev, on_read, on_written, on_event, p);
	bufferevent_setwatermark(p->bev, EV_READ, 0, COMMAND_REQUEST_MAX + 2);
	bufferevent_set_timeouts(p->bev, &(struct timeval){.tv_sec = FIRST_LINE_S},
	                         &(struct timeval){.tv_sec = WRITE_STALL_S});
	bufferevent_enable(p->bev, EV_READ | EV_WRITE);
}

/* Descriptors or memory ran out: trying at once would only burn the processor. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct command_server *s = arg;

	log_error("command_accept_failed", L_STR("error", strerror(EVUTIL_SOCKET_ERROR())),
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

static void write_now(struct peer *p)
{
	struct evbuffer *out = bufferevent_get_output(p->bev);

	evbuffer_unfreeze(out, 1);
	evbuffer_write(out, bufferevent_getfd(p->bev));
	evbuffer_freeze(out, 1);
}

void command_server_free(struct command_server *s)
{
	struct peer *p;

	if (s == NULL)
		return;
	while ((p = LIST_FIRST(&s->peers)) != NULL) {
		/* The answer to shutdown still leaves, where the socket takes it. */
		if (!p->doomed && pending(p) > 0)
			write_now(p);
		peer_free(p);
	}
	if (s->listener != NULL)
		evconnlistener_free(s->listener);
	if (s->accept_again != NULL)
		event_free(s->accept_again);
	command_listen_close(&s->listen);
	free(s);
}
