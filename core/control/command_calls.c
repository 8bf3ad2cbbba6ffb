/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control/command_server_private.h"

#include "core/base/clock.h"
#include "core/base/log.h"

#include <stdlib.h>

#define CALLS_MAX    256u /* of one peer, at once */
#define LOG_EVERY_MS 10000
#define OUTPUT_MAX   (4u << 20) /* a reader of events that is so far behind is dropped */

bool calls_may_log(struct log_limit *l, int64_t *times)
{
	int64_t now = clock_mono_ms();

	*times = ++l->times;
	if (l->logged_ms != 0 && now - l->logged_ms < LOG_EVERY_MS)
		return false;
	*l = (struct log_limit){.logged_ms = now};
	return true;
}

/* --- what a peer is sent --------------------------------------------------------------- */

void peer_schedule_close(struct peer *p)
{
	p->close_scheduled = true;
	event_active(&p->close_event, EV_TIMEOUT, 0);
}

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

/* A call has ended; NULL: does nothing. What was held back, or the end, comes with the write callback. */
static void peer_wake(struct peer *p)
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

/* --- the life of a call ---------------------------------------------------------------- */

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

/* The peer has gone, or cancels the call. It ends where it has a closed callback; any other
 * command goes on, and its answer goes nowhere. */
static void call_abandon(struct command_call *call)
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

void calls_end(struct peer *p)
{
	struct command_call *call;

	while ((call = LIST_FIRST(&p->calls)) != NULL)
		call_abandon(call);
}

void calls_end_streams(struct peer *p)
{
	struct command_call *call, *next;

	for (call = LIST_FIRST(&p->calls); call != NULL; call = next) {
		next = LIST_NEXT(call, link);
		if (call->stream)
			call_abandon(call);
	}
}

/* --- answers -------------------------------------------------------------------------- */

static void answered(struct command_call *call)
{
	struct peer *p = call->peer;

	call_free(call);
	peer_wake(p);
}

void command_reply(struct command_call *call, json_t *result)
{
	size_t len = 0;

	if (call->peer == NULL || call->timed_out) {
		json_decref(result);
	} else if (result == NULL) {
		peer_send_error(call->peer, &call->id, "tt-agentd has no memory for the answer");
	} else {
		char *line = command_wire_put_value(call->id, WIRE_RESULT, result, &len);

		if (line != NULL && len > COMMAND_LINE_MAX) {
			free(line);
			peer_send_error(call->peer, &call->id, "the answer is too long for one line");
		} else {
			peer_send(call->peer, line, len);
		}
	}
	answered(call);
}

void command_fail(struct command_call *call, const char *text)
{
	if (call->peer != NULL && !call->timed_out)
		peer_send_error(call->peer, &call->id, text);
	answered(call);
}

void command_event(struct command_call *call, json_t *event)
{
	struct peer *p = call->peer;
	int64_t times;
	size_t len = 0;
	char *line;

	if (p == NULL || p->close_scheduled || peer_pending(p) > OUTPUT_MAX) {
		json_decref(event);
		if (p != NULL && !p->close_scheduled) {
			if (calls_may_log(&p->server->peers_dropped, &times))
				log_event(LOG_COMMAND_PEER_DROPPED, L_INT("uid", p->who.uid), L_INT("pid", p->who.pid),
				          L_STR("reason", "reads its events too slowly"), L_INT("times", times));
			peer_schedule_close(p);
		}
		return;
	}
	line = command_wire_put_value(call->id, WIRE_EVENT, event, &len);
	peer_send(p, line, len);
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
		peer_wake(p);
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

/* --- requests ------------------------------------------------------------------------ */

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct command_call *call = arg;

	(void)fd;
	(void)what;
	call->timed_out = true;
	peer_send_error(call->peer, &call->id, "timed out");
}

static struct command_call *call_new(struct peer *p, const struct wire_request *r)
{
	struct command_call *call = calloc(1, sizeof *call);
	int64_t deadline_ms = command_info(r->command)->deadline_ms;
	const struct timeval tv = clock_timeval_ms(deadline_ms);

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

/* Commands without a closed callback go on. */
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
		call_abandon(call);
	line = command_wire_put_value(r->id, WIRE_RESULT, json_pack("{s:b}", "cancelled", call != NULL), &len);
	peer_send(p, line, len);
}

void calls_start(struct peer *p, const struct wire_request *r)
{
	struct command_server *s = p->server;
	struct command_call *call;
	struct err e = ERR_INIT;
	int64_t times;

	if (command_listen_allow(&s->listen, &p->who, r->command, &e) < 0) {
		if (calls_may_log(&s->commands_refused, &times))
			log_event(LOG_COMMAND_REFUSED, L_STR("command", command_info(r->command)->name),
			          L_INT("uid", p->who.uid), L_INT("pid", p->who.pid), L_INT("times", times));
		peer_send_error(p, &r->id, e.text);
		return;
	}
	if (r->command == CMD_CANCEL) {
		cancel(p, r);
		return;
	}
	if (p->call_count >= CALLS_MAX) {
		peer_send_error(p, &r->id, "too many commands at once on one connection");
		return;
	}
	call = call_new(p, r);
	if (call == NULL)
		peer_send_error(p, &r->id, "tt-agentd has no memory for the command");
	else
		s->handler(s->arg, call, r->command, r->args);
}
