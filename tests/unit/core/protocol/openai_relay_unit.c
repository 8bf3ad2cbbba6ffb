/* SPDX-License-Identifier: Apache-2.0 */
/* Which model a request that passes as bytes wants, and what its answer tells of its end. */
#include "core/protocol/openai_relay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct {
	const char *body, *model; /* NULL: it is refused */
	bool streams;
	int64_t tokens, choices;
} requests[] = {
	{"{\"model\":\"m\"}", "m", false, 0, 1},
	{" \n{ \"a\" : [ { \"model\" : \"x\" } , \"]}\" ] , \"model\" : \"a/b\" , \"stream\" : true } ", "a/b", true, 0,
         1},
	{"{\"model\":\"a\\/\\u0062\\\"\",\"max_tokens\":7,\"n\":3}", "a/b\"", false, 7, 3},
	{"{\"m\\u006fdel\":\"m\",\"max_completion_tokens\":9}", "m", false, 9, 1},
	{"{\"stream\":false,\"model\":\"m\",\"n\":-1,\"max_tokens\":null}", "m", false, 0, 1},
	{"{\"x\":\"\\\\\",\"model\":\"m\",\"y\":NaN}", "m", false, 0, 1},
	{"{\"x\":\"\\\"model\\\":1\",\"model\":\"m\"}", "m", false, 0, 1},
	{"{\"input\":\"\\ud800\",\"model\":\"m\"}", "m", false, 0, 1},
	{"", NULL, false, 0, 0},
	{"{}", NULL, false, 0, 0},
	{"[]", NULL, false, 0, 0},
	{"{\"model\":\"m\"", NULL, false, 0, 0},
	{"{\"model\":\"\"}", NULL, false, 0, 0},
	{"{\"model\":[\"m\"]}", NULL, false, 0, 0},
	{"{\"model\":\"m\\u0000\"}", NULL, false, 0, 0},
	{"{\"model\":\"m\",\"model\":\"n\"}", NULL, false, 0, 0},
	{"{\"model\":\"m\",\"MODEL\":\"n\"}", NULL, false, 0, 0},
	{"{\"model\":\"m\",\"mode\\u006c\":\"n\"}", NULL, false, 0, 0},
	{"{\"Model\":\"m\"}", NULL, false, 0, 0},
	{"{\"a\":{\"model\":\"m\"}}", NULL, false, 0, 0},
};

static void the_model_of_a_request(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
		struct openai_relay_request r;
		json_t *problem;
		size_t len = strlen(requests[i].body);
		int result = openai_relay_parse(requests[i].body, len, &r, &problem);

		if (requests[i].model == NULL) {
			assert_int_equal(result, 400);
			assert_int_equal(json_object_size(json_object_get(problem, "error")), 4);
			json_decref(problem);
			continue;
		}
		assert_int_equal(result, 0);
		assert_string_equal(r.model, requests[i].model);
		assert_int_equal(r.streams, requests[i].streams);
		assert_int_equal(r.tokens, requests[i].tokens);
		assert_int_equal(r.choices, requests[i].choices);
		openai_relay_request_clear(&r);
	}
}

static void only_the_model_changes(void **state)
{
	static const char body[] = "{\"a\":1.0 ,\"model\" : \"x\\/y\" ,\"b\":\"\\u00e9\"}";
	struct openai_relay_request r;
	json_t *problem;
	size_t len;
	char *made;

	(void)state;
	assert_int_equal(openai_relay_parse(body, sizeof body - 1, &r, &problem), 0);
	made = openai_relay_body(body, sizeof body - 1, &r, "n\"\\", &len);
	assert_string_equal(made, "{\"a\":1.0 ,\"model\" : \"n\\\"\\\\\" ,\"b\":\"\\u00e9\"}");
	assert_int_equal(len, strlen(made));
	free(made);
	openai_relay_request_clear(&r);
}

static void where_events_end(void **state)
{
	static const struct {
		const char *text;
		size_t end;
	} cases[] = {{"", 0},           {"data: x", 0},          {"data: x\n", 0}, {"data: x\n\n", 9},
	             {"a\r\n\r\n", 5},  {"a\r\rb", 3},           {"a\n\nb\n", 3},  {"a\n\nb\n\n", 6},
	             {"a\r\nb\r\n", 0}, {"a\r\n\r\nb\r\n\r", 9}, {"a\n\n\n", 4}};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t len = strlen(cases[i].text), end = 0;

		assert_int_equal(openai_relay_events(cases[i].text, len, 0), cases[i].end);
		for (size_t n = 1; n <= len; n++) { /* byte by byte */
			size_t now = openai_relay_events(cases[i].text, n, n - 1);

			end = now > end ? now : end;
		}
		assert_int_equal(end, cases[i].end);
	}
}

#define CHUNK(text) "data: {\"choices\":[{\"index\":0,\"text\":\"" text "\"}]}\n\n"
#define LAST        "data: {\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\n"
#define USAGE       "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n"
#define ERROR       "data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n"

static void how_streams_end(void **state)
{
	static const struct {
		const char *text;
		bool whole, failed;
		int64_t events, prompt, completion;
	} cases[] = {
		{"", false, false, 0, -1, -1},
		{CHUNK("a"), false, false, 1, -1, -1},
		{CHUNK("a") "data: [DONE]\n\n", true, false, 2, -1, -1},
		{CHUNK("a") "data:[DONE]", true, false, 2, -1, -1},
		{CHUNK("a") LAST, true, false, 2, -1, -1},
		{CHUNK("a") LAST USAGE, true, false, 3, 5, 2},
		{CHUNK("a") LAST USAGE "data: [DONE]\r\n\r\n", true, false, 4, 5, 2},
		{LAST USAGE "data: [DONE]\n\n: bye\n\n", true, false, 3, 5, 2},
		{CHUNK("[DONE]"), false, false, 1, -1, -1},
		{CHUNK("a") ERROR, false, true, 2, -1, -1},
		{CHUNK("a") ERROR "data: [DONE]\n\n", false, true, 3, -1, -1},
		{CHUNK("a") "event: error\n" ERROR, false, true, 2, -1, -1},
		{CHUNK("a") "data: {\"choi", false, false, 2, -1, -1},
		{CHUNK("a") "data: {\"choices\":[{\"finish_reason\":null}]}\n\n", false, false, 2, -1, -1},
		{CHUNK("a") "data: {\"choices\":[{\"finish_reason\":\"\"}],\"error\":null}\n\n", false, false, 2, -1,
	         -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		for (size_t before = 0; before < 3 * OPENAI_RELAY_TAIL; before += OPENAI_RELAY_TAIL - 7) {
			struct openai_relay_stream s;
			struct openai_relay_end e;
			char *padding = malloc(before + 3);

			assert_non_null(padding);
			memset(padding, 'x', before + 2);
			strcpy(padding + before, "\n\n");
			openai_relay_stream_init(&s);
			openai_relay_stream_add(&s, padding, before / 2);
			openai_relay_stream_add(&s, padding + before / 2, before + 2 - before / 2);
			openai_relay_stream_add(&s, cases[i].text, strlen(cases[i].text));
			openai_relay_stream_judge(&s, &e);
			assert_int_equal(e.whole, cases[i].whole);
			assert_int_equal(e.failed, cases[i].failed);
			assert_int_equal(s.events, cases[i].events);
			assert_int_equal(e.prompt_tokens, cases[i].prompt);
			assert_int_equal(e.completion_tokens, cases[i].completion);
			openai_relay_stream_free(&s);
			free(padding);
		}
}

static void how_streams_begin(void **state)
{
	static const struct {
		const char *text;
		bool known, failed;
	} cases[] = {{": ping\n\n", false, false},           {": ping\n\n" ERROR, true, true},
	             {ERROR "data: [DONE]\n\n", true, true}, {CHUNK("a") ERROR, true, false},
	             {"id: 1\n\n" CHUNK("a"), true, false},  {"data: [DONE]\n\n", true, false}};
	struct error_report error;
	bool known;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(openai_relay_begins_with_error(cases[i].text, strlen(cases[i].text), &known, &error),
		                 cases[i].failed);
		assert_int_equal(known, cases[i].known);
		if (cases[i].failed)
			assert_int_equal(error.meaning, ERROR_BUSY);
	}
}

/* An answer of this length, whose usage is at one of its ends. */
static void judge_long(size_t len, bool first)
{
	static const char usage[] = "\"usage\": {\"prompt_tokens\":7,\"total_tokens\":7}";
	char *body = malloc(2 * len), *p = body;
	struct openai_relay_end e;

	assert_non_null(body);
	p += sprintf(p, "{%s,\"data\":\"", first ? usage : "\"a\":1");
	/* What looks like it within a string is none. */
	p += sprintf(p, "\\\"usage\\\": {\\\"prompt_tokens\\\":1}");
	memset(p, 'x', len);
	p += len;
	sprintf(p, "\"%s%s}\n", first ? "" : ",", first ? "" : usage);
	openai_relay_judge(body, strlen(body), &e);
	assert_true(e.whole);
	assert_false(e.failed);
	assert_int_equal(e.prompt_tokens, 7);
	assert_int_equal(e.completion_tokens, 0);
	openai_relay_judge(body, len > 1000 ? len : strlen(body) - 2, &e);
	assert_false(e.whole);
	free(body);
}

static void how_answers_end(void **state)
{
	struct openai_relay_end e;

	(void)state;
	for (int first = 0; first < 2; first++) {
		judge_long(100, first != 0);
		judge_long(100000, first != 0);
	}
	openai_relay_judge("", 0, &e);
	assert_false(e.whole);
	openai_relay_judge("{\"error\":{\"message\":\"no\"},\"x\":1}", 32, &e);
	assert_true(e.whole && e.failed);
	openai_relay_judge("{\"error\":null}", 14, &e);
	assert_true(e.whole && !e.failed && e.prompt_tokens == -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_model_of_a_request), cmocka_unit_test(only_the_model_changes),
		cmocka_unit_test(where_events_end),       cmocka_unit_test(how_streams_end),
		cmocka_unit_test(how_streams_begin),      cmocka_unit_test(how_answers_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
