/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control/command_server_private.h"

#include "core/base/log.h"

#include <stdlib.h>
#include <unistd.h>

#define OUTPUT_BUSY   (1u << 20) /* beyond it no further command of this peer is read */
#define FIRST_LINE_S  10         /* a peer must send its first line within this time */
#define WRITE_STALL_S 30         /* and reads what it asked for */

void peer_free(struct peer *p)
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

void peer_schedule_close(struct peer *p)
{
	p->close_scheduled = true;
	event_active(&p->close_event, EV_TIMEOUT, 0);
}

/* --- output -------------------------------------------------------------------------- */

size_t peer_pending(const struct peer *p)
{
	return evbuffer_get_length(bufferevent_get_output(p->bev));
}

static void free_line(const void *data, size_t len, void *line)
{
	(void)data;
	(void)len;
	free(line);
}

void peer_send(struct peer *p, char *line, size_t len)
{
	if (!p->close_scheduled && line != NULL &&
	    evbuffer_add_reference(bufferevent_get_output(p->bev), line, len, free_line, line) == 0)
		return;
	free(line);
	peer_schedule_close(p);
}

void peer_send_error(struct peer *p, const int64_t *id, const char *text)
{
	size_t len = 0;
	char *line = command_wire_put_error(id, text, &len);

	peer_send(p, line, len);
}

/* Sends the error and closes the connection once it is written. */
static void reject(struct peer *p, const int64_t *id, const char *text)
{
	log_event(LOG_COMMAND_PEER_DROPPED, L_INT("uid", p->who.uid), L_INT("pid", p->who.pid),
	          L_STR("reason", id != NULL ? "protocol" : "no protocol"));
	peer_send_error(p, id, text);
	p->closing = true;
	bufferevent_disable(p->bev, EV_READ);
}

/* What was held back, or the end, comes with the write callback. */
void peer_wake(struct peer *p)
{
	if (p != NULL && !p->close_scheduled && p->closing)
		bufferevent_trigger(p->bev, EV_WRITE, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

void peer_write_now(struct peer *p)
{
	struct evbuffer *out = bufferevent_get_output(p->bev);

	if (p->close_scheduled || peer_pending(p) == 0)
		return;
	evbuffer_unfreeze(out, 1);
	evbuffer_write(out, bufferevent_getfd(p->bev));
	evbuffer_freeze(out, 1);
}

/* --- input --------------------------------------------------------------------------- */

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

int peer_open(struct command_server *s, int fd, const struct command_peer *who)
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
