/* SPDX-License-Identifier: Apache-2.0 */
/* What an LLM is sent: the recorded shapes, what is left out, what is sent as text. */
#include "core/turn/prompt.h"

#include "core/tools/tool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
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
	char *first = prompt_body(p, &cache, len), *again = prompt_body(p, &cache, len), *drafted;
	struct prompt_draft *draft = prompt_draft_new(p, &cache);
	size_t drafted_len;

	assert_non_null(first);
	assert_string_equal(first, again); /* the cached part is the same */
	assert_non_null(draft);
	drafted = prompt_draft_body(draft, &drafted_len);
	prompt_draft_free(draft);
	assert_string_equal(first, drafted);
	assert_int_equal(*len, drafted_len);
	free(drafted);
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

static char *body_with(struct prompt p)
{
	size_t len;

	prompt_adjust(&p);
	return body_of(&p, &len);
}

static void expect_with(struct prompt p, const char *expected)
{
	char *body = body_with(p);

	assert_string_equal(body, expected);
	free(body);
}

static void what_an_llm_refuses_is_left_out_or_changed(void **state)
{
	struct config *c = config_with(no_prompts, 4);
	json_t *messages = json("[{\"role\":\"user\",\"content\":\"c\"}]"), *tools = json("[{\"type\":\"function\"}]");
	struct prompt p = {.config = c, .model = "m", .uses_tools = true, .tools = tools, .messages = messages};
	char *body;

	(void)state;
	p.quirks = (struct quirks){.set = QUIRK_BIT(QUIRK_TOP_K) | QUIRK_BIT(QUIRK_CONTINUOUS_USAGE) |
	                                  QUIRK_BIT(QUIRK_TOOLS) | QUIRK_BIT(QUIRK_RENAMED_MAX_TOKENS) |
	                                  QUIRK_BIT(QUIRK_STOP),
	                           .max_tokens = 100};
	expect_with(p,
	            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"c\"}],\"temperature\":0.6,"
	            "\"top_p\":0.9,\"stream\":true,\"stream_options\":{\"include_usage\":true},"
	            "\"max_completion_tokens\":100}");
	p.quirks = (struct quirks){.set = ~QUIRK_BIT(QUIRK_TEMPERATURE)};
	expect_with(p, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"c\"}],\"temperature\":0.6}");
	p.quirks.set = ~0u;
	expect_with(p, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"c\"}]}");
	/* tool_choice was refused: offered as before, and no tools at all once they are used up. */
	p.quirks = (struct quirks){.set = QUIRK_BIT(QUIRK_TOOL_CHOICE)};
	body = body_with(p);
	assert_non_null(strstr(body, "\"tools\":[{\"type\":\"function\"}]}"));
	free(body);
	p.tools_used_up = true;
	body = body_with(p);
	assert_null(strstr(body, "tool"));
	free(body);
	json_decref(tools);
	json_decref(messages);
	config_unref(c);
}

static void settings_omit_fields_and_add_others(void **state)
{
	static const char *const sets[] = {
		"prompts.plain=",
		"llm.omit=top_k,stream_options.continuous_usage_stats",
		"container.omit=stop",
		"llm.extra={\"min_p\":0.1,\"top_p\":0.5,\"seed\":1}",
		"container.extra={\"chat_template_kwargs\":{\"enable_thinking\":false},\"seed\":2}",
	};
	struct config *c = config_with(sets, 5);
	json_t *messages = json("[{\"role\":\"user\",\"content\":\"c\"}]");
	struct prompt p = {.config = c, .model = "m", .messages = messages};

	(void)state;
	expect_with(p,
	            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"c\"}],\"temperature\":0.6,"
	            "\"top_p\":0.5,\"max_tokens\":2048,\"stream\":true,\"stop\":[\"<|eot_id|>\"],"
	            "\"stream_options\":{\"include_usage\":true},\"min_p\":0.1,\"seed\":1}");
	p.kind = llm_kind_info(LLM_CONTAINER);
	expect_with(p,
	            "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"c\"}],\"temperature\":0.6,"
	            "\"top_p\":0.5,\"max_tokens\":2048,\"stream\":true,\"stream_options\":{\"include_usage\":true},"
	            "\"min_p\":0.1,\"seed\":2,\"chat_template_kwargs\":{\"enable_thinking\":false}}");
	json_decref(messages);
	config_unref(c);
}

static void a_limit_in_extra_is_the_longest_answer(void **state)
{
	static const char *const sets[] = {"llm.extra={\"max_completion_tokens\":9000}"};
	struct config *c = config_with(sets, 1);
	struct prompt p = {.config = c, .model = "m"};
	char *body = body_with(p);

	(void)state;
	assert_null(strstr(body, "\"max_tokens\""));
	assert_int_equal(prompt_max_tokens(&p), 9000);
	p.quirks.max_tokens = 4096;
	assert_int_equal(prompt_max_tokens(&p), 4096);
	free(body);
	body = body_with(p);
	assert_non_null(strstr(body, "\"max_completion_tokens\":4096"));
	free(body);
	config_unref(c);
}

/* Where roles must alternate: one user message before each answer, whatever happened in a turn. */
static void roles_alternate_where_they_must(void **state)
{
	struct config *c = config_with(short_prompt, 1);
	json_t *turns =
		json("[[{\"role\":\"user\",\"content\":\"q1\"}],"
	             "[{\"role\":\"user\",\"content\":\"q2\"},{\"role\":\"assistant\",\"content\":\"\","
	             "\"tool_calls\":[{\"id\":\"x\"}]},{\"role\":\"tool\",\"tool_call_id\":\"x\","
	             "\"content\":\"sunny\"},{\"role\":\"assistant\",\"content\":\"a2\"}]]");
	json_t *messages =
		json("[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"look\"},"
	             "{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:x\"}}]}]");
	json_t *tools = json("[{\"type\":\"function\"}]");
	struct prompt p = {.config = c,
	                   .model = "m",
	                   .vision = true,
	                   .uses_tools = true,
	                   .tools = tools,
	                   .turns = turns,
	                   .messages = messages};
	char *body;

	(void)state;
	p.quirks.set = QUIRK_BIT(QUIRK_ROLES);
	p.config = c;
	body = body_with(p);
	assert_non_null(strstr(body, "\"tools\":[{\"type\":\"function\"}]")); /* still offered */
	free(body);
	p.tools = NULL;
	body = body_with(p);
	assert_non_null(strstr(body,
	                       "\"messages\":[{\"role\":\"user\",\"content\":\"You are m {not} {\\n\\nq1\\n\\nq2\\n\\n"
	                       "Result of a tool that was run for this question:\\nsunny\"},"
	                       "{\"role\":\"assistant\",\"content\":\"a2\"},{\"role\":\"user\",\"content\":["
	                       "{\"type\":\"text\",\"text\":\"look\"},"));
	free(body);
	/* Only the system role is refused: the first message alone is joined. */
	p.turns = NULL;
	p.quirks.set = QUIRK_BIT(QUIRK_SYSTEM_ROLE);
	body = body_with(p);
	assert_non_null(strstr(body,
	                       "\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":"
	                       "\"You are m {not} {\"},{\"type\":\"text\",\"text\":\"look\"},{\"type\":"
	                       "\"image_url\""));
	free(body);
	json_decref(turns);
	json_decref(messages);
	json_decref(tools);
	config_unref(c);
}

static void what_was_sent_can_be_refused(void **state)
{
	struct config *c = config_with(short_prompt, 1);
	json_t *messages = json("[{\"role\":\"user\",\"content\":\"c\"}]");
	struct prompt p = {.config = c, .model = "m", .cloud = true, .messages = messages};

	(void)state;
	assert_int_equal(prompt_sent(&p), QUIRK_BIT(QUIRK_TEMPERATURE) | QUIRK_BIT(QUIRK_MAX_TOKENS) |
	                                          QUIRK_BIT(QUIRK_STREAM) | QUIRK_BIT(QUIRK_RENAMED_MAX_TOKENS) |
	                                          QUIRK_BIT(QUIRK_SYSTEM_ROLE) | QUIRK_BIT(QUIRK_ROLES));
	p.quirks.set =
		QUIRK_BIT(QUIRK_TEMPERATURE) | QUIRK_BIT(QUIRK_RENAMED_MAX_TOKENS) | QUIRK_BIT(QUIRK_SYSTEM_ROLE);
	assert_int_equal(prompt_sent(&p),
	                 QUIRK_BIT(QUIRK_MAX_TOKENS) | QUIRK_BIT(QUIRK_STREAM) | QUIRK_BIT(QUIRK_ROLES));
	json_decref(messages);
	config_unref(c);
}

/* Any number of LLMs with quirks of their own share the cache of one worker. */
static void the_cache_is_bounded_and_right(void **state)
{
	struct config *c = config_with(no_prompts, 4);
	json_t *messages = json("[{\"role\":\"user\",\"content\":\"c\"}]");
	struct prompt_cache cache = {.config = NULL};

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (int64_t limit = 1; limit <= 3 * PROMPT_TAILS; limit++) {
			struct prompt p = {.config = c, .model = "m", .messages = messages, .quirks.max_tokens = limit};
			char expected[40], *body;
			size_t len;

			body = prompt_body(&p, &cache, &len);
			snprintf(expected, sizeof expected, "\"max_tokens\":%d,", (int)limit);
			assert_non_null(strstr(body, expected));
			free(body);
		}
	}
	prompt_cache_clear(&cache);
	json_decref(messages);
	config_unref(c);
}

/* The beginning is made once for a model, and what the client says to the model itself changes nothing for others. */
static void the_beginning_is_that_of_its_model(void **state)
{
	struct config *c = config_with(short_prompt, 1);
	json_t *messages = json("[{\"role\":\"user\",\"content\":\"c\"}]");
	json_t *with_own =
		json("[{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"c\"}]");
	struct prompt_cache cache = {.config = NULL};
	size_t len;

	(void)state;
	for (int round = 0; round < 2; round++) {
		for (int model = 0; model < 2 * PROMPT_HEADS; model++) {
			for (int own = 0; own < 2; own++) {
				char name[8], expected[200], *body;
				struct prompt p = {.config = c, .model = name, .messages = own ? with_own : messages};

				p.uses_tools = true;
				p.given = own ? 2 : 0;
				snprintf(name, sizeof name, "m%d", model);
				snprintf(
					expected, sizeof expected,
					"{\"model\":\"%s\",\"messages\":[{\"role\":\"system\",\"content\":\"You are %s "
					"{not} {%s\"},{\"role\":\"user\",\"content\":\"c\"}],",
					name, name, own ? "\\n\\nBe brief." : "");
				body = prompt_body(&p, &cache, &len);
				assert_memory_equal(body, expected, strlen(expected));
				free(body);
			}
		}
	}
	prompt_cache_clear(&cache);
	json_decref(messages);
	json_decref(with_own);
	config_unref(c);
}

/* Turns are shared with other requests of their thread: an LLM that takes one message of a role at a time gets copies.
 */
static void turns_are_never_changed(void **state)
{
	struct config *c = config_with(short_prompt, 1);
	json_t *turns =
		json("[[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}],"
	             "[{\"content\":\"d\",\"role\":\"user\"}]]");
	json_t *messages = json("[{\"role\":\"user\",\"content\":\"c\"}]"), *before = json_deep_copy(turns);
	struct prompt p = {.config = c, .model = "m", .uses_tools = true, .turns = turns, .messages = messages};
	size_t len;
	char *body = body_of(&p, &len);

	(void)state;
	assert_non_null(
		strstr(body,
	               "[{\"role\":\"system\",\"content\":\"You are m {not} {\"},{\"role\":\"user\",\"content\":\"a\"},"
	               "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"d\"},"
	               "{\"role\":\"user\",\"content\":\"c\"}]"));
	free(body);
	p.quirks.set = QUIRK_BIT(QUIRK_SYSTEM_ROLE) | QUIRK_BIT(QUIRK_ROLES);
	body = body_of(&p, &len);
	assert_non_null(
		strstr(body,
	               "[{\"role\":\"user\",\"content\":\"You are m {not} {\\n\\na\"},"
	               "{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\",\"content\":\"d\\n\\nc\"}]"));
	free(body);
	assert_true(json_equal(turns, before));
	json_decref(before);
	json_decref(turns);
	json_decref(messages);
	config_unref(c);
}

/* {tools} stands for what those tools say that the client may use. */
static void a_prompt_says_which_tool_to_use(void **state)
{
	static const char *const sets[] = {"prompts.tools=Tools: {tools}ok {date"};
	struct config *c = config_with(sets, 1);
	json_t *messages = json("[]");
	json_t *ours =
		json_pack("[{s:s, s:{s:s, s:s}}, {s:s}]", "type", "function", "function", "name",
	                  tool_document_search.name, "description", tool_document_search.description, "type", "x");
	json_t *of_client = json_pack("[{s:s, s:{s:s, s:s}}]", "type", "function", "function", "name",
	                              tool_document_search.name, "description", "the client's own");
	struct prompt p = {.config = c, .model = "m", .uses_tools = true, .tools = ours, .messages = messages};
	size_t len;
	char *body = body_of(&p, &len);

	(void)state;
	assert_non_null(strstr(body, "\"Tools: For questions about Tenstorrent"));
	assert_non_null(strstr(body, "for a question. ok {date\""));
	free(body);
	p.tools = of_client;
	body = body_of(&p, &len);
	assert_non_null(strstr(body, "\"Tools: ok {date\""));
	free(body);
	json_decref(ours);
	json_decref(of_client);
	json_decref(messages);
	config_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_prompt_says_which_tool_to_use),
		cmocka_unit_test(a_chat_endpoint_gets_the_recorded_shape),
		cmocka_unit_test(a_completions_endpoint_gets_one_prompt),
		cmocka_unit_test(tools_are_offered_and_then_closed),
		cmocka_unit_test(results_of_tools_are_sent_as_text),
		cmocka_unit_test(images_go_only_to_models_with_vision),
		cmocka_unit_test(results_of_tools_join_a_message_with_images),
		cmocka_unit_test(the_oldest_turns_go_whole),
		cmocka_unit_test(a_refusal_says_how_much_must_go),
		cmocka_unit_test(results_are_cut_to_what_fits),
		cmocka_unit_test(what_an_llm_refuses_is_left_out_or_changed),
		cmocka_unit_test(settings_omit_fields_and_add_others),
		cmocka_unit_test(a_limit_in_extra_is_the_longest_answer),
		cmocka_unit_test(roles_alternate_where_they_must),
		cmocka_unit_test(what_was_sent_can_be_refused),
		cmocka_unit_test(the_cache_is_bounded_and_right),
		cmocka_unit_test(the_beginning_is_that_of_its_model),
		cmocka_unit_test(turns_are_never_changed),
		cmocka_unit_test(marks_of_the_history_are_not_sent),
	};

	return cmocka_run_group_tests_name("prompt", tests, NULL, NULL);
}
