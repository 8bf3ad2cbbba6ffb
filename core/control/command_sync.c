/* SPDX-License-Identifier: Apache-2.0 */
#include "core/control/command_wire.h"

#include "core/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* One request and its answers. Everything blocks, with one deadline. */
struct connection {
	int fd;
	int64_t until_ms; /* INT64_MAX: as long as it takes */
	struct evbuffer *in;
	size_t scanned;
};

static int wait_for(const struct connection *c, short what, struct err *e)
{
	struct pollfd p = {.fd = c->fd, .events = what};
	int rc;

	do {
		int64_t left = c->until_ms == INT64_MAX ? -1 : c->until_ms - clock_mono_ms();

		if (c->until_ms != INT64_MAX && left < 0)
			left = 0;
		rc = poll(&p, 1, left > 1000000 ? 1000000 : (int)left);
	} while (rc < 0 && errno == EINTR);
	if (rc == 0)
		return err_set(e, "tt-agentd did not answer in time");
	return rc < 0 ? err_set_errno(e, errno, "waiting for tt-agentd") : 0;
}

static int open_connection(struct connection *c, const char *path, int64_t deadline_ms, struct err *e)
{
	struct sockaddr_un sa;

	*c = (struct connection){.fd = -1, .until_ms = deadline_ms > 0 ? clock_mono_ms() + deadline_ms : INT64_MAX};
	if (command_wire_address(&sa, path, e) < 0)
		return -1;
	c->in = evbuffer_new();
	if (c->in == NULL)
		return err_set_errno(e, ENOMEM, "the connection to tt-agentd");
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return err_set_errno(e, errno, "the connection to tt-agentd");
	if (connect(c->fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
		command_wire_unreachable(e, errno, path);
		return -1;
	}
	return 0;
}

static void close_connection(struct connection *c)
{
	if (c->fd >= 0)
		close(c->fd);
	if (c->in != NULL)
		evbuffer_free(c->in);
}

/* Steals args. */
static int send_request(struct connection *c, enum command cmd, json_t *args, struct err *e)
{
	size_t len = 0, sent = 0;
	char *line = command_wire_put_request(1, cmd, args, &len);
	int rc = 0;

	if (line == NULL)
		return err_set_errno(e, ENOMEM, "the command");
	if (len > COMMAND_REQUEST_MAX)
		rc = err_set(e, "the command is longer than %u bytes", COMMAND_REQUEST_MAX);
	while (rc == 0 && sent < len) {
		ssize_t n = send(c->fd, line + sent, len - sent, MSG_NOSIGNAL);

		if (n >= 0)
			sent += (size_t)n;
		else if (errno == EAGAIN)
			rc = wait_for(c, POLLOUT, e);
		else if (errno != EINTR)
			rc = err_set_errno(e, errno, "tt-agentd closed the connection");
	}
	free(line);
	return rc;
}

/* -1: there is no further answer. */
static int next_answer(struct connection *c, struct wire_answer *a, struct err *e)
{
	for (;;) {
		bool too_long;
		size_t len;
		const char *line = command_wire_next(c->in, &c->scanned, COMMAND_LINE_MAX, &len, &too_long);
		int n;

		if (line != NULL) {
			int rc = command_wire_answer(line, len, a, e);

			c->scanned = 0;
			evbuffer_drain(c->in, len + 1);
			if (rc < 0)
				err_prefix(e, "tt-agentd's answer is not understood");
			return rc;
		}
		if (too_long)
			return err_set(e, "tt-agentd's answer is longer than %u bytes", COMMAND_LINE_MAX);
		if (wait_for(c, POLLIN, e) < 0)
			return -1;
		n = evbuffer_read(c->in, c->fd, 65536);
		if (n == 0)
			return err_set(e, "tt-agentd closed the connection");
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return err_set_errno(e, errno, "tt-agentd closed the connection");
	}
}

json_t *command_call(const char *path, enum command cmd, json_t *args, int64_t deadline_ms, bool *unreachable,
                     struct err *e)
{
	struct connection c;
	struct wire_answer a = {.value = NULL};
	json_t *result = NULL;

	*unreachable = true;
	if (deadline_ms <= 0)
		deadline_ms = command_wire_client_deadline_ms(cmd);
	if (open_connection(&c, path, deadline_ms, e) < 0) {
		json_decref(args);
		goto out;
	}
	if (send_request(&c, cmd, args, e) < 0 || next_answer(&c, &a, e) < 0)
		goto out;
	*unreachable = false;
	if (a.kind == WIRE_ERROR)
		err_set(e, "%s", a.error.text);
	else
		result = json_incref(a.value);
out:
	json_decref(a.value);
	close_connection(&c);
	return result;
}

int command_watch(const char *path, enum command cmd, bool (*each)(void *arg, const json_t *event), void *arg,
                  struct err *e)
{
	struct connection c;
	int rc = open_connection(&c, path, 0, e);
	bool more = true;

	if (rc == 0)
		rc = send_request(&c, cmd, NULL, e);
	while (rc == 0 && more) {
		struct wire_answer a = {.value = NULL};

		rc = next_answer(&c, &a, e);
		if (rc == 0 && a.kind == WIRE_ERROR)
			rc = err_set(e, "%s", a.error.text);
		else if (rc == 0)
			more = each(arg, a.value);
		json_decref(a.value);
	}
	close_connection(&c);
	return rc;
}
