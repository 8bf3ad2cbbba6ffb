/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"

#define KEEP_ALIVE_MS 10000
#define NO_MEMORY     "The tools could not be run because memory is out. Please try again in a moment."

static void on_tool_started(void *arg, const struct tool *tool, const json_t *args)
{
	struct turn *t = arg;
	const char *subject = tool->subject == NULL ? NULL : json_string_value(json_object_get(args, tool->subject));

	t->tool_runs++;
	if (tool->subject == NULL)
		emitter_running_code(answer_emitter(t->answer));
	else
		emitter_search(answer_emitter(t->answer), subject == NULL ? "" : subject);
}

static void on_tool_finished(void *arg, const struct tool *tool, const struct tool_result *result)
{
	struct turn *t = arg;
	size_t shown = 0;

	(void)tool;
	for (size_t i = 0; i < result->source_count; i++)
		shown += emitter_source(answer_emitter(t->answer), result->sources[i].title, result->sources[i].url);
	if (shown == 0)
		emitter_tool_done(answer_emitter(t->answer));
}

static void on_round_ended(void *arg, const json_t *results)
{
	struct turn *t = arg;

	t->round = NULL;
	t->tools_left_ms -= clock_mono_ms() - t->tools_began_ms;
	if (results == NULL || json_array_extend(t->messages, (json_t *)(uintptr_t)results) < 0) {
		turn_fail(t, NO_MEMORY);
		return;
	}
	t->rounds++;
	t->tried.count = 0; /* a new ask: its candidates are all open again */
	turn_ask_next(t);
}

static const struct tool_round_handlers round_handlers = {
	.started = on_tool_started,
	.finished = on_tool_finished,
	.ended = on_round_ended,
};

bool turn_tools_used_up(const struct turn *t)
{
	return t->rounds >= (unsigned)cfg_int(t->config, CFG_LIMITS_TOOL_ROUNDS) || t->tools_left_ms <= 0;
}

/* Until proxies must be shown that the answer is still coming, or until the tools' time
 * or the turn's is over. */
static void wake_when_due(struct turn *t)
{
	int64_t now = clock_mono_ms(), due = t->keep_alive_ms;

	if (t->tools_began_ms + t->tools_left_ms < due)
		due = t->tools_began_ms + t->tools_left_ms;
	if (t->deadline_ms < due)
		due = t->deadline_ms;
	turn_wake_in(t, due > now ? due - now : 0);
}

void turn_run_tools(struct turn *t)
{
	const struct tool_round_place place = {
		.box = t->host->toolbox,
		.ctx = &t->tool_context,
		.asked = t->asked,
		.closed = turn_tools_used_up(t),
	};
	size_t len;
	const char *text = answer_text(t->answer, &len);

	t->state = TURN_TOOLS;
	if (json_array_append_new(t->messages, tool_round_message(&t->calls, text, len)) < 0) {
		turn_fail(t, NO_MEMORY);
		return;
	}
	answer_begin(t->answer);
	t->tool_context = (struct tool_context){
		.base = t->host->base,
		.http = t->host->http,
		.config = t->config,
		.thread = t->sandbox,
		.idle_ms = store_idle_ms(t->config, t->chat.thread_id),
	};
	t->tools_began_ms = clock_mono_ms();
	t->keep_alive_ms = t->tools_began_ms + KEEP_ALIVE_MS;
	t->round = tool_round_start(&place, &t->calls, &round_handlers, t);
	calls_clear(&t->calls);
	wake_when_due(t);
	if (t->round == NULL)
		turn_fail(t, NO_MEMORY);
}

/* In TURN_TOOLS: proxies are shown that the answer is still coming; what runs too long is
 * ended, and the model answers with what it has. */
void turn_watch_tools(struct turn *t)
{
	int64_t now = clock_mono_ms();

	if (now >= t->tools_began_ms + t->tools_left_ms || now >= t->deadline_ms) {
		tool_round_expire(t->round);
		return;
	}
	if (now >= t->keep_alive_ms) {
		emitter_keep_alive(answer_emitter(t->answer));
		t->keep_alive_ms = now + KEEP_ALIVE_MS;
	}
	wake_when_due(t);
}
