/* SPDX-License-Identifier: Apache-2.0 */
/* TOOLS: the calls of an answer are run, then the LLM is asked again with their results. */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"

#define KEEP_ALIVE_MS 10000
#define NO_MEMORY     "The tools could not be run: out of memory. Please try again in a moment."

static void on_started(void *arg, const struct tool *tool, const json_t *args)
{
	struct turn *t = arg;
	struct reply *r = t->answer.reply;
	const char *subject = NULL;

	t->log.tool_runs++;
	if (tool->subject != NULL) {
		subject = json_string_value(json_object_get(args, tool->subject));
		subject = subject != NULL ? subject : "";
	}
	r->protocol->tool(r, tool->progress, subject);
}

static void on_finished(void *arg, const struct tool *tool, const json_t *args, const struct tool_result *result)
{
	struct turn *t = arg;
	struct reply *r = t->answer.reply;
	size_t shown = 0;

	if (tool->code != NULL && r->protocol->code != NULL)
		r->protocol->code(r, json_string_value(json_object_get(args, tool->code)), result->text);
	for (size_t i = 0; i < result->source_count; i++)
		shown += r->protocol->source(r, result->sources[i].title, result->sources[i].url);
	if (shown == 0)
		r->protocol->tool_done(r);
}

static void on_ended(void *arg)
{
	struct turn *t = arg;

	t->proceed(t);
}

static const struct tool_round_handlers round_handlers = {
	.started = on_started,
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

enum step turn_tools(struct turn *t)
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
		.closed = turn_tools_used_up(t),
		.runs_left = calls_left(t),
	};
	const char *text = t->answer.text.len == 0 ? "" : t->answer.text.data;
	json_t *message = tool_round_message(o->calls, o->call_count, text, t->answer.text.len);

	remember_as_sent(t, message, o);
	if (json_array_append_new(t->conversation.messages, message) < 0)
		return turn_fail(t, NO_MEMORY);
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
		return turn_fail(t, NO_MEMORY);
	wake_when_due(t);
	return STEP_STAY;
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
		return turn_fail(t, NO_MEMORY);
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
