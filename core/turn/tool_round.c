/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/tool_round.h"

#include "core/base/utf8.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_MEMORY "Error: memory is out. Answer with what you have."

struct job {
	struct tool_round *round;
	const struct tool *tool; /* NULL: it is not run */
	struct tool_run *run;    /* NULL before and after */
	json_t *message;         /* the result, once it is there */
	char *id;
};

struct tool_round {
	const struct tool_round_handlers *handlers;
	void *arg;
	struct event *end; /* says `ended` from the loop */
	size_t count, open;
	struct job jobs[CALLS_MAX];
};

static void round_free(struct tool_round *r)
{
	for (size_t i = 0; i < r->count; i++) {
		json_decref(r->jobs[i].message);
		free(r->jobs[i].id);
	}
	if (r->end != NULL)
		event_free(r->end);
	free(r);
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct tool_round *r = arg;
	json_t *messages = json_array();

	(void)fd;
	(void)what;
	for (size_t i = 0; messages != NULL && i < r->count; i++) {
		/* A call without its result would make the conversation invalid. */
		if (json_array_append(messages, r->jobs[i].message) < 0) {
			json_decref(messages);
			messages = NULL;
		}
	}
	r->handlers->ended(r->arg, messages);
	json_decref(messages);
	round_free(r);
}

/* Text as JSON takes it: a byte that is no UTF-8 becomes '?'. */
static json_t *text_json(const char *text)
{
	json_t *json = json_string(text);
	char *mended;

	if (json != NULL || (mended = utf8_text(text, strlen(text))) == NULL)
		return json;
	json = json_string(mended);
	free(mended);
	return json;
}

static void job_done(struct job *j, const char *text)
{
	struct tool_round *r = j->round;

	j->run = NULL;
	j->message = json_pack("{s:s, s:s, s:o}", "role", "tool", "tool_call_id", j->id, "content", text_json(text));
	assert(r->open > 0);
	if (--r->open == 0)
		event_active(r->end, EV_TIMEOUT, 0);
}

static void on_result(void *arg, struct tool_result *result)
{
	struct job *j = arg;

	j->round->handlers->finished(j->round->arg, j->tool, result);
	job_done(j, result->text == NULL ? NO_MEMORY : result->text);
}

/* A tool that was shown as started ends without a result of its own. */
static void job_broken(struct job *j, const char *text)
{
	const struct tool_result none = {.failed = true};

	j->round->handlers->finished(j->round->arg, j->tool, &none);
	job_done(j, text);
}

/* A search that was made before in this turn; else it is noted. */
static bool was_asked(json_t *asked, const struct tool *tool, const json_t *args)
{
	const char *subject = tool->subject == NULL ? NULL : json_string_value(json_object_get(args, tool->subject));

	if (subject == NULL)
		return false;
	if (json_object_get(asked, subject) != NULL)
		return true;
	json_object_set_new(asked, subject, json_true());
	return false;
}

static void start_job(struct job *j, const struct call *call, const struct tool_round_place *in)
{
	struct tool_round *r = j->round;
	const struct tool *tool = toolbox_find(in->ctx->config, call->name, strlen(call->name));
	json_error_t why;
	json_t *args = json_loads(*call->arguments == '\0' ? "{}" : call->arguments, 0, &why);
	char text[400];

	if (in->closed) {
		job_done(j, "Error: no more tools can be used for this question. Answer now with what you have.");
	} else if (tool == NULL) {
		snprintf(text, sizeof text, "Error: there is no tool named %.64s. Answer without it.", call->name);
		job_done(j, text);
	} else if (!json_is_object(args)) {
		snprintf(text, sizeof text,
		         "Error: the arguments are not a JSON object (%.120s). Call the tool again with valid JSON.",
		         args == NULL ? why.text : "another JSON type");
		job_done(j, text);
	} else if (was_asked(in->asked, tool, args)) {
		job_done(j, "This search was made before in this conversation turn; its results are above.");
	} else {
		j->tool = tool;
		r->handlers->started(r->arg, tool, args);
		j->run = toolbox_start(in->box, tool, in->ctx, args, on_result, j);
		if (j->run == NULL)
			job_broken(j, "Error: the tool could not be started. Answer without it.");
	}
	json_decref(args);
}

struct tool_round *tool_round_start(const struct tool_round_place *place, const struct calls *calls,
                                    const struct tool_round_handlers *handlers, void *arg)
{
	struct tool_round *r = calloc(1, sizeof *r);

	assert(calls->count > 0);
	if (r == NULL)
		return NULL;
	r->handlers = handlers;
	r->arg = arg;
	r->end = event_new(place->ctx->base, -1, 0, on_end, r);
	for (size_t i = 0; r->end != NULL && i < calls->count; i++) {
		r->jobs[i] = (struct job){.round = r, .id = strdup(calls->items[i].id)};
		r->count++;
		if (r->jobs[i].id == NULL) {
			round_free(r);
			return NULL;
		}
	}
	if (r->end == NULL) {
		round_free(r);
		return NULL;
	}
	r->open = r->count;
	for (size_t i = 0; i < r->count; i++)
		start_job(&r->jobs[i], &calls->items[i], place);
	return r;
}

void tool_round_expire(struct tool_round *r)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->jobs[i].run == NULL)
			continue;
		r->jobs[i].tool->cancel(r->jobs[i].run);
		job_broken(&r->jobs[i], "Error: the tool took too long and was stopped. Answer with what you have.");
	}
}

void tool_round_cancel(struct tool_round *r)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->jobs[i].run != NULL)
			r->jobs[i].tool->cancel(r->jobs[i].run);
	round_free(r);
}

static json_t *call_json(const struct call *c)
{
	json_t *args = json_loads(c->arguments, 0, NULL);
	json_t *json = json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", c->id, "type", "function", "function", "name",
	                         c->name, "arguments", json_is_object(args) ? c->arguments : "{}");

	json_decref(args);
	return json;
}

json_t *tool_round_message(const struct calls *calls, const char *text, size_t len)
{
	json_t *list = json_array();

	for (size_t i = 0; i < calls->count; i++) {
		if (json_array_append_new(list, call_json(&calls->items[i])) < 0) {
			json_decref(list); /* each result needs its call */
			return NULL;
		}
	}
	return json_pack("{s:s, s:s%, s:o}", "role", "assistant", "content", text, len, "tool_calls", list);
}
