/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/sandbox_client.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The runner ends the code at its timeout; if it has not answered this much later, it hangs. */
#define GRACE_MS 5000

struct sandbox_client {
	execution_done_fn *done;
	void *arg;
	struct bufferevent *bev; /* NULL: there is no connection */
	struct event *deadline;
	struct execution execution;
	const char *failure; /* reported at the deadline */
};

/* ---- the connection --------------------------------------------------------------- */

int sandbox_client_connect(const char *path)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof to.sun_path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(to.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		fd = -1;
	}
	return fd;
}

const char *sandbox_client_error_text(int error)
{
	switch (error) {
	case EAGAIN:
		return "the local sandbox is busy; try again later";
	case EACCES:
		return "the socket of tt-agent-runner may not be used";
	default:
		return "tt-agent-runner is not running";
	}
}

/* ---- a run ------------------------------------------------------------------------ */

static void run_free(struct sandbox_client *s)
{
	if (s->bev != NULL)
		bufferevent_free(s->bev);
	if (s->deadline != NULL)
		event_free(s->deadline);
	execution_clear(&s->execution);
	free(s);
}

static void end_run(struct sandbox_client *s, const char *failure)
{
	s->done(s->arg, &s->execution, failure);
	run_free(s);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct sandbox_client *s = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct evbuffer_iovec piece;

	while (evbuffer_peek(in, -1, NULL, &piece, 1) > 0 && piece.iov_len > 0) {
		execution_feed(&s->execution, piece.iov_base, piece.iov_len);
		evbuffer_drain(in, piece.iov_len);
	}
	if (s->execution.ended)
		end_run(s, NULL);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
		end_run(arg, "the local sandbox ended early");
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct sandbox_client *s = arg;

	(void)fd;
	(void)what;
	end_run(s, s->failure);
}

/* Takes fd over. -1: no memory. */
static int send_code(struct sandbox_client *s, struct event_base *base, int fd, const char *code, int64_t timeout_ms)
{
	json_t *request = json_pack("{s:s, s:I}", "code", code, "timeout_ms", (json_int_t)timeout_ms);
	char *line = request == NULL ? NULL : json_dumps(request, JSON_COMPACT);
	int result = -1;

	s->bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (s->bev == NULL) {
		close(fd);
	} else if (line != NULL && bufferevent_write(s->bev, line, strlen(line)) == 0 &&
	           bufferevent_write(s->bev, "\n", 1) == 0) {
		bufferevent_setcb(s->bev, on_read, NULL, on_event, s);
		bufferevent_enable(s->bev, EV_READ | EV_WRITE);
		result = 0;
	}
	free(line);
	json_decref(request);
	return result;
}

struct sandbox_client *sandbox_client_start(const struct tool_context *ctx, const char *code, execution_done_fn *done,
                                            void *arg)
{
	int64_t timeout_ms = cfg_ms(ctx->config, CFG_CODE_TIMEOUT), wait_ms = timeout_ms + GRACE_MS;
	struct sandbox_client *s = calloc(1, sizeof *s);
	int fd;

	if (s == NULL)
		return NULL;
	execution_init(&s->execution, (size_t)cfg_int(ctx->config, CFG_CODE_OUTPUT_LIMIT));
	s->done = done;
	s->arg = arg;
	s->failure = "the local sandbox did not answer in time";
	s->deadline = evtimer_new(ctx->base, on_deadline, s);
	if (s->deadline == NULL)
		goto fail;
	fd = sandbox_client_connect(cfg_str(ctx->config, CFG_CODE_RUNNER_SOCKET));
	if (fd < 0) {
		s->failure = sandbox_client_error_text(errno);
		wait_ms = 0;
	} else if (send_code(s, ctx->base, fd, code, timeout_ms) < 0) {
		goto fail;
	}
	event_add(s->deadline, &(struct timeval){.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000});
	return s;
fail:
	run_free(s);
	return NULL;
}

void sandbox_client_cancel(struct sandbox_client *s)
{
	run_free(s);
}
