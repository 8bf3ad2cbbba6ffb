/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control/command_wire.h"

#include "core/base/clock.h"

#include <assert.h>
#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG_MAX (4 * COMMAND_REQUEST_MAX) /* a daemon that does not read gets no more */

struct command_request {
	TAILQ_ENTRY(command_request) link;
	struct command_client *client;
	int64_t id;
	enum command command;
	bool failed; /* before it could be sent: err says why */
	struct err err;
	command_done_fn *done; /* NULL: cancelled */
	void *arg;
	struct event timer; /* the deadline; at once where it failed */
};
TAILQ_HEAD(request_list, command_request);

struct command_client {
	struct event_base *base;
	char *path;
	struct bufferevent *bev; /* NULL: not connected */
	size_t scanned;
	int64_t next_id;
	struct request_list requests; /* sent and not answered, oldest first */
};

/* Ends r; it is freed before done is called. */
static void finish(struct command_request *r, const json_t *result, bool unreachable, const struct err *e)
{
	command_done_fn *done = r->done;
	void *arg = r->arg;

	TAILQ_REMOVE(&r->client->requests, r, link);
	event_del(&r->timer);
	free(r);
	done(arg, result, unreachable, e);
}

static void disconnect(struct command_client *c)
{
	if (c->bev != NULL)
		bufferevent_free(c->bev);
	c->bev = NULL;
	c->scanned = 0;
}

/* The connection is unusable: all requests on it fail. A callback that sends again gets a new
 * connection. */
static void fail_all(struct command_client *c, const struct err *why)
{
	struct command_request *r;
	int64_t before = c->next_id;

	disconnect(c);
	while ((r = TAILQ_FIRST(&c->requests)) != NULL && r->id < before) {
		struct err own = r->err;

		finish(r, NULL, true, err_is_set(&own) ? &own : why);
	}
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct command_request *r = arg;
	struct err e = r->err;

	(void)fd;
	(void)what;
	if (!r->failed)
		err_set(&e, "tt-agentd did not answer '%s' in time", command_info(r->command)->name);
	finish(r, NULL, true, &e);
}

static void take_answer(struct command_client *c, struct wire_answer *a)
{
	struct command_request *r;

	if (!a->has_id && a->kind == WIRE_ERROR) { /* before it closes the connection */
		fail_all(c, &a->error);
		return;
	}
	TAILQ_FOREACH(r, &c->requests, link)
	if (a->has_id && r->id == a->id)
		break;
	if (r == NULL) /* its deadline passed, or it was cancelled */
		return;
	finish(r, a->kind == WIRE_ERROR ? NULL : a->value, false, &a->error);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct command_client *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct err e = ERR_INIT;
	const char *line;
	bool too_long = false;
	size_t len;

	/* A callback may end this connection and open the next. */
	while (c->bev == bev &&
	       (line = command_wire_next(in, &c->scanned, COMMAND_LINE_MAX, &len, &too_long)) != NULL) {
		struct wire_answer a = {.value = NULL};
		int rc = command_wire_answer(line, len, &a, &e);

		c->scanned = 0;
		evbuffer_drain(in, len + 1);
		if (rc == 0)
			take_answer(c, &a);
		json_decref(a.value);
		if (rc < 0) {
			err_prefix(&e, "tt-agentd's answer is not understood");
			fail_all(c, &e);
			return;
		}
	}
	if (c->bev == bev && too_long) {
		err_set(&e, "tt-agentd's answer is longer than %u bytes", COMMAND_LINE_MAX);
		fail_all(c, &e);
	}
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct command_client *c = arg;
	struct err e = ERR_INIT;

	(void)bev;
	if ((what & BEV_EVENT_CONNECTED) != 0)
		return;
	err_set(&e, "tt-agentd closed the connection");
	fail_all(c, &e);
}

static int connect_now(struct command_client *c, struct err *e)
{
	struct sockaddr_un sa;
	int fd;

	if (c->bev != NULL)
		return 0;
	if (command_wire_address(&sa, c->path, e) < 0)
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(e, errno, "tt-agentd cannot be reached");
	/* On a Unix socket this succeeds or fails at once. */
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
		command_wire_unreachable(e, errno, c->path);
		close(fd);
		return -1;
	}
	c->bev = bufferevent_socket_new(c->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (c->bev == NULL) {
		close(fd);
		return err_set_errno(e, ENOMEM, "the connection to tt-agentd");
	}
	bufferevent_setcb(c->bev, on_read, NULL, on_event, c);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
	return 0;
}

static int send_request(struct command_client *c, struct command_request *r, json_t *args, struct err *e)
{
	size_t len = 0;
	char *line = NULL;
	int rc = -1;

	if (connect_now(c, e) < 0) {
		json_decref(args);
		return -1;
	}
	line = command_wire_put_request(r->id, r->command, args, &len);
	if (evbuffer_get_length(bufferevent_get_output(c->bev)) > BACKLOG_MAX)
		err_set(e, "tt-agentd does not read its commands");
	else if (line == NULL)
		err_set_errno(e, ENOMEM, "the command to tt-agentd");
	else if (len > COMMAND_REQUEST_MAX)
		err_set(e, "the command is longer than %u bytes", COMMAND_REQUEST_MAX);
	else if (bufferevent_write(c->bev, line, len) < 0)
		err_set_errno(e, ENOMEM, "the command to tt-agentd");
	else
		rc = 0;
	free(line);
	return rc;
}

struct command_request *command_send(struct command_client *c, enum command cmd, json_t *args, int64_t deadline_ms,
                                     command_done_fn *done, void *arg)
{
	struct command_request *r = calloc(1, sizeof *r);
	struct timeval tv;

	if (r == NULL) {
		json_decref(args);
		return NULL;
	}
	if (deadline_ms <= 0)
		deadline_ms = command_wire_client_deadline_ms(cmd);
	r->client = c;
	r->id = c->next_id++;
	r->command = cmd;
	r->done = done;
	r->arg = arg;
	TAILQ_INSERT_TAIL(&c->requests, r, link);
	r->failed = send_request(c, r, args, &r->err) < 0;
	if (r->failed)
		deadline_ms = 0;
	tv = clock_timeval_ms(deadline_ms);
	evtimer_assign(&r->timer, c->base, on_due, r);
	if (r->failed || deadline_ms > 0)
		event_add(&r->timer, &tv);
	return r;
}

/* What the socket does not take at once is not sent. */
static void send_cancel(struct command_client *c, const struct command_request *r)
{
	size_t len = 0;
	char *line;

	if (r->failed || c->bev == NULL || evbuffer_get_length(bufferevent_get_output(c->bev)) > BACKLOG_MAX)
		return;
	line = command_wire_put_request(c->next_id++, CMD_CANCEL, json_pack("{s:I}", "call", (json_int_t)r->id), &len);
	if (line != NULL)
		bufferevent_write(c->bev, line, len);
	free(line);
}

void command_request_cancel(struct command_request *r)
{
	send_cancel(r->client, r);
	TAILQ_REMOVE(&r->client->requests, r, link);
	event_del(&r->timer);
	free(r);
}

struct command_client *command_client_new(struct event_base *base, const char *path, struct err *e)
{
	struct command_client *c = calloc(1, sizeof *c);

	if (c != NULL)
		c->path = strdup(path);
	if (c == NULL || c->path == NULL) {
		err_set_errno(e, ENOMEM, "the connection to tt-agentd");
		free(c);
		return NULL;
	}
	c->base = base;
	c->next_id = 1;
	TAILQ_INIT(&c->requests);
	return c;
}

void command_client_free(struct command_client *c)
{
	struct command_request *r;

	if (c == NULL)
		return;
	while ((r = TAILQ_FIRST(&c->requests)) != NULL)
		command_request_cancel(r);
	disconnect(c);
	free(c->path);
	free(c);
}
