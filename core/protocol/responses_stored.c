/* SPDX-License-Identifier: Apache-2.0 */
/* Stored answers of the Responses API, as their endpoint has them: the answer, and what it answers. */
#include "core/protocol/responses.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PAGE     20 /* items of a list where the request does not say */
#define PAGE_MAX 100

static const char *key_in(const json_t *record)
{
	return json_string_value(json_object_get(record, "id")) + sizeof RESPONSES_ID - 1 + RESPONSES_THREAD;
}

static json_t *stored_message(const json_t *record, const json_t *message, unsigned number, bool last)
{
	json_t *annotations = last ? json_object_get(record, "annotations") : NULL;
	const char *status = json_string_value(json_object_get(record, "status"));
	json_t *id = json_sprintf("msg_%s%x", key_in(record), number);

	return json_pack("{s:o, s:s, s:s, s:s, s:[{s:s, s:o, s:[], s:O}]}", "id", id, "type", "message", "role",
	                 "assistant", "status", last && strcmp(status, "completed") != 0 ? "incomplete" : "completed",
	                 "content", "type", "output_text", "annotations",
	                 annotations != NULL ? json_incref(annotations) : json_array(), "logprobs", "text",
	                 json_object_get(message, "content"));
}

static json_t *stored_call(const json_t *record, const json_t *call, size_t number)
{
	const json_t *function = json_object_get(call, "function");
	json_t *id = json_sprintf("fc_%s%zx", key_in(record), number);

	return json_pack("{s:o, s:s, s:O, s:O, s:O, s:s}", "id", id, "type", "function_call", "call_id",
	                 json_object_get(call, "id"), "name", json_object_get(function, "name"), "arguments",
	                 json_object_get(function, "arguments"), "status", "completed");
}

/* What the tool said to this call of the message at turn[at]. */
static const json_t *result_of(const json_t *turn, size_t at, const char *call_id)
{
	while (++at < json_array_size(turn)) {
		const json_t *message = json_array_get(turn, at);
		const char *id = json_string_value(json_object_get(message, "tool_call_id"));

		if (id != NULL && strcmp(id, call_id) == 0)
			return json_object_get(message, "content");
	}
	return NULL;
}

/* A run of one of our tools, with what came of it. */
static json_t *stored_run(const json_t *run, const json_t *result)
{
	const char *type = json_string_value(json_object_get(run, "type"));
	json_t *item = json_copy((json_t *)(uintptr_t)run);
	bool failed = json_object_get(run, "error") != NULL && !json_is_null(json_object_get(run, "error"));

	json_object_del(item, "call_id");
	if (type != NULL && strcmp(type, "mcp_call") == 0)
		json_object_set_new(item, "output", failed ? json_null() : json_deep_copy(result));
	else if (type != NULL && strcmp(type, "code_interpreter_call") == 0)
		json_object_set_new(item, "outputs", json_pack("[{s:s, s:O}]", "type", "logs", "logs", result));
	return item;
}

/* The runs among the calls of the message at turn[at]; *next: the first one that is not there yet. Calls that were
 * refused are none. */
static void add_runs(json_t *output, const json_t *runs, size_t *next, const json_t *turn, size_t at)
{
	json_t *call;
	size_t i;

	json_array_foreach(json_object_get(json_array_get(turn, at), "tool_calls"), i, call)
	{
		const json_t *run = json_array_get(runs, *next);
		const char *id = json_string_value(json_object_get(call, "id")),
			   *run_id = json_string_value(json_object_get(run, "call_id"));

		if (id == NULL || run_id == NULL || strcmp(id, run_id) != 0)
			continue;
		json_array_append_new(output, stored_run(run, result_of(turn, at, id)));
		++*next;
	}
}

json_t *responses_stored(const json_t *record, const json_t *turn)
{
	size_t count = json_array_size(turn), at = (size_t)json_integer_value(json_object_get(record, "inputs")), i;
	json_t *response = json_copy((json_t *)(uintptr_t)record), *output = json_array(), *call;
	unsigned messages = 0;
	size_t run = 0;

	json_object_del(response, "inputs");
	json_object_del(response, "annotations");
	json_object_del(response, "runs");
	for (; at < count; at++) {
		const json_t *message = json_array_get(turn, at);
		bool last = at + 1 == count, is_empty = json_is_true(json_object_get(message, "empty"));
		const char *role = json_string_value(json_object_get(message, "role"));

		if (role == NULL || strcmp(role, "assistant") != 0)
			continue;
		if (!is_empty && json_string_length(json_object_get(message, "content")) > 0)
			json_array_append_new(output, stored_message(record, message, messages++, last));
		if (!last)
			add_runs(output, json_object_get(record, "runs"), &run, turn, at);
		else /* the calls before it were ours */
			json_array_foreach(json_object_get(message, "tool_calls"), i, call)
				json_array_append_new(output, stored_call(record, call, i));
	}
	json_object_set_new(response, "output", output);
	return response;
}

/* ---- what it answers ---- */

/* The parts of a message as the client sent them, but for images, which are stored as a word. */
static json_t *input_parts(const json_t *content, const char *type)
{
	json_t *parts = json_array(), *part;
	size_t i;

	if (json_is_string(content))
		json_array_append_new(parts, json_pack("{s:s, s:O}", "type", type, "text", content));
	json_array_foreach(content, i, part) if (json_is_string(json_object_get(part, "text"))) json_array_append_new(
		parts, json_pack("{s:s, s:O}", "type", type, "text", json_object_get(part, "text")));
	return parts;
}

static void add_input_message(json_t *items, const char *key, const char *role, const json_t *content)
{
	bool is_answer = strcmp(role, "assistant") == 0;

	if (is_answer && json_string_length(content) == 0)
		return;
	json_array_append_new(
		items, json_pack("{s:o, s:s, s:s, s:s, s:o}", "id",
	                         json_sprintf("msg_%si%zx", key, json_array_size(items)), "type", "message", "role",
	                         is_answer || strcmp(role, "user") == 0 ? role : "developer", "status", "completed",
	                         "content", input_parts(content, is_answer ? "output_text" : "input_text")));
}

static void add_input_items(json_t *items, const char *key, const json_t *message)
{
	const char *role = json_string_value(json_object_get(message, "role"));
	const json_t *content = json_object_get(message, "content");
	json_t *call;
	size_t i;

	if (role == NULL)
		return;
	if (strcmp(role, "tool") == 0) {
		json_array_append_new(items, json_pack("{s:o, s:s, s:O*, s:O*, s:s}", "id",
		                                       json_sprintf("fco_%si%zx", key, json_array_size(items)), "type",
		                                       "function_call_output", "call_id",
		                                       json_object_get(message, "tool_call_id"), "output", content,
		                                       "status", "completed"));
		return;
	}
	add_input_message(items, key, role, content);
	json_array_foreach(json_object_get(message, "tool_calls"), i, call)
	{
		const json_t *function = json_object_get(call, "function");

		json_array_append_new(items, json_pack("{s:o, s:s, s:O*, s:O*, s:O*, s:s}", "id",
		                                       json_sprintf("fc_%si%zx", key, json_array_size(items)), "type",
		                                       "function_call", "call_id", json_object_get(call, "id"), "name",
		                                       json_object_get(function, "name"), "arguments",
		                                       json_object_get(function, "arguments"), "status", "completed"));
	}
}

json_t *responses_inputs(const json_t *record, const json_t *turn)
{
	size_t count = (size_t)json_integer_value(json_object_get(record, "inputs"));
	json_t *items = json_array();

	for (size_t i = 0; i < count && i < json_array_size(turn); i++)
		add_input_items(items, key_in(record), json_array_get(turn, i));
	return items;
}

json_t *responses_messages(const json_t *turn, const char *key)
{
	json_t *items = json_array(), *message;
	size_t i;

	json_array_foreach(turn, i, message) add_input_items(items, key, message);
	return items;
}

struct responses_range responses_range_of(const char *order, const char *limit)
{
	const long number = limit != NULL ? strtol(limit, NULL, 10) : PAGE;

	return (struct responses_range){.ascending = order != NULL && strcmp(order, "asc") == 0,
	                                .limit = number < 1          ? 1
	                                         : number > PAGE_MAX ? PAGE_MAX
	                                                             : (size_t)number};
}

static const char *id_at(const json_t *items, size_t i)
{
	return json_string_value(json_object_get(json_array_get(items, i), "id"));
}

json_t *responses_page(const json_t *items, const struct responses_range *range)
{
	size_t count = json_array_size(items), from = 0, length;
	json_t *data = json_array();

	for (size_t i = 0; range->after != NULL && i < count; i++)
		if (strcmp(id_at(items, i), range->after) == 0)
			from = range->ascending ? i + 1 : count - i;
	for (size_t i = from; i < count && i - from < range->limit; i++)
		json_array_append(data, json_array_get(items, range->ascending ? i : count - 1 - i));
	length = json_array_size(data);
	return json_pack("{s:s, s:o, s:s?, s:s?, s:b}", "object", "list", "data", data, "first_id",
	                 length > 0 ? id_at(data, 0) : NULL, "last_id", length > 0 ? id_at(data, length - 1) : NULL,
	                 "has_more", from + length < count);
}
