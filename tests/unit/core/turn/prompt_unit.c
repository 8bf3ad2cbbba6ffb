/* SPDX-License-Identifier: Apache-2.0 */
/* What an LLM is sent: the recorded shapes, what is left out, what is sent as text. */
#include "core/turn/prompt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static struct config *config_with(const char *const *sets, size_t count)
{
	const struct config_source source = {.sets = sets, .set_count = count};
	struct config_report report;
	struct config *c;

	config_report_init(&report);
	c = config_load(&source, &report);
	assert_non_null(c);
	config_report_free(&report);
	return c;
}

static json_t *json(const char *text)
{
	json_error_t e;
	json_t *j = json_loads(text, 0, &e);

	if (j == NULL)
		fail_msg("%s: %s", text, e.text);
	return j;
}

static char *body_of(const struct prompt *p, size_t *len)
{
	struct prompt_cache cache = {.config = NULL};
	char *first = prompt_body(p, &cache, len), *again = prompt_body(p, &cache, len);

	assert_non_null(first);
	assert_string_equal(first, again); /* the cached part is the same */
	free(again);
	prompt_cache_clear(&cache);
	return first;
}

static void expect_body(const struct prompt *p, const char *expected)
{
	size_t len = 0;
	char *body = body_of(p, &len);

	assert_non_null(body);
	assert_int_equal(len, strlen(body));
	assert_string_equal(body, expected);
	free(body);
}

static const char *const no_prompts[] = {"prompts.plain=", "prompts.tools=", "llm.context=1000", "llm.max_tokens=200"};
static const char *const short_prompt[] = {"prompts.plain=You are {model} {not} {"};

static void a_chat_endpoint_gets_the_recorded_shape(void **state)
{
	struct config *c = config_with(short_prompt, 1);
	json_t *messages = json("[{\"role\":\"user\",\"content\":\"hi\"}]");
	struct prompt p = {.config = c, .model = "m", .messages = messages};

	(void)state;
	expect_body(&p,
	            "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"You are m {not} {\"},"
	            "{\"role\":\"user\",\"content\":\"hi\"}],\"temperature\":0.6,\"top_k\":20,\"top_p\":0.9,"
	            "\"max_tokens\":2048,\"stream\":true,\"stop\":[\"<|eot_id|>\"],"
	            "\"stream_options\":{\"include_usage\":true,\"continuous_usage_stats\":true}}");
	p.cloud = true;
	expect_body(&p,
	            "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"You are m {not} {\"},"
	            "{\"role\":\"user\",\"content\":\"hi\"}],\"temperature\":0.7,\"max_tokens\":2048,\"stream\":true}");
	json_decref(messages);
	config_unref(c);
}

static void a_completions_endpoint_gets_one_prompt(void **state)
{
	struct config *c = config_with(short_prompt, 1);
	json_t *turns = json("[[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]]");
	json_t *messages = json("[{\"role\":\"user\",\"content\":\"c\"}]");
	struct prompt p = {.config = c, .model = "m", .uses_completions = true, .turns = turns, .messages = messages};
	size_t len;
	char *body = body_of(&p, &len);

	(void)state;
	assert_non_null(strstr(body, "\"prompt\":\"You are m {not} {\\na\\nb\\nc\""));
	assert_null(strstr(body, "messages"));
	free(body);
	json_decref(turns);
	json_decref(messages);
	config_unref(c);
}

static void tools_are_offered_and_then_closed(void **state)
{
	struct config *c = config_with(no_prompts, 4);
	json_t *messages = json("[{\"role\":\"user\",\"content\":\"c\"}]");
	json_t *tools = json("[{\"type\":\"function\"}]");
	struct prompt p = {.config = c, .model = "m", .uses_tools = true, .tools = tools, .messages = messages};
	size_t len;
	char *body = body_of(&p, &len);

	(void)state;
	assert_non_null(strstr(body, "\"tools\":[{\"type\":\"function\"}],\"tool_choice\":\"auto\"}"));
	free(body);
	p.tools_used_up = true;
	body = body_of(&p, &len);
	assert_non_null(strstr(body, "\"tool_choice\":\"none\""));
	free(body);
	json_decref(tools);
	json_decref(messages);
	config_unref(c);
}

/* After a failover to an LLM without tools, what they found is not lost. */
static void results_of_tools_are_sent_as_text(void **state)
{
	struct config *c = config_with(no_prompts, 4);
	json_t *messages =
		json("[{\"role\":\"user\",\"content\":\"weather?\"},"
	             "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"x\"}]},"
	             "{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"sunny\"}]");
	struct prompt p = {.config = c, .model = "m", .messages = messages};
	size_t len;
	char *body = body_of(&p, &len);

	(void)state;
	assert_non_null(
		strstr(body,
	               "\"messages\":[{\"role\":\"user\",\"content\":\"weather?\\n\\nResult of a tool that was run "
	               "for this question:\\nsunny\"}]"));
	free(body);
	json_decref(messages);
	config_unref(c);
}

static void images_go_only_to_models_with_vision(void **state)
{
	struct config *c = config_with(no_prompts, 4);
	json_t *messages =
		json("[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"what is it\"},"
	             "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:x\"}}]}]");
	struct prompt p = {.config = c, .model = "m", .messages = messages};
	size_t len;
	char *body = body_of(&p, &len);

	(void)state;
	assert_non_null(strstr(body, "\"content\":\"what is it\\n[image]\""));
	free(body);
	p.vision = true;
	body = body_of(&p, &len);
	assert_non_null(strstr(body, "\"url\":\"data:x\""));
	free(body);
	json_decref(messages);
	config_unref(c);
}

/* A vision model without tools: two messages of the user in a row would be refused. */
static void results_of_tools_join_a_message_with_images(void **state)
{
	struct config *c = config_with(no_prompts, 4);
	json_t *messages =
		json("[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:x\"}}]},"
	             "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"x\"}]},"
	             "{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"sunny\"}]");
	json_t *before = json_deep_copy(messages);
	struct prompt p = {.config = c, .model = "m", .vision = true, .messages = messages};
	size_t len;
	char *body = body_of(&p, &len);

	(void)state;
	assert_non_null(
		strstr(body,
	               "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":"
	               "{\"url\":\"data:x\"}},{\"type\":\"text\",\"text\":\"Result of a tool that was run for this "
	               "question:\\nsunny\"}]}]"));
	assert_true(json_equal(messages, before)); /* the turn's own are as they were */
	free(body);
	json_decref(before);
	json_decref(messages);
	config_unref(c);
}

static void the_oldest_turns_go_whole(void **state)
{
	struct config *c = config_with(no_prompts, 4); /* room: 800 tokens */
	json_t *turns = json_array(), *messages = json("[{\"role\":\"user\",\"content\":\"now\"}]");
	struct prompt p = {.config = c, .model = "m", .turns = turns, .messages = messages};
	char text[601];
	size_t len;
	char *body;

	(void)state;
	memset(text, 'x', 600);
	text[600] = '\0';
	for (int i = 0; i < 10; i++) /* 2 x (200 + 8) tokens a turn */
		json_array_append_new(turns, json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", text,
		                                       "role", "assistant", "content", text));
	assert_int_equal(prompt_fit(&p), 9);
	p.context = 100000;
	assert_int_equal(prompt_fit(&p), 0);
	p.skip_turns = 10;
	body = body_of(&p, &len);
	assert_non_null(strstr(body, "\"messages\":[{\"role\":\"user\",\"content\":\"now\"}]"));
	free(body);
	json_decref(turns);
	json_decref(messages);
	config_unref(c);
}

#define VLLM "This model's maximum context length is 8192 tokens"

/* A refusal drops the oldest turn, and more where its numbers say so. */
static void a_refusal_says_how_much_must_go(void **state)
{
	static const struct {
		const char *refusal;
		size_t skip;
	} rows[] = {
		/* of 10 turns, 416 tokens each by our count, and 9 of this one */
		{"", 1},
		{"prompt is too long", 1},
		{VLLM ".", 1},
		{"This model's maximum context length is 2048 tokens.", 6},
		{"This model's maximum context length is 100 tokens.", 10},
		{VLLM ". However, you requested 10369 tokens (10169 in the messages, 200 in the completion).", 3},
		{"'max_tokens' is too large: 200. " VLLM
	         " and your request has 10169 input tokens (200 > 8192 - 10169).",
	         3},
		{VLLM ". However, you requested 200 output tokens and your prompt contains at least 7993 input tokens.",
	         1},
		{VLLM ". However, your messages resulted in 10169 tokens.", 3},
		{"The decoder prompt (length 10169) is longer than the maximum model length of 8192.", 3},
		{"request (10169 tokens) exceeds the available context size (8192 tokens), try increasing it", 3},
		{"request (3000 tokens) exceeds the available context size (2048 tokens), try increasing it", 4},
		{"`inputs` tokens + `max_new_tokens` must be <= 8192. Given: 10169 `inputs` tokens and 200", 3},
		{"The input (10169 tokens) is longer than the model's context length (8192 tokens).", 3},
		{"Input length (10169 tokens) exceeds the maximum allowed length (8192 tokens).", 3},
		{"Prompt length (10169) exceeds maximum input length (8192).", 3},
		{"The input token count (10169) exceeds the maximum number of tokens allowed (8192).", 3},
		{"Prompt contains 10169 tokens and 0 draft tokens, too large for model with 8192 maximum context length",
	         3},
		{"prompt is too long: 10,169 tokens > 8,192 maximum", 3},
		{"input length and `max_tokens` exceed context limit: 10169 + 200 > 8192", 3},
		{"The prompt is too long: 10169, model maximum context length: 8192", 3},
		{"Please reduce the length of the messages. Current length is 10169 while limit is 8192", 3},
		{"This model's maximum prompt length is 8192 but the request contains 10169 tokens.", 3},
		{"Your request exceeded model token limit: 8192 (requested: 10169)", 3},
		{"total number of tokens in the prompt cannot exceed 8192 - received 10169.", 3},
		{"Prompt has 10,169 tokens, but the configured context size is 8,192 tokens", 3},
		{"Trying to keep the first 10169 tokens when context the overflows. However, the model is loaded with context "
	         "length of only 8192 tokens",
	         3},
		{"prompt token count of 10169 exceeds the limit of 8192", 3},
		{"The engine prompt length 10169 exceeds the max_model_len 8192. Please reduce prompt.", 3},
		{"the number of input tokens 10169 cannot exceed the total tokens limit 8192 for this model", 3},
		{"Range of input length should be [1, 2048]", 6},
		{"The input (99999999999999999999999 tokens) is longer than the model's context length (1 tokens).",
	         10},
	};
	struct config *c = config_with(no_prompts, 4);
	json_t *turns = json_array(), *messages = json("[{\"role\":\"user\",\"content\":\"now\"}]");
	struct prompt p = {.config = c, .model = "m", .context = 8192, .turns = turns, .messages = messages};
	char text[601];

	(void)state;
	memset(text, 'x', 600);
	text[600] = '\0';
	for (int i = 0; i < 10; i++)
		json_array_append_new(turns, json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "user", "content", text,
		                                       "role", "assistant", "content", text));
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (prompt_shrink(&p, rows[i].refusal) != rows[i].skip)
			fail_msg("%zu, not %zu: %s", prompt_shrink(&p, rows[i].refusal), rows[i].skip, rows[i].refusal);
	p.skip_turns = 5;
	assert_int_equal(prompt_shrink(&p, ""), 6);
	json_decref(turns);
	json_decref(messages);
	config_unref(c);
}

/* Where the results of this turn's tools are what does not fit, their middle goes. */
static void results_are_cut_to_what_fits(void **state)
{
	struct config *c = config_with(no_prompts, 4);
	json_t *messages =
		json("[{\"role\":\"user\",\"content\":\"now\"},"
	             "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"short\"},"
	             "{\"role\":\"tool\",\"tool_call_id\":\"b\"}]");
	struct prompt p = {.config = c, .model = "m", .context = 1000, .messages = messages, .uses_tools = true};
	char text[9001], *body;
	size_t len;

	(void)state;
	assert_int_equal(prompt_cut(&p, "", true), 0); /* there is nothing to cut */
	for (size_t i = 0; i < 9000; i += 2)
		memcpy(text + i, "\xc3\xbc", 2);
	text[9000] = '\0';
	json_object_set_new(json_array_get(messages, 2), "content", json_string(text));
	/* room: 1000 tokens of 3 bytes less 200 of the answer and some of the rest */
	assert_in_range(prompt_cut(&p, "", false), 2250, 2400);
	/* the server counts half of what we do */
	assert_in_range(prompt_cut(&p, "request (1515 tokens) exceeds the available context size (1000 tokens)", false),
	                4500, 4800);
	assert_int_equal(prompt_cut(&p, "context length is 8192", false), 0);
	assert_in_range(prompt_cut(&p, "context length is 8192", true), 4480, 4500);
	p.result_max = 2301;
	body = body_of(&p, &len);
	assert_in_range(len, 2300, 3200);
	assert_non_null(strstr(body, "\"content\":\"short\""));
	assert_non_null(
		strstr(body,
	               "\xc3\xbc\\n[... 6700 bytes of this result are left out here, because it does not fit the "
	               "context window ...]\\n\xc3\xbc"));
	assert_int_equal(json_string_length(json_object_get(json_array_get(messages, 2), "content")), 9000);
	assert_in_range(prompt_cut(&p, "context length is 8192", true), 1130, 1160);
	p.result_max = 300;
	assert_int_equal(prompt_cut(&p, "", true), 0);
	free(body);
	json_decref(messages);
	config_unref(c);
}

/* What history adds of its own is not sent to servers that know only the protocol. */
static void marks_of_the_history_are_not_sent(void **state)
{
	struct config *c = config_with(no_prompts, 4);
	json_t *turns = json(
		"[[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\",\"interrupted\":true}]]");
	json_t *messages = json("[{\"role\":\"user\",\"content\":\"c\"}]");
	struct prompt p = {.config = c, .model = "m", .uses_tools = true, .turns = turns, .messages = messages};
	size_t len;
	char *body = body_of(&p, &len);

	(void)state;
	assert_null(strstr(body, "interrupted"));
	assert_non_null(strstr(body, "{\"role\":\"assistant\",\"content\":\"b\"}"));
	free(body);
	json_decref(turns);
	json_decref(messages);
	config_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_chat_endpoint_gets_the_recorded_shape),
		cmocka_unit_test(a_completions_endpoint_gets_one_prompt),
		cmocka_unit_test(tools_are_offered_and_then_closed),
		cmocka_unit_test(results_of_tools_are_sent_as_text),
		cmocka_unit_test(images_go_only_to_models_with_vision),
		cmocka_unit_test(results_of_tools_join_a_message_with_images),
		cmocka_unit_test(the_oldest_turns_go_whole),
		cmocka_unit_test(a_refusal_says_how_much_must_go),
		cmocka_unit_test(results_are_cut_to_what_fits),
		cmocka_unit_test(marks_of_the_history_are_not_sent),
	};

	return cmocka_run_group_tests_name("prompt", tests, NULL, NULL);
}
