/* SPDX-License-Identifier: Apache-2.0 */
/* TOOLS: the calls of an answer are run, then the LLM is asked again with their results. */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEEP_ALIVE_MS     10000
#define PROGRESS_LINE_MAX 400
#define NO_MEMORY         "The tools could not be run: out of memory. Please try again in a moment."

/* ---- which tools ------------------------------------------------------------------------------ */

/* The name of one of the client's tools, or functions, as they were called. */
static const char *name_of(const json_t *tool)
{
	const json_t *function = json_object_get(tool, "function");

	return json_string_value(json_object_get(function != NULL ? function : tool, "name"));
}

/* Among the names from this one to that. */
static bool has_name(const struct tool_phase *tools, size_t from, size_t to, const char *name)
{
	for (size_t i = from; name != NULL && i < to; i++)
		if (strcmp(tools->names[i], name) == 0)
			return true;
	return false;
}

bool turn_tools_is_of_client(const struct turn *t, const char *name)
{
	return t->conversation.request.plain || has_name(&t->tools, 0, t->tools.of_client, name);
}

/* The client's definitions, and ours that are offered. */
static json_t *join_definitions(const struct tool_phase *tools, json_t *of_client, size_t count, json_t *ours)
{
	json_t *all = of_client != NULL ? json_copy(of_client) : json_array(), *tool;
	size_t i;

	json_array_foreach(ours, i, tool) if (has_name(tools, tools->of_client, count, name_of(tool)))
		json_array_append(all, tool);
	if (json_array_size(all) > 0)
		return all;
	json_decref(all);
	return NULL;
}

int turn_tools_find(struct turn *t)
{
	struct tool_phase *tools = &t->tools;
	const struct chat_request *r = &t->conversation.request;
	const struct access_identity *client = t->conversation.client;
	json_t *of_client = json_object_get(r->fields, r->calls_functions ? "functions" : "tools"), *tool;
	json_t *ours = r->plain ? NULL : toolbox_definitions(t->services->toolbox, t->config);
	size_t i, count = 0, of_ours = 0;
	const char **own = ours != NULL ? toolbox_names(t->config, &of_ours) : NULL;

	tools->names = calloc(json_array_size(of_client) + of_ours + 1, sizeof *tools->names);
	if (tools->names == NULL || (ours != NULL && own == NULL)) {
		free(own);
		json_decref(ours);
		return -1;
	}
	json_array_foreach(of_client, i, tool) if (name_of(tool) != NULL) tools->names[count++] = name_of(tool);
	tools->of_client = count;
	for (i = 0; i < of_ours; i++)
		if (!has_name(tools, 0, tools->of_client, own[i]) &&
		    (client == NULL || access_may_use_tool(client, own[i])))
			tools->names[count++] = own[i];
	tools->fewer = count - tools->of_client < of_ours;
	if (r->plain || (tools->of_client == 0 && count == of_ours))
		tools->definitions = json_incref(ours);
	else
		tools->definitions = join_definitions(tools, of_client, count, ours);
	free(own);
	json_decref(ours);
	return 0;
}

/* ---- a round of them -------------------------------------------------------------------------- */

static void on_started(void *arg, const struct tool_run_info *run)
{
	struct turn *t = arg;
	struct reply *r = t->answer.reply;
	const struct tool *tool = run->tool;
	const char *subject = NULL;

	t->log.tool_runs++;
	if (r->protocol->run_begun != NULL) {
		r->protocol->run_begun(r, run);
		return;
	}
	if (tool->subject != NULL) {
		subject = json_string_value(json_object_get(run->args, tool->subject));
		subject = subject != NULL ? subject : "";
	}
	r->protocol->tool(r, tool->progress, subject);
}

static void on_progress(void *arg, const struct tool_run_info *run, const char *text)
{
	struct turn *t = arg;
	char line[PROGRESS_LINE_MAX];

	snprintf(line, sizeof line, "%s: %s", run->tool->name, text);
	t->answer.reply->protocol->tool(t->answer.reply, line, NULL);
}

static void on_finished(void *arg, const struct tool_run_info *run, const struct tool_result *result)
{
	struct turn *t = arg;
	struct reply *r = t->answer.reply;
	const struct tool *tool = run->tool;
	size_t shown = 0;

	if (tool->code != NULL && r->protocol->code != NULL)
		r->protocol->code(r, json_string_value(json_object_get(run->args, tool->code)), result->text);
	for (size_t i = 0; i < result->source_count; i++)
		shown += r->protocol->source(r, result->sources[i].title, result->sources[i].url);
	if (r->protocol->run_ended != NULL)
		r->protocol->run_ended(r, run, result);
	else if (shown == 0)
		r->protocol->tool_done(r);
}

static void on_ended(void *arg)
{
	struct turn *t = arg;

	t->proceed(t);
}

static const struct tool_round_handlers round_handlers = {
	.started = on_started,
	.progress = on_progress,
	.finished = on_finished,
	.ended = on_ended,
};

static unsigned calls_left(const struct turn *t)
{
	unsigned max = (unsigned)cfg_int(t->config, CFG_LIMITS_TOOL_CALLS);

	return t->log.tool_runs < max ? max - t->log.tool_runs : 0;
}

bool turn_tools_used_up(const struct turn *t)
{
	return calls_left(t) == 0 || t->tools.rounds >= (unsigned)cfg_int(t->config, CFG_LIMITS_TOOL_ROUNDS) ||
	       t->tools.left_ms <= 0;
}

/* Until proxies must be shown that the answer is still coming, or until the tools' time
 * or the turn's is over. */
static void wake_when_due(struct turn *t)
{
	const struct tool_phase *tools = &t->tools;
	int64_t now = clock_mono_ms(), due = tools->keep_alive_ms;

	if (tools->began_ms + tools->left_ms < due)
		due = tools->began_ms + tools->left_ms;
	if (t->deadline_ms < due)
		due = t->deadline_ms;
	turn_wake_in(t, due > now ? due - now : 0);
}

/* Remembers the message that made the calls as its LLM sent it. Without memory the plain one will do. */
static void remember_as_sent(struct turn *t, const json_t *message, const struct attempt_outcome *o)
{
	struct conversation *c = &t->conversation;
	json_t *beside = attempt_beside_calls(t->upstream.attempt);
	json_t *sent = tool_round_message_as_sent(message, o->calls, o->call_count, beside);

	json_decref(beside);
	if (sent == NULL)
		return;
	if (c->as_sent == NULL)
		c->as_sent = json_array();
	while (c->as_sent != NULL && json_array_size(c->as_sent) < json_array_size(c->messages))
		if (json_array_append_new(c->as_sent, json_null()) < 0)
			break;
	if (json_array_size(c->as_sent) == json_array_size(c->messages))
		json_array_append_new(c->as_sent, json_pack("{s:I, s:O}", "instance",
		                                            (json_int_t)t->upstream.llm->instance, "message", sent));
	json_decref(sent);
}

/* Distinguishes conversations as the store does; NULL: no memory. */
static char *sandbox_name(const struct turn *t)
{
	const char *thread_id = t->conversation.request.thread_id;
	const char *run = store_id_is_short(thread_id) ? t->services->run : "";
	static unsigned long long count;
	char *name;

	if (t->conversation.alone)
		return asprintf(&name, "%s\n%ld\n%llu", t->services->run, (long)getpid(), ++count) < 0 ? NULL : name;
	return asprintf(&name, "%s\n%s\n%s", run, t->conversation.subject, thread_id) < 0 ? NULL : name;
}

/* What only a turn that runs tools needs. -1: no memory. */
static int prepare(struct turn *t)
{
	if (t->conversation.sandbox == NULL)
		t->conversation.sandbox = sandbox_name(t);
	if (t->tools.subjects == NULL)
		t->tools.subjects = json_object();
	return t->conversation.sandbox != NULL && t->tools.subjects != NULL ? 0 : -1;
}

static enum step start_round(struct turn *t)
{
	struct tool_phase *tools = &t->tools;
	const struct attempt_outcome *o = attempt_outcome(t->upstream.attempt);
	const struct tool_round_place place = {
		.box = t->services->toolbox,
		.context = &tools->context,
		.subjects = tools->subjects,
		.request_id = t->log.request_id,
		.trace = t->trace,
		.span = &t->span,
		.counters = t->services->counters,
		.client = t->conversation.client,
		.others = tools->names,
		.other_count = tools->of_client,
		.closed = turn_tools_used_up(t),
		.runs_left = calls_left(t),
		.runs_before = t->log.tool_runs,
	};
	const char *text = t->answer.text.len == 0 ? "" : t->answer.text.data;
	json_t *message = tool_round_message(o->calls, o->call_count, text, t->answer.text.len);

	remember_as_sent(t, message, o);
	if (json_array_append_new(t->conversation.messages, message) < 0)
		return turn_fail(t, FAILURE_UNAVAILABLE, NO_MEMORY);
	answer_begin(&t->answer);
	tools->context = (struct tool_context){
		.base = t->services->base,
		.http = t->services->http,
		.background = t->services->background,
		.config = t->config,
		.thread = t->conversation.sandbox,
		.client = *t->conversation.subject != '\0' ? t->conversation.subject : t->conversation.sandbox,
		.idle_ms = store_idle_ms(t->config, t->conversation.request.thread_id),
	};
	tools->began_ms = clock_mono_ms();
	tools->keep_alive_ms = tools->began_ms + KEEP_ALIVE_MS;
	tools->round = tool_round_start(&place, o->calls, o->call_count, &round_handlers, t);
	if (tools->round == NULL)
		return turn_fail(t, FAILURE_UNAVAILABLE, NO_MEMORY);
	wake_when_due(t);
	return STEP_STAY;
}

enum step turn_tools(struct turn *t)
{
	return prepare(t) == 0 ? start_round(t) : turn_fail(t, FAILURE_UNAVAILABLE, NO_MEMORY);
}

enum step turn_tools_ended(struct turn *t)
{
	struct tool_phase *tools = &t->tools;
	json_t *results = tool_round_results(tools->round);
	int failed = results == NULL || json_array_extend(t->conversation.messages, results) < 0;

	json_decref(results);
	tool_round_free(tools->round);
	tools->round = NULL;
	tools->left_ms -= clock_mono_ms() - tools->began_ms;
	if (failed)
		return turn_fail(t, FAILURE_UNAVAILABLE, NO_MEMORY);
	tools->rounds++;
	t->upstream.tried.count = 0; /* all candidates are open again */
	t->upstream.continuing = false;
	return STEP_CHOOSE;
}

/* What runs too long is ended, and the model answers with what it has. */
enum step turn_tools_due(struct turn *t)
{
	struct tool_phase *tools = &t->tools;
	struct reply *r = t->answer.reply;
	int64_t now = clock_mono_ms();

	if (now >= tools->began_ms + tools->left_ms || now >= t->deadline_ms) {
		tool_round_expire(tools->round);
		return STEP_STAY;
	}
	if (now >= tools->keep_alive_ms) {
		r->protocol->keep_alive(r);
		tools->keep_alive_ms = now + KEEP_ALIVE_MS;
	}
	wake_when_due(t);
	return STEP_STAY;
}

void turn_tools_stop(struct turn *t)
{
	tool_round_free(t->tools.round);
	t->tools.round = NULL;
}
