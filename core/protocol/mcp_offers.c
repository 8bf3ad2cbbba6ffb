/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/mcp_offers.h"

#include <stdlib.h>
#include <string.h>

#define MODEL_MAX  512u /* bytes */
#define THREAD_MAX 512u

#define SOURCES                                                                                                        \
	"\"sources\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"title\":{\"type\":"          \
	"\"string\"},\"url\":{\"type\":\"string\"}},\"required\":[\"url\"]}}"

static const struct mcp_offer offers[] = {
	{
		.name = "web_search",
		.title = "Web search",
		.description = "Searches the web and returns titles, addresses and excerpts of pages.",
		.tool = &tool_web_search,
		.output_schema =
			"{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\",\"description\":\"What was found\"}," SOURCES
			"},\"required\":[\"text\",\"sources\"]}",
		.is_read_only = true,
		.is_repeatable = true,
	},
	{
		.name = "document_search",
		.title = "Document search",
		.description =
			"Searches the collection of documents of this installation and returns the passages that fit.",
		.tool = &tool_document_search,
		.is_read_only = true,
		.is_repeatable = true,
		.is_closed = true,
	},
	{
		.name = "code_interpreter",
		.title = "Code interpreter",
		.description =
			"Runs Python code in a sandbox and returns what it prints. Each call has a sandbox of its own: nothing is "
			"left of the calls before it.",
		.tool = &tool_code_interpreter,
	},
	{
		.name = "chat",
		.title = "Ask a language model",
		.description =
			"Asks a language model of this installation and returns its whole answer. Without a model, or with a name "
			"that ends in :agent, the agent answers, which searches the web, reads documents and runs code where that "
			"helps; a model's plain name asks the model alone. llm_status lists the models.",
		.kind = MCP_OFFER_CHAT,
		.input_schema =
			"{\"type\":\"object\",\"properties\":{"
			"\"message\":{\"type\":\"string\",\"description\":\"What to ask\"},"
			"\"model\":{\"type\":\"string\",\"description\":\"The id of a model; by default the best one that runs, as the agent\"},"
			"\"system\":{\"type\":\"string\",\"description\":\"Instructions for the model\"},"
			"\"thread\":{\"type\":\"string\",\"description\":\"The name of a conversation that goes on; by default nothing is remembered\"},"
			"\"max_tokens\":{\"type\":\"integer\",\"minimum\":1,\"description\":\"The longest answer\"}},"
			"\"required\":[\"message\"]}",
		.output_schema =
			"{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\",\"description\":\"The answer\"},"
			"\"finish_reason\":{\"type\":\"string\",\"enum\":[\"stop\",\"length\"],\"description\":\"length: it ended at "
			"the limit of tokens\"}," SOURCES
			",\"usage\":{\"type\":\"object\",\"properties\":{\"prompt_tokens\":{\"type\":\"integer\"},"
			"\"completion_tokens\":{\"type\":\"integer\"}}}},\"required\":[\"text\",\"finish_reason\"]}",
	},
	{
		.name = "llm_status",
		.title = "Status of the language models",
		.description =
			"Says which language models run here, which of them are healthy, and which one answers now.",
		.kind = MCP_OFFER_STATUS,
		.input_schema = "{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}",
		.output_schema =
			"{\"type\":\"object\",\"properties\":{\"status\":{\"type\":\"string\",\"enum\":[\"ready\",\"waiting\"]},"
			"\"stale\":{\"type\":\"boolean\",\"description\":\"Nobody watches the models at the moment\"},"
			"\"models\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
			"\"id\":{\"type\":\"string\"},\"agent\":{\"type\":\"string\",\"description\":\"Its name as the agent\"},"
			"\"status\":{\"type\":\"string\"},\"usable\":{\"type\":\"boolean\"},\"current\":{\"type\":\"boolean\"},"
			"\"context_length\":{\"type\":\"integer\"}},\"required\":[\"id\",\"status\",\"usable\",\"current\"]}},"
			"\"tools\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}},"
			"\"required\":[\"status\",\"stale\",\"models\",\"tools\"]}",
		.is_read_only = true,
		.is_repeatable = true,
		.is_closed = true,
	},
};
#define OFFERS (sizeof offers / sizeof offers[0])

/* ---- which ---- */

static bool is_provided(const struct mcp_offer *o, const struct config *c)
{
	return o->tool == NULL || o->tool->available(c);
}

static bool is_allowed(const struct mcp_offer *o, const struct access_identity *who)
{
	return access_may_use_tool(who, o->name) || (o->tool != NULL && access_may_use_tool(who, o->tool->name));
}

const struct mcp_offer *mcp_offers_find(const struct config *c, const struct access_identity *who, const char *name,
                                        bool *allowed)
{
	for (const struct mcp_offer *o = offers; o < offers + OFFERS; o++) {
		if (strcmp(o->name, name) != 0 || !is_provided(o, c))
			continue;
		*allowed = is_allowed(o, who);
		return o;
	}
	return NULL;
}

static json_t *definition(const struct mcp_offer *o)
{
	const char *input = o->input_schema != NULL ? o->input_schema : o->tool->parameters;
	json_t *output = o->output_schema != NULL ? json_loads(o->output_schema, 0, NULL) : NULL;

	return json_pack("{s:s, s:s, s:s, s:o, s:o*, s:{s:s, s:b, s:b, s:b, s:b}}", "name", o->name, "title", o->title,
	                 "description", o->description, "inputSchema", json_loads(input, 0, NULL), "outputSchema",
	                 output, "annotations", "title", o->title, "readOnlyHint", o->is_read_only, "destructiveHint",
	                 false, "idempotentHint", o->is_repeatable, "openWorldHint", !o->is_closed);
}

json_t *mcp_offers_list(const struct config *c, const struct access_identity *who)
{
	json_t *list = json_array();

	for (const struct mcp_offer *o = offers; o < offers + OFFERS; o++)
		if (is_provided(o, c) && is_allowed(o, who) && json_array_append_new(list, definition(o)) < 0) {
			json_decref(list);
			return NULL;
		}
	return list;
}

/* ---- the arguments of chat ---- */

/* -1: it is there, but no text of at most max bytes (0: any number). */
static int take_text(const json_t *args, const char *name, size_t max, const char **out)
{
	const json_t *value = json_object_get(args, name);
	const char *text = json_string_value(value);

	*out = text;
	if (value == NULL || json_is_null(value))
		return 0;
	return text != NULL && strlen(text) == json_string_length(value) && (max == 0 || strlen(text) <= max) ? 0 : -1;
}

int mcp_offers_chat(const json_t *args, const struct mcp_reply *reply, struct chat_request *r, const char **sentence)
{
	const json_t *limit = json_object_get(args, "max_tokens");
	const char *message, *model, *system, *thread;

	memset(r, 0, sizeof *r);
	*sentence = NULL;
	if (take_text(args, "message", 0, &message) < 0 || message == NULL ||
	    message[strspn(message, " \t\r\n")] == '\0')
		*sentence =
			"The argument message is missing or empty. Call the tool again with {\"message\": \"...\"}.";
	else if (take_text(args, "model", MODEL_MAX, &model) < 0)
		*sentence = "The argument model must be the id of a model, as llm_status lists them, or be left out.";
	else if (take_text(args, "system", 0, &system) < 0)
		*sentence = "The argument system must be a text, or be left out.";
	else if (take_text(args, "thread", THREAD_MAX, &thread) < 0)
		*sentence = "The argument thread must be a text of at most 512 bytes, or be left out.";
	else if (limit != NULL && !json_is_null(limit) && (!json_is_integer(limit) || json_integer_value(limit) < 1))
		*sentence = "The argument max_tokens must be a whole number above 0, or be left out.";
	if (*sentence != NULL)
		return 1;
	r->messages = system != NULL && *system != '\0'
	                      ? json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "system", "content", system, "role",
	                                  "user", "content", message)
	                      : json_pack("[{s:s, s:s}]", "role", "user", "content", message);
	r->fields = json_object();
	if (json_is_integer(limit))
		json_object_set(r->fields, "max_tokens", (json_t *)(uintptr_t)limit);
	r->thread_id = strdup(thread != NULL ? thread : "");
	r->model_asked = model != NULL && *model != '\0' ? strdup(model) : NULL;
	r->envelope = mcp_reply_save(reply);
	if (r->messages != NULL && r->fields != NULL && r->thread_id != NULL && r->envelope != NULL &&
	    (r->model_asked != NULL || model == NULL || *model == '\0'))
		return 0;
	chat_request_clear(r);
	return -1;
}
