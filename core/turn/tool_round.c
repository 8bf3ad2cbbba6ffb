/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/tool_round.h"

#include "core/base/clock.h"
#include "core/base/json_text.h"
#include "core/trace/labels.h"

#include <assert.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NO_MEMORY "Error: out of memory. Answer with what you have."

struct job {
	struct tool_round *round;
	struct tool_run_info info; /* without a tool: it is not run */
	struct tool_run *run;      /* NULL before and after */
	int64_t began_ns;
	json_t *args;    /* of the run */
	json_t *message; /* the result, once it is there */
	char *id;
	struct span span;
	struct labels labels;
	struct tool_context context;
};

struct tool_round {
	const struct tool_round_handlers *handlers;
	void *arg;
	struct counters *counters;
	struct trace *trace;
	const struct span *span; /* of the turn */
	struct event *end;       /* calls `ended` from the loop */
	size_t count, open;
	unsigned runs_left, runs;
	struct job jobs[CALLS_MAX];
};

static void end_span(struct job *j, enum tool_outcome outcome)
{
#define V(text) text,
	static const char *const outcomes[] = {TOOL_OUTCOMES(V)};
#undef V
	const struct log_field attributes[] = {
		ATTR_STR("gen_ai.operation.name", "execute_tool"),
		ATTR_STR("gen_ai.tool.name", j->info.tool->name),
		ATTR_STR("gen_ai.tool.type", "function"),
		ATTR_STR("gen_ai.tool.call.id", j->id),
	};
	char name[100];
	const struct span_end end = {
		.name = name,
		.kind = SPAN_INTERNAL,
		.parent = j->round->span,
		.error = outcome == TOOL_OK ? NULL : outcomes[outcome],
		.attributes = attributes,
		.count = sizeof attributes / sizeof attributes[0],
	};

	snprintf(name, sizeof name, "execute_tool %s", j->info.tool->name);
	trace_end(j->round->trace, &j->span, &end);
}

/* A tool that was run has ended so. */
static void count_run(struct job *j, enum tool_outcome outcome)
{
	struct counters *c = j->round->counters;
	const char *metric = j->info.tool->metric, *name = metric != NULL ? metric : j->info.tool->name;
	unsigned tool = counters_member(c, LABEL_TOOL, name);

	counters_count(c, SERIES_TOOL_CALLS, tool, outcome, 1);
	counters_observe(c, SERIES_TOOL_DURATION, tool, clock_mono_ns() - j->began_ns, 1);
	end_span(j, outcome);
}

void tool_round_free(struct tool_round *r)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->jobs[i].run != NULL) {
			count_run(&r->jobs[i], TOOL_CANCELLED);
			r->jobs[i].info.tool->cancel(r->jobs[i].run);
		}
		json_decref(r->jobs[i].args);
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

	(void)fd;
	(void)what;
	r->handlers->ended(r->arg);
}

json_t *tool_round_results(const struct tool_round *r)
{
	json_t *messages = json_array();

	for (size_t i = 0; messages != NULL && i < r->count; i++) {
		/* A call without its result would make the conversation invalid. */
		if (json_array_append(messages, r->jobs[i].message) < 0) {
			json_decref(messages);
			messages = NULL;
		}
	}
	return messages;
}

static void job_done(struct job *j, const char *text)
{
	struct tool_round *r = j->round;

	j->run = NULL;
	j->message =
		json_pack("{s:s, s:s, s:o}", "role", "tool", "tool_call_id", j->id, "content", json_text_value(text));
	assert(r->open > 0);
	if (--r->open == 0)
		event_active(r->end, EV_TIMEOUT, 0);
}

static void on_result(void *arg, struct tool_result *result)
{
	struct job *j = arg;

	count_run(j, result->failed ? TOOL_FAILED : TOOL_OK);
	j->round->handlers->finished(j->round->arg, &j->info, result);
	job_done(j, result->text == NULL ? NO_MEMORY : result->text);
}

static void on_progress(void *arg, const char *text)
{
	struct job *j = arg;

	j->round->handlers->progress(j->round->arg, &j->info, text);
}

/* A tool that was shown as started ends without a result of its own. */
static void job_broken(struct job *j, enum tool_outcome outcome, const char *text)
{
	const struct tool_result none = {.failed = true};

	count_run(j, outcome);
	j->round->handlers->finished(j->round->arg, &j->info, &none);
	job_done(j, text);
}

/* Whether the tool was already run on this subject in this turn; if not, remembers it. */
static bool was_run_on(json_t *subjects, const struct tool *tool, const json_t *args)
{
	const char *subject = tool->subject == NULL ? NULL : json_string_value(json_object_get(args, tool->subject));
	json_t *of_tool;

	if (subject == NULL)
		return false;
	of_tool = json_object_get(subjects, tool->name);
	if (json_object_get(of_tool, subject) != NULL)
		return true;
	if (of_tool == NULL && json_object_set_new(subjects, tool->name, of_tool = json_object()) < 0)
		return false;
	json_object_set_new(of_tool, subject, json_true());
	return false;
}

static bool is_other(const struct tool_round_place *in, const char *name)
{
	for (size_t i = 0; i < in->other_count; i++)
		if (strcmp(in->others[i], name) == 0)
			return true;
	return false;
}

static void start_job(struct job *j, const struct call *call, const struct tool_round_place *in)
{
	struct tool_round *r = j->round;
	const struct tool *tool = toolbox_find(in->box, in->context->config, call->name, strlen(call->name));
	json_error_t why;
	json_t *args = json_loads(*call->arguments == '\0' ? "{}" : call->arguments, 0, &why);
	char text[400];

	if (tool != NULL && in->client != NULL && !access_may_use_tool(in->client, tool->name))
		tool = NULL; /* it was not offered */
	if (is_other(in, call->name)) {
		job_done(j,
		         "Not run yet, because other tools ran first: their results are here. If it is still needed, "
		         "call it again now.");
	} else if (in->closed || r->runs_left == 0) {
		job_done(j, "Error: no more tools can be used for this question. Answer now with what you have.");
	} else if (tool == NULL) {
		snprintf(text, sizeof text, "Error: there is no tool named %.64s. Answer without it.", call->name);
		job_done(j, text);
	} else if (call->cut) {
		job_done(j,
		         "Error: the arguments are too long and were cut off, so the tool was not run. "
		         "Call it again with shorter arguments, or answer without it.");
	} else if (!json_is_object(args)) {
		snprintf(text, sizeof text,
		         "Error: the arguments are not a JSON object (%.120s). Call the tool again with valid JSON.",
		         args == NULL ? why.text : "another JSON type");
		job_done(j, text);
	} else if (was_run_on(in->subjects, tool, args)) {
		job_done(j, "This search was made before in this conversation turn; its results are above.");
	} else {
		j->args = json_incref(args);
		j->info = (struct tool_run_info){.number = r->runs++, .id = j->id, .tool = tool, .args = args};
		j->began_ns = clock_mono_ns();
		r->runs_left--;
		r->handlers->started(r->arg, &j->info);
		trace_begin(r->trace, &j->span);
		labels_set(&j->labels, in->request_id, NULL, r->trace, &j->span);
		j->context = *in->context;
		j->context.labels = j->labels.lines;
		j->context.progress = r->handlers->progress != NULL ? on_progress : NULL;
		j->run = toolbox_start(in->box, tool, &j->context, args, on_result, j);
		if (j->run == NULL)
			job_broken(j, TOOL_FAILED, "Error: the tool could not be started. Answer without it.");
	}
	json_decref(args);
}

struct tool_round *tool_round_start(const struct tool_round_place *place, const struct call *const *calls, size_t count,
                                    const struct tool_round_handlers *handlers, void *arg)
{
	struct tool_round *r = calloc(1, sizeof *r);

	assert(count > 0 && count <= CALLS_MAX);
	if (r == NULL)
		return NULL;
	r->handlers = handlers;
	r->arg = arg;
	r->counters = place->counters;
	r->trace = place->trace;
	r->span = place->span;
	r->runs_left = place->runs_left;
	r->runs = place->runs_before;
	r->end = event_new(place->context->base, -1, 0, on_end, r);
	for (size_t i = 0; r->end != NULL && i < count; i++) {
		r->jobs[i] = (struct job){.round = r, .id = strdup(calls[i]->id)};
		r->count++;
		if (r->jobs[i].id == NULL) {
			tool_round_free(r);
			return NULL;
		}
	}
	if (r->end == NULL) {
		tool_round_free(r);
		return NULL;
	}
	r->open = r->count;
	for (size_t i = 0; i < r->count; i++)
		start_job(&r->jobs[i], calls[i], place);
	return r;
}

void tool_round_expire(struct tool_round *r)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->jobs[i].run == NULL)
			continue;
		r->jobs[i].info.tool->cancel(r->jobs[i].run);
		job_broken(&r->jobs[i], TOOL_TIMED_OUT,
		           "Error: the tool took too long and was stopped. Answer with what you have.");
	}
}

static json_t *call_json(const struct call *c)
{
	json_t *args = json_loads(c->arguments, 0, NULL);
	json_t *json = json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", c->id, "type", "function", "function", "name",
	                         c->name, "arguments", json_is_object(args) ? c->arguments : "{}");

	json_decref(args);
	return json;
}

json_t *tool_round_message(const struct call *const *calls, size_t count, const char *text, size_t len)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		if (json_array_append_new(list, call_json(calls[i])) < 0) {
			json_decref(list); /* each result needs its call */
			return NULL;
		}
	}
	return json_pack("{s:s, s:s%, s:o}", "role", "assistant", "content", text, len, "tool_calls", list);
}

json_t *tool_round_message_as_sent(const json_t *message, const struct call *const *calls, size_t count,
                                   const json_t *beside)
{
	json_t *copy = json_deep_copy(message), *list = json_object_get(copy, "tool_calls");
	bool differs = json_object_size(beside) > 0;
	int failed = copy == NULL || json_object_update(copy, (json_t *)(uintptr_t)beside) < 0;

	for (size_t i = 0; i < count && !failed; i++) {
		json_t *call = json_array_get(list, i), *extra = calls[i]->extra;
		json_t *function = json_object_get(extra, "function");

		if (extra == NULL)
			continue;
		differs = true;
		failed = json_object_update_missing(call, extra) < 0 ||
		         (function != NULL &&
		          json_object_update_missing(json_object_get(call, "function"), function) < 0);
	}
	if (differs && !failed)
		return copy;
	json_decref(copy);
	return NULL;
}
