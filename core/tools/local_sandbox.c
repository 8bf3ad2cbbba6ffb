/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/local_sandbox.h"

#include "core/tools/runner_socket.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The runner ends the code at its timeout; this much later it is given up itself. */
#define GRACE_MS 5000

struct local_sandbox_run {
	void (*done)(void *arg, const struct execution *x, const char *failure);
	void *arg;
	struct bufferevent *bev;
	struct event *deadline;
	struct execution execution;
	const char *failure; /* what deadline says */
};

static void run_free(struct local_sandbox_run *r)
{
	if (r->bev != NULL)
		bufferevent_free(r->bev);
	if (r->deadline != NULL)
		event_free(r->deadline);
	execution_clear(&r->execution);
	free(r);
}

static void end_run(struct local_sandbox_run *r, const char *failure)
{
	r->done(r->arg, &r->execution, failure);
	run_free(r);
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct local_sandbox_run *r = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	struct evbuffer_iovec piece;

	while (evbuffer_peek(in, -1, NULL, &piece, 1) > 0 && piece.iov_len > 0) {
		execution_feed(&r->execution, piece.iov_base, piece.iov_len);
		evbuffer_drain(in, piece.iov_len);
	}
	if (r->execution.ended)
		end_run(r, NULL);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0)
		end_run(arg, "the local sandbox ended early");
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct local_sandbox_run *r = arg;

	(void)fd;
	(void)what;
	end_run(r, r->failure);
}

static int send_code(struct local_sandbox_run *r, const char *code, int64_t timeout_ms)
{
	json_t *json = json_pack("{s:s, s:I}", "code", code, "timeout_ms", (json_int_t)timeout_ms);
	char *line = json == NULL ? NULL : json_dumps(json, JSON_COMPACT);
	int result = line == NULL || bufferevent_write(r->bev, line, strlen(line)) < 0 ||
	                             bufferevent_write(r->bev, "\n", 1) < 0
	                     ? -1
	                     : 0;

	free(line);
	json_decref(json);
	return result;
}

struct local_sandbox_run *local_sandbox_start(const struct tool_context *ctx, const char *code,
                                              void (*done)(void *arg, const struct execution *x, const char *failure),
                                              void *arg)
{
	int64_t timeout_ms = cfg_ms(ctx->config, CFG_CODE_TIMEOUT), wait_ms = timeout_ms + GRACE_MS;
	struct local_sandbox_run *r = calloc(1, sizeof *r);
	struct timeval tv;
	int fd;

	if (r == NULL)
		return NULL;
	execution_init(&r->execution, (size_t)cfg_int(ctx->config, CFG_CODE_OUTPUT_CHARS));
	r->done = done;
	r->arg = arg;
	r->failure = "the local sandbox did not answer in time";
	r->deadline = evtimer_new(ctx->base, on_deadline, r);
	fd = runner_connect(cfg_str(ctx->config, CFG_CODE_RUNNER_SOCKET));
	if (fd < 0) {
		r->failure = runner_why_not(errno);
		wait_ms = 0;
	} else {
		r->bev = bufferevent_socket_new(ctx->base, fd, BEV_OPT_CLOSE_ON_FREE);
		if (r->bev == NULL)
			close(fd);
	}
	if (r->deadline == NULL || (fd >= 0 && (r->bev == NULL || send_code(r, code, timeout_ms) < 0))) {
		run_free(r);
		return NULL;
	}
	if (r->bev != NULL) {
		bufferevent_setcb(r->bev, on_read, NULL, on_event, r);
		bufferevent_enable(r->bev, EV_READ | EV_WRITE);
	}
	tv = (struct timeval){.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
	evtimer_add(r->deadline, &tv);
	return r;
}

void local_sandbox_cancel(struct local_sandbox_run *r)
{
	run_free(r);
}
