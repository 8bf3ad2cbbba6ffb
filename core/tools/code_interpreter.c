/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/code_interpreter.h"

#include "core/tools/e2b.h"
#include "core/tools/sandbox_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tool_run {
	tool_done_fn *done;
	void *arg;
	struct e2b_run *e2b; /* one of these two */
	struct sandbox_client *local;
	struct event *refuse; /* or none: the arguments are wrong */
};

static void answer(struct tool_run *r, char *text, bool failed)
{
	struct tool_result result = {.text = text == NULL ? strdup("Error: out of memory.") : text, .failed = failed};

	r->done(r->arg, &result);
	tool_result_clear(&result);
	if (r->refuse != NULL)
		event_free(r->refuse);
	free(r);
}

static void on_done(void *arg, const struct execution *x, const char *failure)
{
	char *text;

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

	if (r == NULL)
		return NULL;
	r->done = done;
	r->arg = arg;
	if (code == NULL || *code == '\0') {
		r->refuse = event_new(ctx->base, -1, 0, on_refuse, r);
		if (r->refuse != NULL)
			event_active(r->refuse, EV_TIMEOUT, 0);
	} else if (e2b_is_enabled(ctx->config)) {
		if (state != NULL)
			r->e2b = e2b_start(state, ctx, code, on_done, r);
	} else {
		r->local = sandbox_client_start(ctx, code, on_done, r);
	}
	if (r->refuse == NULL && r->e2b == NULL && r->local == NULL) {
		free(r);
		return NULL;
	}
	return r;
}

static void cancel(struct tool_run *r)
{
	if (r->e2b != NULL)
		e2b_cancel(r->e2b);
	if (r->local != NULL)
		sandbox_client_cancel(r->local);
	if (r->refuse != NULL)
		event_free(r->refuse);
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
	return e2b_new(base, dir);
}

static void close_state(void *state)
{
	e2b_free(state);
}

static void forget(void *state, const char *thread)
{
	e2b_forget(state, thread);
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
	.available = available,
	.start = start,
	.cancel = cancel,
	.open = open_state,
	.close = close_state,
	.forget = forget,
};
