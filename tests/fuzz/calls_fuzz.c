/* SPDX-License-Identifier: Apache-2.0 */
/* Events of a stream, one a line, as servers write tool calls; a line that begins with '!'
 * is a text-encoded call. Whatever comes, each call ends with an id, a name and
 * one result, in a message that servers can parse. */
#include "core/stream/calls.h"
#include "core/stream/chunk.h"
#include "core/turn/tool_round.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void on_started(void *arg, const struct tool_run_info *run)
{
	(void)arg, (void)run;
	abort(); /* the defaults provide no tool */
}

static void on_finished(void *arg, const struct tool_run_info *run, const struct tool_result *result)
{
	(void)arg, (void)run, (void)result;
	abort();
}

static void on_ended(void *arg)
{
	*(bool *)arg = true;
}

static json_t *run(const struct call *const *calls, size_t count, bool closed)
{
	static const struct tool_round_handlers handlers = {
		.started = on_started, .finished = on_finished, .ended = on_ended};
	static struct event_base *base;
	static struct toolbox *box;
	struct tool_context ctx = {.config = fuzz_config(), .thread = ""};
	struct tool_round_place place = {.context = &ctx, .closed = closed, .runs_left = CALLS_MAX};
	struct tool_round *round;
	json_t *results;
	bool ended = false;

	if (base == NULL) {
		base = event_base_new();
		box = toolbox_new(base, NULL, NULL);
	}
	ctx.base = base;
	place.box = box;
	round = tool_round_start(&place, calls, count, &handlers, &ended);
	fuzz_require(round != NULL);
	event_base_loop(base, EVLOOP_NONBLOCK);
	fuzz_require(ended);
	results = tool_round_results(round);
	tool_round_free(round);
	return results;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	fuzz_require(text != NULL);
	return text;
}

static void check(const struct calls *calls)
{
	const struct call *items[CALLS_MAX];
	json_t *message, *open, *closed;
	const json_t *made;

	for (size_t i = 0; i < calls->count; i++)
		items[i] = &calls->items[i];
	message = tool_round_message(items, calls->count, "x", 1);
	open = run(items, calls->count, false);
	closed = run(items, calls->count, true);
	made = json_object_get(message, "tool_calls");

	fuzz_require(json_array_size(made) == calls->count && json_array_size(open) == calls->count &&
	             json_array_size(closed) == calls->count);
	for (size_t i = 0; i < calls->count; i++) {
		const json_t *call = json_array_get(made, i), *function = json_object_get(call, "function");
		json_t *arguments = json_loads(text_of(function, "arguments"), 0, NULL);

		fuzz_require(json_is_object(arguments));
		fuzz_require(strcmp(text_of(function, "name"), calls->items[i].name) == 0);
		fuzz_require(strcmp(text_of(call, "id"), text_of(json_array_get(open, i), "tool_call_id")) == 0);
		text_of(json_array_get(open, i), "content");
		text_of(json_array_get(closed, i), "content");
		json_decref(arguments);
	}
	json_decref(message);
	json_decref(open);
	json_decref(closed);
}

static void take_line(struct calls *calls, struct chunk_reader *reader, const char *line, size_t len)
{
	char *event = fuzz_copy(line, len), *text;
	struct chunk c;

	if (len > 0 && *event == '!') {
		text = fuzz_text(event + 1, len - 1);
		calls_add(calls, "t", text);
		free(text);
	} else {
		chunk_read(reader, event, len, &c);
		if (c.tool_calls != NULL)
			calls_merge(calls, c.tool_calls, false);
	}
	free(event);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const char *text = (const char *)data;
	static const char *const tools[] = {"t", "other_tool", NULL};
	struct chunk_reader reader;
	struct calls calls;

	calls_init(&calls, tools);
	chunk_reader_init(&reader);
	for (size_t at = 0; at < len;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t part = end != NULL ? (size_t)(end - text) - at : len - at;

		take_line(&calls, &reader, text + at, part);
		at += part + 1;
	}
	fuzz_require(calls_finish(&calls, false) == 0 && calls.count <= CALLS_MAX);
	if (calls.count > 0)
		check(&calls);
	calls_clear(&calls);
	chunk_reader_free(&reader);
	return 0;
}
