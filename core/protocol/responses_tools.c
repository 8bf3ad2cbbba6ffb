/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of an answer of the Responses API: those of the client's tools, and the runs of tools of this service,
 * each of which is an item of a type of its own. */
#include "core/protocol/responses_private.h"

#include "core/base/json_text.h"
#include "core/tools/tool.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a tool of this service is in this API. */
struct run_kind {
	const struct tool *tool; /* NULL: those of MCP servers */
	const char *id, *type;   /* of its items: how ids begin */
	const char *working;     /* the event after the one that it is in progress; NULL: none */
	const char *argument;    /* the member that comes in events of its own; NULL: none */
	const char *argument_event;
	bool tells_failure; /* by an event; where not, the item has it as its status */
};

static const struct run_kind kinds[] = {
	{.tool = &tool_web_search, .id = "ws", .type = "web_search_call", .working = "searching"},
	{.tool = &tool_document_search, .id = "fs", .type = "file_search_call", .working = "searching"},
	{.tool = &tool_code_interpreter,
         .id = "ci",
         .type = "code_interpreter_call",
         .working = "interpreting",
         .argument = "code",
         .argument_event = "response.code_interpreter_call_code"},
	{.id = "mcp",
         .type = "mcp_call",
         .argument = "arguments",
         .argument_event = "response.mcp_call_arguments",
         .tells_failure = true},
};

static const struct run_kind *run_kind_of(const struct tool *tool)
{
	const struct run_kind *k = kinds;

	while (k->tool != NULL && k->tool != tool)
		k++;
	return k;
}

static json_t *sources_json(const struct tool_result *result)
{
	json_t *sources = json_array();

	for (size_t i = 0; result != NULL && i < result->source_count; i++)
		if (protocol_is_link(result->sources[i].url))
			json_array_append_new(sources,
			                      json_pack("{s:s, s:s}", "type", "url", "url", result->sources[i].url));
	return sources;
}

static json_t *text_json(const struct tool_result *result)
{
	return json_text_value(result->text != NULL ? result->text : "The tool was stopped.");
}

static void add_search(json_t *item, const struct tool_run_info *run, const struct tool_result *result)
{
	const char *subject = json_string_value(json_object_get(run->args, run->tool->subject));

	subject = subject != NULL ? subject : "";
	if (run->tool == &tool_web_search)
		json_object_set_new(item, "action",
		                    json_pack("{s:s, s:s, s:[s], s:o}", "type", "search", "query", subject, "queries",
		                              subject, "sources", sources_json(result)));
	else
		json_object_update_new(item, json_pack("{s:[s], s:n}", "queries", subject, "results"));
}

static void add_code(json_t *item, const struct tool_run_info *run, const struct tool_result *result)
{
	json_t *code = json_object_get(run->args, run->tool->code);
	json_t *outputs = result != NULL ? json_pack("[{s:s, s:o}]", "type", "logs", "logs", text_json(result)) : NULL;

	json_object_update_new(item, json_pack("{s:O, s:s, s:o?}", "code", json_is_string(code) ? code : json_null(),
	                                       "container_id", "auto", "outputs", outputs));
}

static void add_mcp(json_t *item, const struct tool_run_info *run, const struct tool_result *result)
{
	char *arguments = json_dumps(run->args, JSON_COMPACT);
	json_t *output = NULL, *error = NULL;

	if (result != NULL && result->failed)
		error = json_pack("{s:s, s:[{s:s, s:o}]}", "type", "mcp_tool_execution_error", "content", "type",
		                  "text", "text", text_json(result));
	else if (result != NULL)
		output = text_json(result);
	json_object_update_new(item,
	                       json_pack("{s:s, s:s, s:s, s:n, s:o?, s:o?}", "server_label",
	                                 run->tool->server != NULL ? run->tool->server : "", "name",
	                                 run->tool->server_tool != NULL ? run->tool->server_tool : run->tool->name,
	                                 "arguments", arguments != NULL ? arguments : "{}", "approval_request_id",
	                                 "output", output, "error", error));
	free(arguments);
}

/* The item of a run with what came of it, or, without a result, of one that still runs: a new reference; NULL: no
 * memory. */
static json_t *run_item(const struct run_kind *kind, const char *id, const struct tool_run_info *run,
                        const struct tool_result *result)
{
	const char *status = result == NULL ? "in_progress" : result->failed ? "failed" : "completed";
	json_t *item = json_pack("{s:s, s:s, s:s}", "id", id, "type", kind->type, "status", status);

	if (item == NULL)
		return NULL;
	if (kind->tool == NULL)
		add_mcp(item, run, result);
	else if (kind->argument != NULL)
		add_code(item, run, result);
	else
		add_search(item, run, result);
	return item;
}

/* ---- runs of tools of this service ---- */

/* An event of the item in that place; how: the end of its name. */
static int put_run_event(struct responses_reply *c, const struct run *run, const char *how)
{
	char type[80];

	snprintf(type, sizeof type, "response.%s.%s", json_string_value(json_object_get(run->item, "type")), how);
	return responses_event_begin(c, type) |
	       buf_addf(&c->frame, ",\"item_id\":\"%s\",\"output_index\":%u",
	                json_string_value(json_object_get(run->item, "id")), run->place) |
	       responses_event_end(c);
}

/* The argument that comes in pieces elsewhere: in one. */
static int put_argument(struct responses_reply *c, const struct run_kind *kind, const struct run *run)
{
	const json_t *argument = json_object_get(run->item, kind->argument);
	char type[80];
	int failed = 0;

	for (int done = 0; done < 2; done++) {
		snprintf(type, sizeof type, "%s.%s", kind->argument_event, done ? "done" : "delta");
		failed |= responses_event_begin(c, type) |
		          buf_addf(&c->frame, ",\"item_id\":\"%s\",\"output_index\":%u,\"%s\":",
		                   json_string_value(json_object_get(run->item, "id")), run->place,
		                   done ? kind->argument : "delta") |
		          responses_put_json(&c->frame, argument) | responses_event_end(c);
	}
	return failed;
}

static int put_run_begun(struct responses_reply *c, const struct run_kind *kind, const struct run *run)
{
	const bool comes_later = json_is_string(json_object_get(run->item, kind->argument));
	json_t *added = json_copy(run->item);
	int failed;

	if (comes_later)
		json_object_set_new(added, kind->argument, json_string(""));
	failed = responses_put_added(c, run->place, added) | put_run_event(c, run, "in_progress");
	json_decref(added);
	if (comes_later)
		failed |= put_argument(c, kind, run);
	return failed | (kind->working != NULL ? put_run_event(c, run, kind->working) : 0);
}

void responses_run_begun(struct reply *r, const struct tool_run_info *info)
{
	struct responses_reply *c = responses_of(r);
	const struct run_kind *kind = run_kind_of(info->tool);
	struct run *run = c->running;
	char id[RESPONSES_KEY + 20];
	int failed = 0;

	c->used_tools = true; /* their results are lost with the program */
	responses_next_item(c);
	while (run->item != NULL)
		run++; /* no more than CALLS_MAX run at once */
	snprintf(id, sizeof id, "%s_%s%x", kind->id, responses_own_key(c), c->runs++);
	if (c->ran == NULL)
		c->ran = json_array();
	json_array_append_new(c->ran, json_null());
	*run = (struct run){.item = run_item(kind, id, info, NULL),
	                    .number = info->number,
	                    .place = c->items++,
	                    .stored = json_array_size(c->ran) - 1};
	if (run->item == NULL)
		failed = -1;
	else if (c->streams)
		failed = put_run_begun(c, kind, run);
	responses_send(c, failed);
}

/* For the stored answer. What came of it is there with the messages of the turn. */
static void remember_run(struct responses_reply *c, const struct run *run, const char *call_id, const json_t *item)
{
	json_t *copy = json_copy((json_t *)(uintptr_t)item);

	json_object_del(copy, "output");
	json_object_del(copy, "outputs");
	json_object_set_new(copy, "call_id", json_string(call_id));
	json_array_set_new(c->ran, run->stored, copy);
}

/* item: as it is in the end (stolen). */
static void end_run(struct responses_reply *c, struct run *run, json_t *item, const char *how)
{
	char *text = item != NULL ? json_dumps(item, JSON_COMPACT) : NULL;
	int failed = text == NULL ? -1 : responses_add_item(c, run->place, text, strlen(text));

	json_decref(run->item);
	run->item = item;
	if (failed == 0 && c->streams)
		failed = (how != NULL ? put_run_event(c, run, how) : 0) |
		         responses_put_done(c, run->place, text, strlen(text));
	json_decref(item);
	run->item = NULL;
	responses_send(c, failed);
	free(text);
}

void responses_run_ended(struct reply *r, const struct tool_run_info *info, const struct tool_result *result)
{
	struct responses_reply *c = responses_of(r);
	const struct run_kind *kind = run_kind_of(info->tool);
	const char *how = !result->failed ? "completed" : kind->tells_failure ? "failed" : NULL;
	json_t *item;

	for (size_t i = 0; i < CALLS_MAX; i++) {
		struct run *run = &c->running[i];

		if (run->item == NULL || run->number != info->number)
			continue;
		item = run_item(kind, json_string_value(json_object_get(run->item, "id")), info, result);
		if (item != NULL && !c->forgets)
			remember_run(c, run, info->id, item);
		end_run(c, run, item, how);
		return;
	}
}

void responses_end_runs(struct responses_reply *c)
{
	for (size_t i = 0; i < CALLS_MAX; i++) {
		struct run *run = &c->running[i];
		json_t *item = run->item != NULL ? json_copy(run->item) : NULL;

		if (run->item == NULL)
			continue;
		json_object_set_new(item, "status", json_string("incomplete"));
		end_run(c, run, item, NULL);
	}
}

/* ---- calls of the client's tools ---- */

static int put_quoted(struct buf *to, const char *text, size_t len)
{
	return buf_adds(to, "\"") | json_text_add(to, text, len) | buf_adds(to, "\"");
}

static json_t *call_json(const char *id, const struct call *call, const char *status, size_t len)
{
	json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s%, s:s}", "id", id, "type", "function_call", "call_id",
	                         call->id, "name", call->name, "arguments", call->arguments, len, "status", status);

	openai_add_extra(json, call);
	return json;
}

static int put_call_events(struct responses_reply *c, const char *id, const struct call *call, const char *item)
{
	struct buf *frame = &c->frame;
	json_t *begun = call_json(id, call, "in_progress", 0);
	int failed = responses_put_added(c, c->items, begun);

	json_decref(begun);
	for (int done = 0; done < 2; done++) {
		failed |= responses_event_begin(c, done ? "response.function_call_arguments.done"
		                                        : "response.function_call_arguments.delta") |
		          buf_addf(frame, ",\"item_id\":\"%s\",\"output_index\":%u", id, c->items);
		if (done)
			failed |= buf_adds(frame, ",\"name\":") | put_quoted(frame, call->name, strlen(call->name));
		failed |= buf_adds(frame, done ? ",\"arguments\":" : ",\"delta\":") |
		          put_quoted(frame, call->arguments, call->len) | responses_event_end(c);
	}
	return failed | responses_put_done(c, c->items, item, strlen(item));
}

static void put_call(struct responses_reply *c, const struct call *call)
{
	char id[RESPONSES_KEY + 20];
	json_t *json;
	char *item;
	int failed;

	snprintf(id, sizeof id, "fc_%s%x", responses_own_key(c), c->count[KIND_NONE]);
	json = call_json(id, call, call->cut ? "incomplete" : "completed", call->len);
	item = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
	failed = item == NULL ? -1 : responses_add_item(c, c->items, item, strlen(item));
	if (failed == 0 && c->streams)
		failed = put_call_events(c, id, call, item);
	c->count[KIND_NONE]++;
	c->items++;
	responses_send(c, failed);
	free(item);
	json_decref(json);
}

void responses_calls(struct reply *r, const struct call *const *calls, size_t count)
{
	struct responses_reply *c = responses_of(r);

	responses_next_item(c);
	for (size_t i = 0; i < count; i++)
		put_call(c, calls[i]);
}
