#include "core/chat/turn_private.h"

#include "core/base/clock.h"

#define KEEP_ALIVE_MS 10000

static void on_tool_started(void *arg, const struct tool *tool, const json_t *args)
{
	struct turn *t = arg;
	const char *query = json_string_value(json_object_get(args, "query"));

	t->tool_runs++;
	if (tool->shows == TOOL_SHOWS_CODE)
		emitter_running_code(answer_emitter(t->answer));
	else
		emitter_search(answer_emitter(t->answer), query == NULL ? "" : query);
}

static void on_tool_finished(void *arg, const struct tool *tool, const struct tool_result *result)
{
	struct turn *t = arg;

	(void)tool;
	for (size_t i = 0; i < result->source_count; i++)
		emitter_source(answer_emitter(t->answer), result->sources[i].title, result->sources[i].url);
	if (result->source_count == 0)
		emitter_tool_done(answer_emitter(t->answer));
}

static void on_round_ended(void *arg, const json_t *results)
{
	struct turn *t = arg;

	t->round = NULL;
	json_array_extend(t->messages, (json_t *)(uintptr_t)results);
	t->rounds++;
	t->tried.count = 0; /* a new ask: its candidates are all open again */
	turn_ask_next(t);
}

static const struct tool_round_handlers round_handlers = {
	.started = on_tool_started,
	.finished = on_tool_finished,
	.ended = on_round_ended,
};

void turn_run_tools(struct turn *t)
{
	size_t len;
	const char *text = answer_text(t->answer, &len);

	t->state = TURN_TOOLS;
	json_array_append_new(t->messages, tool_round_message(&t->calls, text, len));
	answer_begin(t->answer);
	t->tool_context = (struct tool_context){
		.base = t->host->base,
		.http = t->host->http,
		.config = t->config,
		.thread = t->sandbox,
	};
	t->round = tool_round_start(t->host->toolbox, &t->tool_context, &t->calls, t->asked, &round_handlers, t);
	calls_clear(&t->calls);
	turn_wake_in(t, KEEP_ALIVE_MS);
	if (t->round == NULL)
		turn_fail(t, "The tools could not be run because memory is out. Please try again in a moment.");
}

/* In TURN_TOOLS: proxies are shown that the answer is still coming; what runs too long is
 * ended, and the model answers with what it has. */
void turn_watch_tools(struct turn *t)
{
	if (clock_mono_ms() >= t->tools_deadline_ms) {
		tool_round_expire(t->round);
		return;
	}
	emitter_keep_alive(answer_emitter(t->answer));
	turn_wake_in(t, KEEP_ALIVE_MS);
}
