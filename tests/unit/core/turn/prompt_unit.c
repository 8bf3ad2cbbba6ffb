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
		assert_int_equal(prompt_shrink(&p, rows[i].refusal), rows[i].skip);
	p.skip_turns = 5;
	assert_int_equal(prompt_shrink(&p, ""), 6);
	json_decref(turns);
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
		cmocka_unit_test(marks_of_the_history_are_not_sent),
	};

	return cmocka_run_group_tests_name("prompt", tests, NULL, NULL);
}
