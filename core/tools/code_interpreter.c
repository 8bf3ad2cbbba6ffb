/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/code_interpreter.h"

#include "core/tools/e2b.h"
#include "core/tools/sandbox_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* Runs in the local sandbox, those that wait for another of their client included, oldest first. */
TAILQ_HEAD(local_runs, tool_run);

struct interpreter {
	struct e2b *e2b;
	struct local_runs local;
};

struct tool_run {
	struct interpreter *owner;
	const struct tool_context *ctx;
	tool_done_fn *done;
	void *arg;
	struct e2b_run *e2b; /* one of these: */
	struct sandbox_client *local;
	char *waiting;        /* the code, until another local run of the client has ended */
	struct event *refuse; /* the arguments are wrong */
	bool is_local;
	TAILQ_ENTRY(tool_run) link;
};

static execution_done_fn on_done;

static void answer(struct tool_run *r, char *text, bool failed)
{
	struct tool_result result = {.text = text == NULL ? strdup("Error: out of memory.") : text, .failed = failed};

	r->done(r->arg, &result);
	tool_result_clear(&result);
	if (r->refuse != NULL)
		event_free(r->refuse);
	free(r->waiting);
	free(r);
}

/* ---- local runs: a few of each client at once ------------------------------------------ */

static bool may_run(const struct tool_run *r)
{
	int64_t running = 0;
	const struct tool_run *other;

	TAILQ_FOREACH(other, &r->owner->local, link)
	running += other->local != NULL && strcmp(other->ctx->client, r->ctx->client) == 0;
	return running < cfg_int(r->ctx->config, CFG_CODE_CLIENT_RUNS);
}

/* -1: no memory. */
static int run_or_wait(struct tool_run *r, const char *code)
{
	if (may_run(r))
		r->local = sandbox_client_start(r->ctx, code, on_done, r);
	else
		r->waiting = strdup(code);
	if (r->local == NULL && r->waiting == NULL)
		return -1;
	r->is_local = true;
	TAILQ_INSERT_TAIL(&r->owner->local, r, link);
	return 0;
}

/* A local run is over: those that waited for it follow. */
static void leave(struct tool_run *r)
{
	struct interpreter *i = r->owner;
	struct tool_run *next, *after;

	if (!r->is_local)
		return;
	TAILQ_REMOVE(&i->local, r, link);
	for (next = TAILQ_FIRST(&i->local); next != NULL; next = after) {
		after = TAILQ_NEXT(next, link);
		if (next->waiting == NULL || !may_run(next))
			continue;
		next->local = sandbox_client_start(next->ctx, next->waiting, on_done, next);
		if (next->local == NULL)
			continue; /* no memory: it is tried again at the next end, or the round's time ends it */
		free(next->waiting);
		next->waiting = NULL;
	}
}

/* ---- runs ------------------------------------------------------------------------------- */

static void on_done(void *arg, const struct execution *x, const char *failure)
{
	char *text;

	leave(arg);
	if (failure == NULL) {
		answer(arg, execution_text(x), execution_failed(x));
		return;
	}
	if (asprintf(&text, "Error: the code was not run to its end (%s).%s%s", failure,
	             x->out.len > 0 ? " It printed:\n" : "", x->out.len > 0 ? x->out.data : "") < 0)
		text = NULL;
	answer(arg, text, true);
}

static void on_refuse(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	answer(arg,
	       strdup("Error: the argument code is missing or empty. Call the tool again with {\"code\": \"...\"}."),
	       true);
}

static struct tool_run *start(void *state, const struct tool_context *ctx, const json_t *args, tool_done_fn *done,
                              void *arg)
{
	const char *code = json_string_value(json_object_get(args, "code"));
	struct tool_run *r = calloc(1, sizeof *r);

	if (r == NULL || state == NULL) {
		free(r);
		return NULL;
	}
	*r = (struct tool_run){.owner = state, .ctx = ctx, .done = done, .arg = arg};
	if (code == NULL || *code == '\0') {
		r->refuse = event_new(ctx->base, -1, 0, on_refuse, r);
		if (r->refuse != NULL)
			event_active(r->refuse, EV_TIMEOUT, 0);
	} else if (e2b_is_enabled(ctx->config)) {
		r->e2b = e2b_start(r->owner->e2b, ctx, code, on_done, r);
	} else if (run_or_wait(r, code) < 0) {
		free(r);
		return NULL;
	}
	if (r->refuse == NULL && r->e2b == NULL && !r->is_local) {
		free(r);
		return NULL;
	}
	return r;
}

static void cancel(struct tool_run *r)
{
	leave(r);
	if (r->e2b != NULL)
		e2b_cancel(r->e2b);
	if (r->local != NULL)
		sandbox_client_cancel(r->local);
	if (r->refuse != NULL)
		event_free(r->refuse);
	free(r->waiting);
	free(r);
}

static bool available(const struct config *c)
{
	return e2b_is_enabled(c) || cfg_bool(c, CFG_CODE_LOCAL);
}

const char *code_interpreter_runner_socket(const struct config *c)
{
	return cfg_bool(c, CFG_CODE_LOCAL) && !e2b_is_enabled(c) ? cfg_str(c, CFG_CODE_RUNNER_SOCKET) : NULL;
}

static void *open_state(struct event_base *base, const char *dir)
{
	struct interpreter *i = calloc(1, sizeof *i);

	if (i == NULL)
		return NULL;
	TAILQ_INIT(&i->local);
	i->e2b = e2b_new(base, dir);
	if (i->e2b == NULL) {
		free(i);
		return NULL;
	}
	return i;
}

static void close_state(void *state)
{
	struct interpreter *i = state;

	if (i != NULL)
		e2b_free(i->e2b);
	free(i);
}

static void forget(void *state, const char *thread)
{
	e2b_forget(((struct interpreter *)state)->e2b, thread);
}

const struct tool tool_code_interpreter = {
	.name = "code_interpreter",
	.description =
		"Runs Python code in a sandbox and returns what it prints. Use it to calculate, to work with data and "
		"to check facts that can be computed. Print the results that you need.",
	.parameters =
		"{\"properties\":{\"code\":{\"description\":\"The Python code to run\",\"type\":\"string\"}},"
		"\"required\":[\"code\"],\"type\":\"object\"}",
	.progress = "Running code",
	.code = "code",
	.available = available,
	.start = start,
	.cancel = cancel,
	.open = open_state,
	.close = close_state,
	.forget = forget,
};
