/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /v1/messages becomes a request for a chat completion, which the servers of LLMs know. What
 * that API has no form for is left out where it only advises the server (cache_control, context_management), and
 * refused where something of the conversation would be lost. */
#include "core/protocol/messages.h"

#include "core/base/buf.h"
#include "core/protocol/openai.h"

#include <stdlib.h>
#include <string.h>

#define CONTENT_MAX ((size_t)64 << 20)
#define COUNT(a)    (sizeof(a) / sizeof(a)[0])

json_t *messages_error(const char *type, const char *message)
{
	return json_pack("{s:s, s:{s:s, s:s}}", "type", "error", "error", "type", type, "message",
	                 message != NULL ? message : "");
}

/* A conversation on its way. */
struct taking {
	struct chat_request *r;
	struct openai_problem *p;
	json_t *out;  /* the messages so far */
	size_t index; /* of the message that is read */
	bool failed;  /* no memory */
};

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text != NULL ? text : "";
}

static bool is_type(const json_t *block, const char *type)
{
	return strcmp(text_of(block, "type"), type) == 0;
}

/* Steals the value. */
static void append(struct taking *t, json_t *array, json_t *value)
{
	t->failed |= json_array_append_new(array, value) < 0;
}

static void set(struct taking *t, json_t *object, const char *name, json_t *value)
{
	t->failed |= json_object_set_new(object, name, value) < 0;
}

static int unknown_block(struct taking *t, const json_t *block)
{
	return openai_wrong(t->p, NULL, "messages.%zu: content of the type \"%.60s\" is not supported here.", t->index,
	                    text_of(block, "type"));
}

/* ---- what a user sends ------------------------------------------------------------------------ */

/* Of a member that is a text; else an empty one. */
static json_t *text_part(const json_t *object, const char *name)
{
	json_t *text = json_object_get(object, name);

	return json_pack("{s:s, s:o}", "type", "text", "text",
	                 json_is_string(text) ? json_incref(text) : json_string(""));
}

/* The URL of what is in a source, or its data as one; NULL: another kind of source, or no memory. */
static json_t *url_of(const json_t *source)
{
	if (is_type(source, "url") && json_is_string(json_object_get(source, "url")))
		return json_incref(json_object_get(source, "url"));
	if (is_type(source, "base64") && json_is_string(json_object_get(source, "data")))
		return json_sprintf("data:%s;base64,%s", text_of(source, "media_type"), text_of(source, "data"));
	return NULL;
}

static int take_block(struct taking *t, const json_t *block, json_t *parts);

static int take_blocks(struct taking *t, const json_t *blocks, json_t *parts)
{
	const json_t *block;
	size_t i;
	int result = 0;

	if (json_is_string(blocks)) {
		append(t, parts, json_pack("{s:s, s:O}", "type", "text", "text", blocks));
		return 0;
	}
	for (i = 0; result == 0 && (block = json_array_get(blocks, i)) != NULL; i++)
		result = take_block(t, block, parts);
	return result;
}

static int take_document(struct taking *t, const json_t *block, json_t *parts)
{
	const json_t *source = json_object_get(block, "source");
	const char *title = text_of(block, "title");
	json_t *url;

	if (*title != '\0')
		append(t, parts, text_part(block, "title"));
	if (is_type(source, "text")) {
		append(t, parts, text_part(source, "data"));
		return 0;
	}
	if (is_type(source, "content"))
		return take_blocks(t, json_object_get(source, "content"), parts);
	url = is_type(source, "base64") ? url_of(source) : NULL;
	if (url == NULL)
		return unknown_block(t, block);
	append(t, parts,
	       json_pack("{s:s, s:{s:s, s:o}}", "type", "file", "file", "filename", *title != '\0' ? title : "document",
	                 "file_data", url));
	return 0;
}

static int take_block(struct taking *t, const json_t *block, json_t *parts)
{
	json_t *url;

	if (is_type(block, "text")) {
		append(t, parts, text_part(block, "text"));
		return 0;
	}
	if (is_type(block, "image")) {
		url = url_of(json_object_get(block, "source"));
		if (url == NULL)
			return unknown_block(t, block);
		append(t, parts, json_pack("{s:s, s:{s:o}}", "type", "image_url", "image_url", "url", url));
		t->r->has_images = true;
		return 0;
	}
	if (is_type(block, "document"))
		return take_document(t, block, parts);
	if (is_type(block, "search_result")) {
		append(t, parts, text_part(block, "title"));
		append(t, parts, text_part(block, "source"));
		return take_blocks(t, json_object_get(block, "content"), parts);
	}
	return unknown_block(t, block);
}

/* Parts as a content: as one string where all are text, which every server's templates understand. NULL: no
 * memory. */
static json_t *content_of(const json_t *parts, const char *before)
{
	struct buf text = BUF_INIT(CONTENT_MAX);
	const json_t *part;
	json_t *content;
	size_t i;
	int failed = buf_adds(&text, before);

	json_array_foreach(parts, i, part)
	{
		const json_t *value = json_object_get(part, "text");

		if (value == NULL) {
			buf_free(&text);
			return json_incref((json_t *)(uintptr_t)parts);
		}
		failed |= i > 0 && buf_adds(&text, "\n\n") < 0;
		failed |= buf_add(&text, json_string_value(value), json_string_length(value)) < 0;
	}
	content = failed ? NULL : json_stringn(text.len > 0 ? text.data : "", text.len);
	buf_free(&text);
	return content;
}

/* It becomes a message of its own; its images are the user's, as results of tools are text in that API. */
static int take_result(struct taking *t, const json_t *block, json_t *parts)
{
	json_t *all = json_array(), *texts = json_array(), *part;
	int result = take_blocks(t, json_object_get(block, "content"), all);
	size_t i;

	json_array_foreach(all, i, part)
	{
		if (json_object_get(part, "text") != NULL)
			t->failed |= json_array_append(texts, part) < 0;
		else
			t->failed |= json_array_append(parts, part) < 0;
	}
	if (result == 0)
		append(t, t->out,
		       json_pack("{s:s, s:s, s:o}", "role", "tool", "tool_call_id", text_of(block, "tool_use_id"),
		                 "content",
		                 content_of(texts, json_is_true(json_object_get(block, "is_error")) ? "Error: " : "")));
	json_decref(all);
	json_decref(texts);
	return result;
}

static int take_user(struct taking *t, const json_t *content, const char *role)
{
	json_t *parts = json_array();
	const json_t *block;
	size_t i;
	int result = 0;

	if (json_is_string(content))
		result = take_blocks(t, content, parts);
	for (i = 0; result == 0 && (block = json_array_get(content, i)) != NULL; i++)
		result = is_type(block, "tool_result") ? take_result(t, block, parts) : take_block(t, block, parts);
	if (result == 0 && json_array_size(parts) > 0)
		append(t, t->out, json_pack("{s:s, s:o}", "role", role, "content", content_of(parts, "")));
	json_decref(parts);
	return result;
}

/* ---- what the model said ------------------------------------------------------------------------ */

static json_t *call_of(const json_t *block)
{
	json_t *input = json_object_get(block, "input");
	char *arguments = json_dumps(json_is_object(input) ? input : NULL, JSON_COMPACT);
	json_t *call = json_pack("{s:s, s:s, s:{s:s, s:s}}", "id", text_of(block, "id"), "type", "function", "function",
	                         "name", text_of(block, "name"), "arguments", arguments != NULL ? arguments : "{}");

	free(arguments);
	return call;
}

static void add_text(struct taking *t, struct buf *to, const json_t *text)
{
	if (json_is_string(text))
		t->failed |= buf_add(to, json_string_value(text), json_string_length(text)) < 0;
}

/* Its reasoning matters where it called tools, and the model goes on from that. */
static int take_assistant(struct taking *t, const json_t *content)
{
	struct buf text = BUF_INIT(CONTENT_MAX), reasoning = BUF_INIT(CONTENT_MAX);
	json_t *calls = json_array(), *message;
	const json_t *block;
	size_t i;
	int result = 0;

	add_text(t, &text, content);
	for (i = 0; result == 0 && (block = json_array_get(content, i)) != NULL; i++) {
		if (is_type(block, "text"))
			add_text(t, &text, json_object_get(block, "text"));
		else if (is_type(block, "thinking"))
			add_text(t, &reasoning, json_object_get(block, "thinking"));
		else if (is_type(block, "tool_use"))
			append(t, calls, call_of(block));
		else if (!is_type(block, "redacted_thinking")) /* which only its own server can read */
			result = unknown_block(t, block);
	}
	message = json_pack("{s:s, s:o}", "role", "assistant", "content",
	                    text.len > 0 || json_array_size(calls) == 0
	                            ? json_stringn(text.len > 0 ? text.data : "", text.len)
	                            : json_null());
	if (json_array_size(calls) > 0) {
		set(t, message, "tool_calls", json_incref(calls));
		if (reasoning.len > 0)
			set(t, message, "reasoning_content", json_stringn(reasoning.data, reasoning.len));
	}
	append(t, t->out, message);
	json_decref(calls);
	buf_free(&text);
	buf_free(&reasoning);
	return result;
}

static int take_messages(struct taking *t, const json_t *body)
{
	const json_t *messages = json_object_get(body, "messages"), *message;
	int result = 0;

	if (!json_is_array(messages) || json_array_size(messages) == 0)
		return openai_wrong(t->p, NULL, "messages: an array with at least one message is required.");
	for (t->index = 0; result == 0 && (message = json_array_get(messages, t->index)) != NULL; t->index++) {
		const json_t *content = json_object_get(message, "content");
		const char *role = text_of(message, "role");

		if (!json_is_string(content) && !json_is_array(content))
			result = openai_wrong(t->p, NULL, "messages.%zu.content: a string or an array is required.",
			                      t->index);
		else if (strcmp(role, "assistant") == 0)
			result = take_assistant(t, content);
		else if (strcmp(role, "user") == 0 || strcmp(role, "system") == 0)
			result = take_user(t, content, role);
		else
			result = openai_wrong(t->p, NULL, "messages.%zu.role: must be \"user\" or \"assistant\".",
			                      t->index);
	}
	return result;
}

/* ---- the rest -------------------------------------------------------------------------------------- */

static int take_system(struct taking *t, const json_t *system)
{
	if (system == NULL || json_is_null(system))
		return 0;
	if (!json_is_string(system) && !json_is_array(system))
		return openai_wrong(t->p, NULL, "system: a string or an array of texts is required.");
	return take_user(t, system, "system");
}

/* Tools that only Anthropic's models know have no schema, and are not offered. */
static void take_tools(struct taking *t, const json_t *body, json_t *fields)
{
	json_t *tools = json_array();
	const json_t *tool;
	size_t i;

	json_array_foreach(json_object_get(body, "tools"), i, tool)
	{
		json_t *schema = json_object_get(tool, "input_schema"), *function;

		if (!json_is_object(schema))
			continue;
		function = json_pack("{s:s, s:O}", "name", text_of(tool, "name"), "parameters", schema);
		if (json_is_string(json_object_get(tool, "description")))
			set(t, function, "description", json_incref(json_object_get(tool, "description")));
		if (json_is_boolean(json_object_get(tool, "strict")))
			set(t, function, "strict", json_incref(json_object_get(tool, "strict")));
		append(t, tools, json_pack("{s:s, s:o}", "type", "function", "function", function));
	}
	if (json_array_size(tools) > 0)
		set(t, fields, "tools", json_incref(tools));
	json_decref(tools);
}

static int take_tool_choice(struct taking *t, const json_t *choice, json_t *fields)
{
	static const struct {
		const char *type, *word;
	} words[] = {{"auto", "auto"}, {"any", "required"}, {"none", "none"}};

	if (json_is_true(json_object_get(choice, "disable_parallel_tool_use")))
		set(t, fields, "parallel_tool_calls", json_false());
	for (size_t i = 0; i < COUNT(words); i++)
		if (is_type(choice, words[i].type)) {
			set(t, fields, "tool_choice", json_string(words[i].word));
			return 0;
		}
	if (!is_type(choice, "tool"))
		return openai_wrong(t->p, NULL, "tool_choice.type: must be \"auto\", \"any\", \"tool\" or \"none\".");
	set(t, fields, "tool_choice",
	    json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", text_of(choice, "name")));
	return 0;
}

/* An answer of a given form. */
static void take_format(struct taking *t, const json_t *body, json_t *fields)
{
	const json_t *format = json_object_get(json_object_get(body, "output_config"), "format");
	json_t *schema = json_object_get(format != NULL ? format : json_object_get(body, "output_format"), "schema");

	if (json_is_object(schema))
		set(t, fields, "response_format",
		    json_pack("{s:s, s:{s:s, s:b, s:O}}", "type", "json_schema", "json_schema", "name", "answer",
		              "strict", 1, "schema", schema));
}

/* What the client's messages end with begins the answer, as servers continue one. */
static void take_begun(struct taking *t, json_t *fields)
{
	const json_t *last = json_array_get(t->out, json_array_size(t->out) - 1);

	if (strcmp(text_of(last, "role"), "assistant") != 0 || json_object_get(last, "tool_calls") != NULL)
		return;
	set(t, fields, "continue_final_message", json_true());
	set(t, fields, "add_generation_prompt", json_false());
}

/* What is of this API alone; all else goes to the LLM as it is. */
static json_t *other_fields(json_t *body)
{
	static const char *const known[] = {"model",          "messages",
	                                    "system",         "stream",
	                                    "tools",          "tool_choice",
	                                    "stop_sequences", "metadata",
	                                    "thinking",       "output_config",
	                                    "output_format",  "cache_control",
	                                    "container",      "context_management",
	                                    "mcp_servers",    "service_tier",
	                                    "inference_geo",  "speed",
	                                    "betas"};
	json_t *fields = json_copy(body);

	for (size_t i = 0; i < COUNT(known); i++)
		json_object_del(fields, known[i]);
	return fields;
}

static int take_fields(struct taking *t, json_t *body)
{
	const json_t *metadata = json_object_get(body, "metadata"), *thread = json_object_get(metadata, "thread_id");
	const char *thinking = text_of(json_object_get(body, "thinking"), "type");
	json_t *stop = json_object_get(body, "stop_sequences"), *fields = other_fields(body);
	const json_t *choice = json_object_get(body, "tool_choice");
	int result = 0;

	t->r->fields = fields;
	if (fields == NULL)
		return -1;
	if (json_array_size(stop) > 0)
		set(t, fields, "stop", json_incref(stop));
	if (json_is_string(json_object_get(metadata, "user_id")))
		set(t, fields, "user", json_incref(json_object_get(metadata, "user_id")));
	take_tools(t, body, fields);
	if (json_is_object(choice) && json_object_get(fields, "tools") != NULL)
		result = take_tool_choice(t, choice, fields);
	take_format(t, body, fields);
	take_begun(t, fields);
	t->r->wants_reasoning = strcmp(thinking, "enabled") == 0 || strcmp(thinking, "adaptive") == 0;
	if (result == 0 && thread != NULL && !json_is_string(thread))
		result = openai_wrong(t->p, NULL, "metadata.thread_id: must be a string.");
	t->r->thread_id = strdup(json_is_string(thread) ? json_string_value(thread) : "");
	return t->r->thread_id != NULL ? result : -1;
}

static int take(json_t *body, struct chat_request *r, struct openai_problem *p)
{
	struct taking t = {.r = r, .p = p, .out = json_array()};
	int result;

	r->messages = t.out;
	if ((result = openai_take_model(body, r, p)) != 0 ||
	    (result = openai_take_bool(body, "stream", &r->streams, p)) != 0 ||
	    (result = take_system(&t, json_object_get(body, "system"))) != 0 ||
	    (result = take_messages(&t, body)) != 0 || (result = take_fields(&t, body)) != 0)
		return result;
	return t.failed || t.out == NULL ? -1 : 0;
}

int messages_parse(const char *body, size_t len, struct chat_request *r, json_t **problem)
{
	struct openai_problem p;
	int result = openai_take_body(body, len, take, r, &p);

	*problem = result == 400 ? messages_error("invalid_request_error", p.text) : NULL;
	return result == 400 && *problem == NULL ? -1 : result;
}
