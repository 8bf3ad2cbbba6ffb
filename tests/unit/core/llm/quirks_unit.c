/* SPDX-License-Identifier: Apache-2.0 */
/* What is learned from refusals, in the words of servers and clouds, and what is not. */
#include "core/llm/quirks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#define COUNT(a)   (sizeof(a) / sizeof(a)[0])
#define EVERYTHING (QUIRK_BIT(QUIRKS) - 1)
#define NO_IMAGES  (EVERYTHING & ~QUIRK_BIT(QUIRK_IMAGES) & ~QUIRK_BIT(QUIRK_CONTINUATION))

/* The names of what it teaches, joined by ", "; "" where it is nothing. free(). */
static char *learned(struct refusal r)
{
	struct quirks q = {.set = 0};
	bool news;
	json_t *names;
	char *text = calloc(1, 1000);

	if (r.sent == 0)
		r.sent = NO_IMAGES;
	if (r.max_tokens == 0)
		r.max_tokens = 2048;
	news = quirks_learn(&q, &r);
	names = quirks_to_json(&q);
	for (size_t i = 0; i < json_array_size(names); i++) {
		strcat(text, i == 0 ? "" : ", ");
		strcat(text, json_string_value(json_array_get(names, i)));
	}
	assert_int_equal(news, *text != '\0');
	json_decref(names);
	return text;
}

static void expect(struct refusal r, const char *expected)
{
	char *text = learned(r);

	if (strcmp(text, expected) != 0)
		fail_msg("param %s, \"%s\": \"%s\" instead of \"%s\"", r.param == NULL ? "-" : r.param, r.text, text,
		         expected);
	free(text);
}

struct sample {
	const char *text, *expected, *param;
};

static void expect_all(const struct sample *samples, size_t count)
{
	for (size_t i = 0; i < count; i++)
		expect((struct refusal){.text = samples[i].text, .param = samples[i].param}, samples[i].expected);
}

static void a_refused_field_is_left_out(void **state)
{
	static const struct sample samples[] = {
		{"Unrecognized request argument supplied: top_k", "no top_k", NULL},
		{"Unrecognized request arguments supplied: stream_options, top_k", "no top_k, no stream_options", NULL},
		{"Unknown parameter: 'top_k'.", "no top_k", "top_k"},
		{"Unknown parameter: 'stream_options.continuous_usage_stats'.",
	         "no stream_options.continuous_usage_stats", "stream_options.continuous_usage_stats"},
		{"property 'top_k' is unsupported", "no top_k", NULL},
		{"property 'top_k' is unsupported, did you mean 'stop'?", "no top_k", NULL},
		{"property 'store' is unsupported, did you mean 'stop'?", "", NULL},
		{"Extra inputs are not permitted", "no top_k", "body.top_k"},
		{"Extra inputs are not permitted, field: 'stream_options', value: {'include_usage': True}",
	         "no stream_options", NULL},
		{"Validation error at #/stream_options: Extra inputs are not permitted", "no stream_options", NULL},
		{"[{'type': 'extra_forbidden', 'loc': ('body', 'top_k'), 'msg': 'Extra inputs are not permitted', "
	         "'input': 20}]",
	         "no top_k", NULL},
		{"[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options', 'continuous_usage_stats'), 'msg': "
	         "'Extra inputs are not permitted', 'input': True}]",
	         "no stream_options.continuous_usage_stats", NULL},
		{"top_k: Extra inputs are not permitted", "no top_k", NULL},
		{"1 validation error for ChatCompletionRequest top_k Extra inputs are not permitted [type=extra_forbidden, "
	         "input_value=20, input_type=int]",
	         "no top_k", NULL},
		{"Invalid JSON payload received. Unknown name \"top_k\": Cannot find field.", "no top_k", NULL},
		{"Invalid JSON payload received. Unknown name \"continuous_usage_stats\" at 'stream_options': Cannot find "
	         "field.",
	         "no stream_options.continuous_usage_stats", NULL},
		{"Failed to deserialize the JSON body into the target type: unknown field `top_k`, expected one of "
	         "`messages`, `model`, `max_tokens`, `stop`, `temperature`, `tools` at line 1 column 90",
	         "no top_k", NULL},
		{"Additional properties are not allowed ('top_k' was unexpected)", "no top_k", NULL},
		{"ChatCompletionRequest.__init__() got an unexpected keyword argument 'top_k'", "no top_k", NULL},
		{"Unsupported value: 'temperature' does not support 0.6 with this model. Only the default (1) value is "
	         "supported.",
	         "no temperature", "temperature"},
		{"Unsupported value: 'temperature' does not support 0.6 with this model. Only the default (1) value is "
	         "supported.",
	         "no temperature", NULL},
		{"litellm.UnsupportedParamsError: gpt-5 models (including gpt-5-codex) don't support temperature=0.6. Only "
	         "temperature=1 is supported. To drop unsupported params set `litellm.drop_params = True`",
	         "no temperature", NULL},
		{"litellm.UnsupportedParamsError: openai does not support parameters: ['top_k'], for model=gpt-4o. To drop "
	         "these, set `litellm.drop_params=True`",
	         "no top_k", NULL},
		{"temperature: must be between 0 and 0.5", "no temperature", NULL},
		{"`temperature` is deprecated for this model.", "no temperature", NULL},
		{"`temperature` and `top_p` cannot both be specified for this model. Please use only one.", "no top_p",
	         NULL},
		{"Unsupported parameter: 'stop' is not supported with this model.", "no stop", "stop"},
		{"Argument not supported on this model: stop", "no stop", NULL},
		{"Model grok-4 does not support parameter stop.", "no stop", NULL},
		{"Argument not supported on this model: topK", "no top_k", NULL},
		{"Input validation error: `top_p` must be > 0.0 and < 1.0", "no top_p", NULL},
		{"top_k is not supported", "no top_k", NULL},
		{"{\\\"message\\\":\\\"Unsupported parameter: \\\"top_k\\\"\\\"}", "no top_k", NULL},
		{"Invalid value: 'none'. Supported values are: 'auto'.", "no tool_choice", "tool_choice"},
		{"tool_choice \"none\" is not supported", "no tool_choice", NULL},
		{"Your organization must be verified to stream this model.", "no stream", "stream"},
		{"Unsupported value: 'stream' does not support true with this model.", "no stream", NULL},
		{"Streaming is not supported for this model", "no stream", NULL},
		{"'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : property "
	         "'reasoning_content' is unsupported)]",
	         "no reasoning sent back", NULL},
		{"messages.2.assistant.reasoning_content: property 'messages.2.assistant.reasoning_content' is unsupported",
	         "no reasoning sent back", "validation_error"},
		{"'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : property 'reasoning' is "
	         "unsupported, did you mean 'role'?)]",
	         "no reasoning sent back", NULL},
		{"Extra inputs are not permitted", "no reasoning sent back", "body.messages.1.reasoning_content"},
		{"unknown field `continue_final_message`", "", NULL}, /* it was not sent */
	};

	(void)state;
	expect_all(samples, COUNT(samples));
}

static void tools_are_not_offered_where_they_are_refused(void **state)
{
	static const struct sample samples[] = {
		{"tools param requires --jinja flag", "no tools", NULL},
		{"tool_choice param requires --jinja flag", "no tools", NULL},
		{"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set", "no tools",
	         NULL},
		{"registry.ollama.ai/library/gemma:2b does not support tools", "no tools", NULL},
		{"`tool calling` is not supported with this model", "no tools", NULL},
		{"No endpoints found that support tool use. To learn more about provider routing, visit: https://x.y",
	         "no tools", NULL},
		{"tools is not supported in this model. For a list of supported models, refer to https://x.y",
	         "no tools", NULL},
		{"Function calling is not enabled for models/gemma-3-27b-it", "no tools", NULL},
		{"model features function calling not support", "no tools", NULL},
		{"This model does not support function calling", "no tools", NULL},
		{"Tool use with function calling is unsupported", "no tools", NULL},
		{"This model doesn't support tool use in streaming mode.", "no tools", NULL},
		{"Cannot use tools with stream", "no tools", NULL},
		{"Extra inputs are not permitted", "no tools", "body.tools"},
		{"Invalid schema", "no tools", "tools[0].function.parameters"},
		{"Unrecognized request arguments supplied: tool_choice, tools", "no tool_choice, no tools", NULL},
	};

	(void)state;
	expect_all(samples, COUNT(samples));
}

static void the_longest_answer_is_renamed_or_limited(void **state)
{
	static const struct sample samples[] = {
		{"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
	         "instead.",
	         "max_completion_tokens", "max_tokens"},
		{"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
	         "instead.",
	         "max_completion_tokens", NULL},
		{"property 'max_tokens' is unsupported", "max_completion_tokens", NULL},
		{"max_tokens is too large: 2048. This model supports at most 1024 completion tokens, whereas you provided "
	         "2048.",
	         "max_tokens 1024", NULL},
		{"Param Incorrect", "max_tokens 1024",
	         "max_tokens is too large: 2048. This model supports at most 1024 completion tokens, whereas you "
	         "provided 2048."},
		{"Invalid max_tokens value, the valid range of max_tokens is [1, 1024]", "max_tokens 1024", NULL},
		{"<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 1500]",
	         "max_tokens 1500", NULL},
		{"max_tokens: 2048 > 1024, which is the maximum allowed number of output tokens for claude-3-haiku-20240307",
	         "max_tokens 1024", NULL},
		{"`max_tokens` must be less than or equal to `1024`, the maximum value for `max_tokens` is less than the "
	         "`context_window` for this model",
	         "max_tokens 1024", "max_tokens"},
		{"Invalid 'max_tokens': integer above maximum value. Expected a value <= 1,024, but got 2048 instead.",
	         "max_tokens 1024", "max_tokens"},
		{"Input validation error: `max_new_tokens` must be <= 512. Given: 2048", "max_tokens 512", NULL},
		{"The maximum tokens you requested exceeds the model limit of 1024. Try again with a maximum tokens value "
	         "that is lower than 1024",
	         "max_tokens 1024", NULL},
		{"maxOutputTokens value of 2048 but the supported range is from 1 (inclusive) to 1025 (exclusive).",
	         "max_tokens 1024", NULL},
		{"max_tokens must be less than 1024", "max_tokens 1023", NULL},
		{"max_tokens is too large", "no max_tokens", NULL},
		{"The parameter `max_completion_tokens` specified in the request are not valid: integer above maximum value, "
	         "expected a value <= 1228, but got 2048 instead.",
	         "max_tokens 1228", "max_completion_tokens"},
	};

	(void)state;
	expect_all(samples, COUNT(samples));
	/* Renamed already, and refused again. */
	expect((struct refusal){.text = "Unknown parameter: 'max_completion_tokens'.",
	                        .sent = NO_IMAGES & ~QUIRK_BIT(QUIRK_RENAMED_MAX_TOKENS)},
	       "no max_tokens");
	/* A window that the answer alone fills. */
	expect(
		(struct refusal){
			.text = "This model's maximum context length is 2048 tokens. However, you requested 2100 "
				"tokens (52 in the messages, 2048 in the completion).",
			.overflow = true},
		"max_tokens 1024");
	expect(
		(struct refusal){
			.text = "This model's maximum context length is 8192 tokens. However, you requested 9000 "
				"tokens",
			.overflow = true},
		"");
}

static void roles_that_a_chat_template_refuses_are_changed(void **state)
{
	static const struct sample samples[] = {
		{"Conversation roles must alternate user/assistant/user/assistant/...", "alternating roles", NULL},
		{"Conversation roles must alternate user/assistant/user/assistant/... Conversation roles must alternate "
	         "user/assistant/user/assistant/... None",
	         "alternating roles", NULL},
		{"After the optional system message, conversation roles must alternate user/assistant/user/assistant/...",
	         "alternating roles", NULL},
		{"messages: roles must alternate between \"user\" and \"assistant\", but found multiple \"user\" roles in a "
	         "row",
	         "alternating roles", NULL},
		{"Please ensure that multiturn requests alternate between user and model.", "alternating roles", NULL},
		{"Only user and assistant roles are supported!", "alternating roles", NULL},
		{"After the (optional) system message(s), user or tool message(s) should alternate with assistant "
	         "message(s).",
	         "alternating roles", NULL},
		{"Unexpected role 'user' after role 'tool'", "alternating roles", NULL},
		{"Invalid value: 'tool'. Supported values are: 'system', 'assistant', 'user', and 'function'.",
	         "alternating roles", "messages.[2].role"},
		{"System role not supported", "no system role", NULL},
		{"System role not supported System role not supported None", "no system role", NULL},
		{"Developer instruction is not enabled for models/gemma-3-27b-it", "no system role", NULL},
		{"System messages are not supported", "no system role", NULL},
		{"Unsupported value: 'messages[0].role' does not support 'system' with this model.", "no system role",
	         "messages[0].role"},
		{"A conversation must start with a user message. Try again with a conversation that starts with a user "
	         "message.",
	         "no system role", NULL},
		{"[{'type': 'literal_error', 'loc': ('body', 'messages', 0, 'typed-dict', 'role'), 'msg': \"Input should be "
	         "'user'\", 'input': 'system'}]",
	         "no system role", NULL},
		{"This model does not support the system role", "no system role", NULL},
	};

	(void)state;
	expect_all(samples, COUNT(samples));
}

static void images_and_continuations_count_where_they_were_sent(void **state)
{
	static const char *const images[] = {
		"This model does not support images",
		"this model does not support image input (ref: b8bd630e)",
		"No endpoints found that support image input",
		"facebook/opt-125m is not a multimodal model None",
		"Unsupported content part type for text-only server: image_url",
		"Failed to deserialize the JSON body into the target type: messages[1]: unknown variant `image_url`, "
		"expected `text` at line 1 column 300",
		"image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
		"this model is missing data required for image input",
		"At most 0 image(s) may be provided in one prompt.",
		"'messages.1' : for 'role:user' the following must be satisfied[('messages.1.content' : value must be a "
		"string)] messages[1].content must be a string",
		"Invalid content type. image_url is only supported by certain models.",
	};
	static const char *const others[] = {"Unsupported image format",
	                                     "You uploaded an unsupported image. Please make sure your image is valid.",
	                                     "Failed to download the image"};

	(void)state;
	for (size_t i = 0; i < COUNT(images); i++) {
		expect((struct refusal){.text = images[i], .sent = EVERYTHING}, "no images");
		expect((struct refusal){.text = images[i]}, "");
	}
	for (size_t i = 0; i < COUNT(others); i++)
		expect((struct refusal){.text = others[i], .sent = EVERYTHING}, "");
	expect((struct refusal){.text = "Extra inputs are not permitted",
	                        .param = "body.continue_final_message",
	                        .sent = EVERYTHING},
	       "no continuation");
	expect(
		(struct refusal){
			.text = "This model does not support assistant message prefill. The conversation must end "
				"with a user message.",
			.sent = EVERYTHING},
		"no continuation");
	expect(
		(struct refusal){
			.text = "Expected last role User or Tool (or Assistant with prefix True) for serving but "
				"got assistant",
			.sent = EVERYTHING},
		"no continuation");
}

/* A refusal may repeat what the user wrote, and most name no field at all. */
static void the_words_of_a_conversation_teach_nothing(void **state)
{
	static const char conversation[] =
		"What does top_k do? My server says: tools param requires --jinja flag, and 'temperature' is not supported.\n"
		"Conversation roles must alternate user/assistant, explain top_p";
	static const char *const refusals[] = {
		"Invalid message: What does top_k do?",
		"Invalid content: My server says: tools param requires --jinja flag, and 'temperature' is not supported.",
		"Content was flagged: Conversation roles must alternate user/assistant",
		"Your message 'explain top_p' is invalid",
	};
	static const struct sample samples[] = {
		{"Your request was flagged as potentially violating our usage policy.", "", NULL},
		{"Internal Server Error", "", NULL},
		{"The model `gpt-9` does not exist or you do not have access to it.", "", "model"},
		{"Invalid value for 'content': expected a string, got null.", "", "messages.[1].content"},
		{"Please stop sending requests that are not valid", "", NULL},
		{"The temperature of the server is too high", "", NULL},
		{"Rate limit reached: limit 6000, requested 8000 tokens per minute", "", NULL},
		{"Prompt token count of 4662 exceeds max token count of 4095.", "", NULL},
		{"", "", NULL},
		{"", "", "validation_error"},
		{"bad", "", "messages.2.tools"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(refusals); i++)
		expect((struct refusal){.text = refusals[i], .conversation = conversation}, "");
	/* The server's own words are understood all the same. */
	expect((struct refusal){.text = "Unknown parameter: 'top_k'.", .conversation = conversation}, "no top_k");
	expect((struct refusal){.text = "property 'temperature' is unsupported", .conversation = conversation},
	       "no temperature");
	expect_all(samples, COUNT(samples));
}

static void only_what_was_sent_is_learned_and_only_once(void **state)
{
	struct quirks q = {.set = 0};
	struct refusal r = {.text = "Unknown parameter: 'top_k'.", .sent = QUIRK_BIT(QUIRK_TOP_K)};

	(void)state;
	assert_true(quirks_learn(&q, &r));
	assert_false(quirks_learn(&q, &r));
	r.text = "Unknown parameter: 'stop'.";
	assert_false(quirks_learn(&q, &r));
	assert_int_equal(q.set, QUIRK_BIT(QUIRK_TOP_K));
}

static void names_survive_the_way_to_the_daemon(void **state)
{
	struct quirks all = {.set = EVERYTHING, .max_tokens = 4096}, back;
	json_t *names = quirks_to_json(&all);

	(void)state;
	json_array_append_new(names, json_string("something new"));
	json_array_append_new(names, json_integer(3));
	quirks_from_json(names, &back);
	assert_int_equal(back.set, all.set);
	assert_int_equal(back.max_tokens, 4096);
	json_decref(names);
	quirks_from_json(NULL, &back);
	assert_false(quirks_any(&back));
}

static void a_worker_remembers_until_the_daemon_knows_better(void **state)
{
	static struct quirk_memory m;
	const struct quirks top_k = {.set = QUIRK_BIT(QUIRK_TOP_K)}, short_answers = {.max_tokens = 100};
	struct quirks q = {.set = 0};

	(void)state;
	quirk_memory_add(&m, 7, 1000, &top_k);
	quirk_memory_add(&m, 7, 1001, &short_answers);
	quirk_memory_get(&m, 8, 0, &q);
	quirk_memory_get(&m, 7, 1001, &q);
	assert_false(quirks_any(&q));
	quirk_memory_get(&m, 7, 1000, &q);
	assert_int_equal(q.set, top_k.set);
	assert_int_equal(q.max_tokens, 100);
	for (uint64_t i = 0; i < QUIRK_MEMORY_SIZE; i++)
		quirk_memory_add(&m, 100 + i, 2000, &top_k);
	q = (struct quirks){.set = 0};
	quirk_memory_get(&m, 7, 0, &q);
	assert_false(quirks_any(&q)); /* the oldest one is forgotten */
}

/* As further servers, clouds and the libraries that they are made of say it. */
static void many_wordings_are_understood(void **state)
{
	static const struct sample samples[] = {
		{"Malformed input request: #: extraneous key [top_k] is not permitted, please reformat your input and try again.",
	         "no top_k", NULL},
		{"Tool calling is not supported for this model", "no tools", NULL},
		{"Last message must have role `user` or `tool`.", "no continuation", NULL},
		{"After the (optional) system message(s), user or tool message(s) should alternate with assistant message(s).",
	         "alternating roles", NULL},
		{"This model doesn't support tool use in streaming mode.", "no tools", NULL},
		{"This model doesn't support the stopSequences field. Remove stopSequences and try again.", "no stop",
	         NULL},
		{"The model returned the following errors: `temperature` is deprecated for this model.",
	         "no temperature", NULL},
		{"GenerateContentRequest.generation_config.top_k: top_k must be in the range [1, 41)", "no top_k",
	         NULL},
		{"Unable to submit request because it has a topK value of 64 but the supported range is from 1 (inclusive) to 41 (exclusive).",
	         "no top_k", NULL},
		{"Unable to submit request because it has a maxOutputTokens value of 200000 but the supported range is from 1 (inclusive) to 8193 (exclusive). Update the value and try again.",
	         "max_tokens 8192", NULL},
		{"Range of max_tokens should be [1, 8192]", "max_tokens 8192", NULL},
		{"Range of top_p should be (0.0, 1.0]", "no top_p", NULL},
		{"the role of message with even index in the messages must be assistant", "alternating roles", NULL},
		{"the length of messages must be an odd number", "alternating roles", NULL},
		{"first message role must be user", "no system role", NULL},
		{"invalid message role: system", "no system role", NULL},
		{"Argument not supported on this model: stop", "no stop", NULL},
		{"`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the `context_window` for this model",
	         "max_tokens 8192", NULL},
		{"Extra inputs are not permitted, field: 'top_k', value: 20", "no top_k", NULL},
		{"Unsupported parameters: top_k", "no top_k", NULL},
		{"Input validation error: `stop` supports up to 4 stop sequences. Given: 6", "no stop", NULL},
		{"Input validation error: `temperature` must be strictly positive", "no temperature", NULL},
		{"Input validation error: `top_p` must be > 0.0 and < 1.0", "no top_p", NULL},
		{"Error rendering prompt with jinja template: \"Conversation roles must alternate user/assistant/user/assistant/...\"",
	         "alternating roles", NULL},
		{"Error rendering prompt with jinja template: \"Only user and assistant roles are supported!\"",
	         "alternating roles", NULL},
		{"Invalid tool_choice type: 'object'. Supported string values: none, auto, required", "no tool_choice",
	         NULL},
		{"Assistant response prefill is incompatible with enable_thinking.", "no continuation", NULL},
		{"tool_choice param requires --jinja flag", "no tools", NULL},
		{"Invalid value: 'tool'. Supported values are: 'system', 'assistant', 'user', and 'function'.",
	         "alternating roles", NULL},
		{"Chat message input roles must alternate between 'user' and 'assistant'.", "alternating roles", NULL},
		{"messages: Unexpected role \"system\". The Messages API accepts a top-level `system` parameter, not \"system\" as an input message role.",
	         "no system role", NULL},
		{"This model does not support assistant message prefill. The conversation must end with a user message.",
	         "no continuation", NULL},
		{"Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length 6 instead.",
	         "no stop", NULL},
		{"Json document validation error: 'top_k' is not an allowed property", "no top_k", NULL},
		{"Tool calling is not supported by model", "no tools", NULL},
		{"unknown model options: top_k", "no top_k", NULL},
		{"json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string",
	         "no images", NULL},
		{"json: cannot unmarshal number into Go struct field GeneralOpenAIRequest.top_k of type float32",
	         "no top_k", NULL},
		{"Failed to parse the request body as JSON: stream_options: unknown field `continuous_usage_stats`, expected `include_usage` at line 1 column 200",
	         "no stream_options.continuous_usage_stats", NULL},
		{"Unrecognized field \"top_k\" (class com.x.ChatRequest), not marked as ignorable (12 known properties: \"stream\", \"tools\", \"temperature\", \"stop\", \"messages\"])",
	         "no top_k", NULL},
		{"The JSON property 'top_k' could not be mapped to any .NET member contained in type 'ChatRequest'.",
	         "no top_k", NULL},
		{"Additional properties are not allowed ('top_k' was unexpected)", "no top_k", NULL},
		{"Unrecognized key(s) in object: 'top_k'", "no top_k", NULL},
		{"Cannot find field: top_k in message google.ChatRequest", "no top_k", NULL},
		{"Unexpected parameter top_k", "no top_k", NULL},
		{"top_k is not a valid parameter for this endpoint", "no top_k", NULL},
		{"got an unexpected keyword argument 'top_k'", "no top_k", NULL},
		{"create() got an unexpected keyword argument 'stream_options'", "no stream_options", NULL},
		{"This model's maximum completion tokens is 8192, got 200000", "max_tokens 8192", NULL},
		{"max_tokens (200000) exceeds the maximum of 16384 for this model", "max_tokens 16384", NULL},
		{"Requested max_tokens 200000 is greater than the allowed 32768", "max_tokens 32768", NULL},
		{"The value of max_tokens cannot exceed 4096", "max_tokens 4096", NULL},
		{"Tools are not supported in this api-version", "no tools", NULL},
		{"This endpoint does not support function calling", "no tools", NULL},
		{"tool use is disabled for this deployment", "no tools", NULL},
		{"Model does not have tool calling capability", "no tools", NULL},
		{"System messages are not allowed for this model", "no system role", NULL},
		{"developer role is not supported", "no system role", NULL},
		{"Content must be a string", "no images", NULL},
		{"messages[1].content: expected a string, got a sequence", "no images", NULL},
		{"Multimodal inputs are not supported by this model", "no images", NULL},
		{"Image URLs are disabled for this model", "no images", NULL},
		{"Model only supports text input", "no images", NULL},
		{"unsupported message type: image_url", "no images", NULL},
		{"stream_options is only allowed when stream is enabled", "no stream_options", NULL},
		{"Stream options can only be defined when `stream=True`", "no stream_options", NULL},
		{"temperature must be 1 when thinking is enabled", "no temperature", NULL},
		{"top_p must be unset or >= 0.95 when thinking is enabled", "no top_p", NULL},
		{"`top_k` must be unset when thinking is enabled.", "no top_k", NULL},
		{"Input tag 'tool' found using 'role' does not match any of the expected tags: 'user', 'assistant'",
	         "alternating roles", NULL},
		{"tool messages are not supported", "alternating roles", NULL},
		{"Role 'tool' is not supported by this model", "alternating roles", NULL},
		{"'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : property 'reasoning_content' is unsupported)]",
	         "no reasoning sent back", NULL},
		{"property 'reasoning' is unsupported, did you mean 'role'?", "no reasoning sent back", NULL},
		{"Thinking block signature is invalid", "no reasoning sent back", NULL},
		{"thought_signature is not valid", "no reasoning sent back", NULL},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(samples); i++)
		expect((struct refusal){.text = samples[i].text, .sent = EVERYTHING, .max_tokens = 200000},
		       samples[i].expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_wordings_are_understood),
		cmocka_unit_test(a_refused_field_is_left_out),
		cmocka_unit_test(tools_are_not_offered_where_they_are_refused),
		cmocka_unit_test(the_longest_answer_is_renamed_or_limited),
		cmocka_unit_test(roles_that_a_chat_template_refuses_are_changed),
		cmocka_unit_test(images_and_continuations_count_where_they_were_sent),
		cmocka_unit_test(the_words_of_a_conversation_teach_nothing),
		cmocka_unit_test(only_what_was_sent_is_learned_and_only_once),
		cmocka_unit_test(names_survive_the_way_to_the_daemon),
		cmocka_unit_test(a_worker_remembers_until_the_daemon_knows_better),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
