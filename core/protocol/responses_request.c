/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POST /v1/responses, which becomes what servers of LLMs speak: messages and fields of a chat completion.
 *
 * Chat templates take one message for the system, at the beginning, so instructions and what developers say become one.
 * What an assistant said and called is one message. Fields that only this API has end here; others go on as they are.
 */
#include "core/protocol/responses.h"

#include "core/base/buf.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX       512u
#define BYTES_MAX    (SIZE_MAX / 4)
#define MORE_TEXT    "\n\n"
#define UNKNOWN_TYPE "The type \"%.*s\" of %s[%zu] is not known here."

/* ---- ids ---- */

void responses_thread(const char *id, char out[RESPONSES_THREAD_MAX])
{
	snprintf(out, RESPONSES_THREAD_MAX, "%s", id);
}

bool responses_is_id(const char *id)
{
	const size_t prefix = sizeof RESPONSES_ID - 1;

	return strncmp(id, RESPONSES_ID, prefix) == 0 && strlen(id) == prefix + RESPONSES_KEY &&
	       strspn(id + prefix, "0123456789abcdef") == RESPONSES_KEY;
}

struct input {
	struct chat_request *request;
	struct openai_problem *problem;
	struct buf system; /* what developers say */
	json_t *messages;  /* the others */
	json_t *assistant; /* the last of these, which may have more to come; borrowed; NULL: none */
	json_t *reasoning; /* before it */
};

static const char *text_at(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static bool is(const char *text, const char *word)
{
	return text != NULL && strcmp(text, word) == 0;
}

/* ---- parts of a content ---- */

static json_t *text_part(json_t *text)
{
	return json_is_string(text) ? json_pack("{s:s, s:O}", "type", "text", "text", text) : NULL;
}

static json_t *image_part(const json_t *part)
{
	json_t *url = json_object_get(part, "image_url");

	return json_is_string(url)
	               ? json_pack("{s:s, s:{s:O, s:O*}}", "type", "image_url", "image_url", "url", url, "detail",
	                           json_is_string(json_object_get(part, "detail")) ? json_object_get(part, "detail")
	                                                                           : NULL)
	               : NULL;
}

static json_t *file_part(const json_t *part)
{
	json_t *data = json_object_get(part, "file_data");

	return json_is_string(data) ? json_pack("{s:s, s:{s:O*, s:O}}", "type", "file", "file", "filename",
	                                        json_object_get(part, "filename"), "file_data", data)
	                            : NULL;
}

/* As a chat completion has it; NULL: it lacks what it must have. */
static json_t *chat_part(json_t *part)
{
	static const char *const texts[] = {"input_text", "output_text", "text", "summary_text", "reasoning_text"};
	const char *type = text_at(part, "type");

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		if (is(type, texts[i]))
			return text_part(json_object_get(part, "text"));
	if (is(type, "refusal"))
		return text_part(json_object_get(part, "refusal"));
	if (is(type, "input_image"))
		return image_part(part);
	if (is(type, "input_file"))
		return file_part(part);
	return type != NULL ? json_incref(part) : NULL;
}

static bool is_text(const json_t *part)
{
	return is(text_at(part, "type"), "text");
}

/* The texts of parts, joined; NULL: no memory. */
static json_t *joined(const json_t *parts, const char *between)
{
	struct buf all = BUF_INIT(BYTES_MAX);
	const json_t *part, *text;
	json_t *result = NULL;
	int failed = 0;
	size_t i;

	json_array_foreach(parts, i, part)
	{
		text = json_object_get(part, "text");
		failed |= i > 0 ? buf_adds(&all, between) : 0;
		failed |= buf_add(&all, json_string_value(text), json_string_length(text));
	}
	if (failed == 0)
		result = json_stringn(all.data != NULL ? all.data : "", all.len);
	buf_free(&all);
	return result;
}

/* A string where it is all text, else an array of parts: a new reference in *out. */
static int take_content(struct input *in, size_t at, json_t *content, json_t **out)
{
	json_t *parts, *part, *chat;
	bool all_text = true;
	size_t i;

	*out = NULL;
	if (json_is_string(content)) {
		*out = json_incref(content);
		return 0;
	}
	if (!json_is_array(content))
		return openai_wrong(in->problem, "input", "input[%zu] must have a text, or an array of parts.", at);
	parts = json_array();
	json_array_foreach(content, i, part)
	{
		chat = chat_part(part);
		if (chat == NULL || json_array_append_new(parts, chat) < 0) {
			json_decref(parts);
			return openai_wrong(in->problem, "input",
			                    "Part %zu of input[%zu] must be an object with a type, and with its text, "
			                    "image_url or file_data: files are not stored here.",
			                    i, at);
		}
		all_text &= is_text(chat);
		in->request->has_images |=
			text_at(chat, "type") != NULL && strstr(text_at(chat, "type"), "image") != NULL;
	}
	*out = all_text ? joined(parts, "\n") : json_incref(parts);
	json_decref(parts);
	return *out != NULL ? 0 : -1;
}

/* ---- items ---- */

static int add_message(struct input *in, json_t *message)
{
	in->assistant = NULL;
	json_decref(in->reasoning);
	in->reasoning = NULL;
	return json_array_append_new(in->messages, message);
}

/* The assistant's message that goes on, or a new one: borrowed. NULL: no memory. */
static json_t *assistant_of(struct input *in)
{
	json_t *reasoning = json_incref(in->reasoning);

	if (in->assistant == NULL) {
		if (add_message(in, json_pack("{s:s, s:n}", "role", "assistant", "content")) == 0)
			in->assistant = json_array_get(in->messages, json_array_size(in->messages) - 1);
		in->reasoning = json_incref(reasoning);
	}
	json_decref(reasoning);
	return in->assistant;
}

/* Steals content. */
static int add_assistant_text(struct input *in, json_t *content)
{
	json_t *message = json_is_string(content) ? assistant_of(in) : NULL;
	json_t *before = json_object_get(message, "content"), *both = content;

	if (!json_is_string(content)) /* it cannot be joined to anything */
		return add_message(in, json_pack("{s:s, s:o}", "role", "assistant", "content", content));
	if (json_string_length(before) > 0) {
		json_t *parts = json_pack("[{s:O}, {s:o}]", "text", before, "text", content);

		both = joined(parts, MORE_TEXT);
		json_decref(parts);
	}
	return json_object_set_new(message, "content", both);
}

static int add_system(struct buf *system, const json_t *text)
{
	return (system->len > 0 ? buf_adds(system, MORE_TEXT) : 0) |
	       buf_add(system, json_string_value(text), json_string_length(text));
}

static int take_message(struct input *in, size_t at, json_t *item)
{
	const char *role = text_at(item, "role");
	json_t *content;
	int result = take_content(in, at, json_object_get(item, "content"), &content);

	if (result != 0)
		return result;
	if (is(role, "assistant"))
		return add_assistant_text(in, content);
	if (is(role, "user"))
		return add_message(in, json_pack("{s:s, s:o}", "role", "user", "content", content));
	if (!is(role, "system") && !is(role, "developer"))
		result = openai_wrong(in->problem, "input",
		                      "The role of input[%zu] must be user, assistant, system or developer.", at);
	else if (!json_is_string(content))
		result = openai_wrong(in->problem, "input", "What a developer says in input[%zu] must be text.", at);
	else
		result = add_system(&in->system, content);
	json_decref(content);
	return result;
}

/* Of a call or its result; a borrowed reference. NULL: there is none. */
static json_t *call_id_of(const json_t *item)
{
	json_t *id = json_object_get(item, "call_id");

	return json_string_length(id) > 0 ? id : NULL;
}

/* Servers parse what they are sent. */
static json_t *arguments_of(const json_t *item)
{
	json_t *given = json_object_get(item, "arguments"), *input = json_object_get(item, "input"), *object, *text;
	char *dumped;

	if (json_is_string(given))
		return json_string_length(given) > 0 ? json_incref(given) : json_string("{}");
	if (!json_is_string(input)) /* of a custom tool */
		return NULL;
	object = json_pack("{s:O}", "input", input);
	dumped = json_dumps(object, JSON_COMPACT);
	text = dumped != NULL ? json_string(dumped) : NULL;
	free(dumped);
	json_decref(object);
	return text;
}

static int take_call(struct input *in, size_t at, json_t *item)
{
	json_t *name = json_object_get(item, "name"), *arguments, *message, *calls, *call;

	if (call_id_of(item) == NULL || json_string_length(name) == 0 || (arguments = arguments_of(item)) == NULL)
		return openai_wrong(in->problem, "input",
		                    "input[%zu] must have a call_id, a name, and its arguments as a string.", at);
	call = json_pack("{s:O, s:s, s:{s:O, s:o}, s:O*}", "id", call_id_of(item), "type", "function", "function",
	                 "name", name, "arguments", arguments, "extra_content", json_object_get(item, "extra_content"));
	message = assistant_of(in);
	if (in->reasoning != NULL)
		json_object_set(message, "reasoning_content", in->reasoning);
	calls = json_object_get(message, "tool_calls");
	if (calls == NULL && json_object_set_new(message, "tool_calls", calls = json_array()) < 0)
		calls = NULL;
	return json_array_append_new(calls, call);
}

static int take_result(struct input *in, size_t at, json_t *item)
{
	json_t *output = json_object_get(item, "output"), *content;
	int result;

	if (call_id_of(item) == NULL)
		return openai_wrong(in->problem, "input", "input[%zu] must have the call_id of its call.", at);
	result = take_content(in, at, output, &content);
	if (result != 0)
		return result;
	return add_message(
		in, json_pack("{s:s, s:O, s:o}", "role", "tool", "tool_call_id", call_id_of(item), "content", content));
}

/* Some models want to see it again with the calls that it led to. What is encrypted is not ours. */
static int take_reasoning(struct input *in, size_t at, json_t *item)
{
	json_t *content = json_object_get(item, "content");
	int result;

	if (json_array_size(content) == 0)
		return 0;
	json_decref(in->reasoning);
	in->reasoning = NULL;
	in->assistant = NULL;
	result = take_content(in, at, content, &in->reasoning);
	if (result == 0 && !json_is_string(in->reasoning)) {
		json_decref(in->reasoning);
		in->reasoning = NULL;
	}
	return result;
}

static int pass_by(struct input *in, size_t at, json_t *item)
{
	(void)in, (void)at, (void)item;
	return 0;
}

static int refuse_reference(struct input *in, size_t at, json_t *item)
{
	(void)item;
	return openai_wrong(
		in->problem, "input",
		"input[%zu] refers to an item by its id, but items are not stored one by one here. Send the "
		"item itself, or go on from previous_response_id.",
		at);
}

static const struct {
	const char *type;
	int (*take)(struct input *in, size_t at, json_t *item);
} items[] = {
	{"message", take_message},
	{"function_call", take_call},
	{"function_call_output", take_result},
	{"custom_tool_call", take_call},
	{"custom_tool_call_output", take_result},
	{"reasoning", take_reasoning},
	{"item_reference", refuse_reference},
	/* What another service ran, and told in the text that followed. */
	{"web_search_call", pass_by},
	{"file_search_call", pass_by},
	{"code_interpreter_call", pass_by},
	{"image_generation_call", pass_by},
	{"mcp_list_tools", pass_by},
	{"mcp_call", pass_by},
	{"additional_tools", pass_by},
	{"tool_search_call", pass_by},
	{"tool_search_output", pass_by},
};

static int take_item(struct input *in, size_t at, json_t *item)
{
	const char *type = text_at(item, "type");

	if (type == NULL && text_at(item, "role") != NULL)
		type = "message";
	for (size_t i = 0; type != NULL && i < sizeof items / sizeof items[0]; i++)
		if (strcmp(type, items[i].type) == 0)
			return items[i].take(in, at, item);
	if (type == NULL)
		return openai_wrong(in->problem, "input", "input[%zu] must be an object with a type or a role.", at);
	return openai_wrong(in->problem, "input", UNKNOWN_TYPE, (int)strnlen(type, 100), type, "input", at);
}

/* The message for the system, of these texts; NULL: there are none, or (with *failed) no memory. */
static json_t *system_message(const json_t *instructions, const struct buf *developers, int *failed)
{
	struct buf all = BUF_INIT(BYTES_MAX);
	json_t *message = NULL;

	*failed = buf_add(&all, json_string_value(instructions), json_string_length(instructions));
	if (developers->len > 0)
		*failed |= (all.len > 0 ? buf_adds(&all, MORE_TEXT) : 0) |
		           buf_add(&all, developers->data, developers->len);
	if (*failed == 0 && all.len > 0) {
		message = json_pack("{s:s, s:s%}", "role", "system", "content", all.data, all.len);
		*failed = message == NULL;
	}
	buf_free(&all);
	return message;
}

/* The messages, after this first one, which is stolen. */
static json_t *with_system(const json_t *messages, json_t *system)
{
	json_t *all = json_array();

	if (system != NULL)
		json_array_append_new(all, system);
	if (json_array_extend(all, (json_t *)(uintptr_t)messages) == 0)
		return all;
	json_decref(all);
	return NULL;
}

/* What is stored of them goes on with the thread, but not the instructions: those are of one answer. */
static int take_messages(struct input *in, const json_t *instructions)
{
	struct chat_request *r = in->request;
	int failed = 0;

	if (json_array_size(in->messages) == 0 && in->system.len == 0)
		return openai_wrong(in->problem, "input", "input must have at least one item.");
	r->stored = with_system(in->messages, system_message(NULL, &in->system, &failed));
	if (failed == 0 && r->stored != NULL)
		r->messages = with_system(in->messages, system_message(instructions, &in->system, &failed));
	return failed == 0 && r->messages != NULL ? 0 : -1;
}

int responses_take_input(json_t *body, struct chat_request *r, struct openai_problem *p)
{
	json_t *given = json_object_get(body, "input"), *instructions = json_object_get(body, "instructions"), *item;
	struct input in = {.request = r, .problem = p, .system = BUF_INIT(BYTES_MAX), .messages = json_array()};
	int result = in.messages != NULL ? 0 : -1;
	size_t i;

	if (result == 0 && instructions != NULL && !json_is_null(instructions) && !json_is_string(instructions))
		result = openai_wrong(p, "instructions", "instructions must be a string.");
	else if (result == 0 && json_is_string(given))
		result = add_message(&in, json_pack("{s:s, s:O}", "role", "user", "content", given));
	else if (result == 0 && !json_is_array(given))
		result = openai_wrong(p, "input", "input must be a string, or an array of items.");
	json_array_foreach(given, i, item)
	{
		if (result == 0)
			result = take_item(&in, i, item);
	}
	if (result == 0)
		result = take_messages(&in, instructions);
	json_decref(in.messages);
	json_decref(in.reasoning);
	buf_free(&in.system);
	return result;
}

/* ---- tools ---- */

/* As a chat completion has it. */
static json_t *chat_tool(json_t *tool)
{
	static const char *const members[] = {"name", "description", "parameters", "strict"};
	json_t *function = json_object();

	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
		json_t *value = json_object_get(tool, members[i]);

		if (value != NULL && !json_is_null(value))
			json_object_set(function, members[i], value);
	}
	return json_pack("{s:s, s:o}", "type", "function", "function", function);
}

/* Whether the choice leaves it to the model. */
static bool is_allowed(const json_t *choice, const char *name)
{
	const json_t *tool;
	size_t i;

	if (!is(text_at(choice, "type"), "allowed_tools"))
		return true;
	json_array_foreach(json_object_get(choice, "tools"), i, tool) if (is(text_at(tool, "name"), name)) return true;
	return false;
}

/* Functions are for the LLM. Other tools are run by who offers them: ours are offered to the agent's model anyway, and
 * what else there is is not here. The answer names those that are in effect. */
static int take_tools(json_t *body, struct chat_request *r, struct openai_problem *p)
{
	const json_t *choice = json_object_get(body, "tool_choice");
	json_t *given = json_object_get(body, "tools"), *chat = json_array(), *in_effect = json_array(), *tool;
	size_t i;
	int result = chat != NULL && in_effect != NULL ? 0 : -1;

	if (result == 0 && given != NULL && !json_is_null(given) && !json_is_array(given))
		result = openai_wrong(p, "tools", "tools must be an array.");
	json_array_foreach(given, i, tool)
	{
		const char *type = text_at(tool, "type");

		if (result != 0)
			break;
		if (type == NULL)
			result = openai_wrong(p, "tools", "tools[%zu] must be an object with a type.", i);
		else if (strcmp(type, "mcp") == 0)
			result =
				openai_wrong(p, "tools",
			                     "tools[%zu] names an MCP server, but a request cannot bring one here: the "
			                     "administrator configures them.",
			                     i);
		else if (strcmp(type, "function") == 0 && json_string_length(json_object_get(tool, "name")) == 0)
			result = openai_wrong(p, "tools", "tools[%zu] must have a name.", i);
		else if (strcmp(type, "function") == 0 && is_allowed(choice, text_at(tool, "name")))
			result = json_array_append_new(chat, chat_tool(tool)) | json_array_append(in_effect, tool);
	}
	if (result == 0)
		result = json_object_set(r->echo, "tools", in_effect);
	if (result == 0 && json_array_size(chat) > 0)
		result = json_object_set(r->fields, "tools", chat);
	json_decref(chat);
	json_decref(in_effect);
	return result;
}

/* Servers refuse it where there are no tools. */
static int take_choice(json_t *body, struct chat_request *r, struct openai_problem *p)
{
	json_t *choice = json_object_get(body, "tool_choice"), *chat = NULL;
	const char *type = text_at(choice, "type");
	bool parallel;
	int result = openai_take_bool(body, "parallel_tool_calls", &parallel, p);

	if (result != 0)
		return result;
	if (choice != NULL && !json_is_null(choice) && !json_is_string(choice) && type == NULL)
		return openai_wrong(p, "tool_choice", "tool_choice must be a word, or an object with a type.");
	if (is(type, "function") && json_string_length(json_object_get(choice, "name")) == 0)
		return openai_wrong(p, "tool_choice", "tool_choice must have the name of a function.");
	if (json_object_get(r->fields, "tools") == NULL)
		return 0;
	if (json_is_string(choice))
		chat = json_incref(choice);
	else if (is(type, "function"))
		chat = json_pack("{s:s, s:{s:O}}", "type", "function", "function", "name",
		                 json_object_get(choice, "name"));
	else if (is(type, "allowed_tools"))
		chat = json_string(is(text_at(choice, "mode"), "required") ? "required" : "auto");
	result = chat != NULL ? json_object_set_new(r->fields, "tool_choice", chat) : 0;
	if (json_is_boolean(json_object_get(body, "parallel_tool_calls")))
		result |= json_object_set_new(r->fields, "parallel_tool_calls", json_boolean(parallel));
	return result;
}

/* ---- the form of the answer ---- */

static int take_format(json_t *body, struct chat_request *r, struct openai_problem *p)
{
	static const char *const members[] = {"name", "description", "schema", "strict"};
	json_t *text = json_object_get(body, "text"), *format = json_object_get(text, "format"), *schema;
	json_t *verbosity = json_object_get(text, "verbosity");
	const char *type = text_at(format, "type");
	int result = 0;

	if ((text != NULL && !json_is_null(text) && !json_is_object(text)) ||
	    (format != NULL && !json_is_null(format) && type == NULL))
		return openai_wrong(p, "text", "text must be an object, and its format one with a type.");
	if (json_is_string(verbosity))
		result |= json_object_set(r->fields, "verbosity", verbosity);
	if (is(type, "json_schema")) {
		schema = json_object();
		for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
			if (json_object_get(format, members[i]) != NULL &&
			    !json_is_null(json_object_get(format, members[i])))
				json_object_set(schema, members[i], json_object_get(format, members[i]));
		result |= json_object_set_new(r->fields, "response_format",
		                              json_pack("{s:s, s:o}", "type", "json_schema", "json_schema", schema));
	} else if (type != NULL && strcmp(type, "text") != 0) {
		result |= json_object_set(r->fields, "response_format", format);
	}
	return result;
}

static int take_effort(json_t *body, struct chat_request *r, struct openai_problem *p)
{
	json_t *reasoning = json_object_get(body, "reasoning"), *effort = json_object_get(reasoning, "effort");

	if (reasoning != NULL && !json_is_null(reasoning) && !json_is_object(reasoning))
		return openai_wrong(p, "reasoning", "reasoning must be an object.");
	return json_is_string(effort) ? json_object_set(r->fields, "reasoning_effort", effort) : 0;
}

static int take_limit(json_t *body, struct chat_request *r, struct openai_problem *p)
{
	json_t *limit = json_object_get(body, "max_output_tokens");

	if (limit == NULL || json_is_null(limit))
		return 0;
	if (!json_is_integer(limit) || json_integer_value(limit) < 1)
		return openai_wrong(p, "max_output_tokens", "max_output_tokens must be a positive integer.");
	return json_object_set(r->fields, "max_tokens", limit);
}

/* What cannot be given is refused, and not left out. */
static int check_wishes(const json_t *body, struct openai_problem *p)
{
	const json_t *metadata = json_object_get(body, "metadata"), *wish;
	size_t i;

	if (json_is_true(json_object_get(body, "background")))
		return openai_wrong(p, "background",
		                    "Answers are not made in the background: background must be false.");
	if (json_is_object(json_object_get(body, "prompt")))
		return openai_wrong(p, "prompt", "Prompts are not stored here: send the text itself.");
	if (json_integer_value(json_object_get(body, "top_logprobs")) > 0)
		return openai_wrong(p, "top_logprobs", "The probabilities of tokens cannot be given.");
	json_array_foreach(json_object_get(body, "include"), i, wish) if (
		is(json_string_value(wish),
	           "message.output_text.logprobs")) return openai_wrong(p, "include",
	                                                                "The probabilities of tokens cannot be given.");
	if (metadata != NULL && !json_is_null(metadata) && !json_is_object(metadata))
		return openai_wrong(p, "metadata", "metadata must be an object.");
	return 0;
}

/* ---- what came before ---- */

static bool is_name(const json_t *id)
{
	const char *text = json_string_value(id);

	return text != NULL && *text != '\0' && strlen(text) == json_string_length(id) && strlen(text) <= ID_MAX;
}

static int take_before(json_t *body, struct chat_request *r, struct openai_problem *p)
{
	json_t *previous = json_object_get(body, "previous_response_id"),
	       *conversation = json_object_get(body, "conversation");
	const json_t *id = json_is_object(conversation) ? json_object_get(conversation, "id") : conversation;
	bool has_previous = previous != NULL && !json_is_null(previous), has_id = id != NULL && !json_is_null(id);
	char thread[RESPONSES_THREAD_MAX];
	bool stores;

	r->forgets = json_is_false(json_object_get(body, "store"));
	if (openai_take_bool(body, "store", &stores, p) != 0)
		return 400;
	if (has_previous && has_id)
		return openai_wrong(p, "previous_response_id",
		                    "Either previous_response_id or conversation says what came before, not both.");
	if (has_previous && !is_name(previous))
		return openai_wrong(p, "previous_response_id", "previous_response_id must be the id of a response.");
	if (json_is_object(conversation) ? !has_id || !is_name(id) : has_id && !is_name(id))
		return openai_wrong(p, "conversation", "conversation must be an id of at most %u bytes, or have one.",
		                    ID_MAX);
	r->may_forget = !has_previous && !has_id && !json_is_boolean(json_object_get(body, "store"));
	if (has_previous) {
		r->previous = strdup(json_string_value(previous));
		responses_thread(json_string_value(previous), thread);
	}
	r->thread_id = strdup(has_previous ? thread : has_id ? json_string_value(id) : "");
	return r->thread_id != NULL && (r->previous != NULL) == has_previous ? 0 : -1;
}

/* ---- all ---- */

/* What the answer repeats: what is in effect, or what there is where nothing was said. */
static json_t *echo_of(const json_t *body, const struct chat_request *r)
{
	static const struct {
		const char *name, *otherwise; /* JSON */
	} members[] = {
		{"model", "null"},
		{"instructions", "null"},
		{"max_output_tokens", "null"},
		{"metadata", "{}"},
		{"parallel_tool_calls", "true"},
		{"previous_response_id", "null"},
		{"reasoning", "{\"effort\":null,\"summary\":null}"},
		{"temperature", "null"},
		{"text", "{\"format\":{\"type\":\"text\"}}"},
		{"tool_choice", "\"auto\""},
		{"top_p", "null"},
		{"prompt_cache_key", "null"},
		{"safety_identifier", "null"},
		{"user", "null"},
	};
	json_t *echo = json_pack("{s:b, s:n, s:s, s:i, s:b}", "background", 0, "max_tool_calls", "service_tier",
	                         "default", "top_logprobs", 0, "store", !r->forgets);

	for (size_t i = 0; echo != NULL && i < sizeof members / sizeof members[0]; i++) {
		json_t *value = json_object_get(body, members[i].name);

		json_object_set_new(echo, members[i].name,
		                    value != NULL && !json_is_null(value)
		                            ? json_incref(value)
		                            : json_loads(members[i].otherwise, JSON_DECODE_ANY, NULL));
	}
	/* Old turns that do not fit any more are left out; what came with the request is not. */
	json_object_set_new(echo, "truncation", json_string(*r->thread_id != '\0' ? "auto" : "disabled"));
	json_object_set_new(echo, "conversation",
	                    *r->thread_id != '\0' && r->previous == NULL ? json_pack("{s:s}", "id", r->thread_id)
	                                                                 : json_null());
	return echo;
}

/* What is for the LLM as it is. */
static json_t *fields_of(json_t *body)
{
	static const char *const own[] = {
		"model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens",
		"max_tool_calls", "text", "reasoning", "metadata", "store", "stream", "stream_options",
		"previous_response_id", "conversation", "include", "background", "prompt", "truncation", "top_logprobs",
		"context_management", "moderation", "client_metadata",
		/* Where the answer is cached is for the server to know; strict ones refuse the name. */
		"prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"};
	json_t *fields = json_copy(body), *value;
	const char *name;
	void *next;

	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
		json_object_del(fields, own[i]);
	json_object_foreach_safe(fields, next, name, value)
	{
		if (json_is_null(value))
			json_object_del(fields, name);
	}
	return fields;
}

static int take_request(json_t *body, struct chat_request *r, struct openai_problem *p)
{
	int result;

	r->fields = fields_of(body);
	if (r->fields == NULL)
		return -1;
	if ((result = openai_take_model(body, r, p)) != 0 || (result = check_wishes(body, p)) != 0 ||
	    (result = openai_take_bool(body, "stream", &r->streams, p)) != 0 ||
	    (result = take_before(body, r, p)) != 0 || (result = responses_take_input(body, r, p)) != 0)
		return result;
	r->echo = echo_of(body, r);
	if (r->echo == NULL)
		return -1;
	if ((result = take_tools(body, r, p)) != 0 || (result = take_choice(body, r, p)) != 0 ||
	    (result = take_format(body, r, p)) != 0 || (result = take_effort(body, r, p)) != 0)
		return result;
	return take_limit(body, r, p);
}

int responses_parse(const char *body, size_t len, struct chat_request *r, json_t **problem)
{
	return openai_parse(body, len, take_request, r, problem);
}
