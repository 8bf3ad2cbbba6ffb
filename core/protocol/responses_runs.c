/* SPDX-License-Identifier: Apache-2.0 */
/* Runs of tools of this service as items of the Responses API: what each of its tools is there. */
#include "core/base/json_text.h"
#include "core/protocol/protocol.h"
#include "core/protocol/responses.h"
#include "core/tools/tool.h"

#include <stdlib.h>
#include <string.h>

static const struct responses_run_kind kinds[] = {
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

const struct responses_run_kind *responses_run_kind(const struct tool *tool)
{
	const struct responses_run_kind *k = kinds;

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

json_t *responses_run_item(const struct responses_run_kind *kind, const char *id, const struct tool_run_info *run,
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
