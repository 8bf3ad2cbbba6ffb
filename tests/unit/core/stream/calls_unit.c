/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls put together from what servers really send. */
#include "core/stream/call_name.h"
#include "core/stream/calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void merge(struct calls *c, const char *json)
{
	json_t *fragments = json_loads(json, 0, NULL);

	assert_non_null(fragments);
	assert_int_equal(calls_merge(c, fragments, false), 0);
	json_decref(fragments);
}

static void expect(const struct calls *c, size_t i, const char *id, const char *name, const char *arguments)
{
	assert_true(i < c->count);
	assert_string_equal(c->items[i].id, id);
	assert_string_equal(c->items[i].name, name);
	assert_string_equal(c->items[i].arguments, arguments);
}

static void fragments_of_two_calls_interleave(void **state)
{
	struct calls c;

	(void)state;
	calls_init(&c, NULL);
	merge(&c,
	      "[{\"index\":0,\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]");
	merge(&c, "[{\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"y\\\":\"}}]");
	merge(&c, "[{\"index\":0,\"function\":{\"arguments\":\"{\\\"x\\\":\"}}]");
	merge(&c,
	      "[{\"index\":1,\"function\":{\"arguments\":\"2}\"}},{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]");
	assert_int_equal(calls_finish(&c, false), 0);
	assert_int_equal(c.count, 2);
	expect(&c, 0, "a", "f", "{\"x\":1}");
	expect(&c, 1, "b", "g", "{\"y\":2}");
	calls_clear(&c);
}

static void whole_calls_without_index_are_not_merged(void **state)
{
	struct calls c;

	(void)state;
	calls_init(&c, NULL);
	merge(&c,
	      "[{\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
	      "{\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]");
	assert_int_equal(calls_finish(&c, false), 0);
	assert_int_equal(c.count, 2);
	calls_clear(&c);
}

/* Ollama, Gemini and others: each has the index 0. */
static void whole_calls_of_one_index_are_not_merged(void **state)
{
	struct calls c;

	(void)state;
	calls_init(&c, NULL);
	merge(&c,
	      "[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
	      "{\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":\"}}]");
	merge(&c, "[{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]");
	assert_int_equal(calls_finish(&c, false), 0);
	assert_int_equal(c.count, 2);
	expect(&c, 0, "a", "f", "{}");
	expect(&c, 1, "b", "f", "{\"x\":1}");
	calls_clear(&c);
}

/* vLLM in 2024: each fragment has an id of its own. */
static void an_id_alone_begins_no_call_of_the_same_index(void **state)
{
	struct calls c;

	(void)state;
	calls_init(&c, NULL);
	merge(&c, "[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":\"}}]");
	merge(&c, "[{\"index\":0,\"id\":\"b\",\"function\":{\"name\":null,\"arguments\":\"1}\"}}]");
	assert_int_equal(calls_finish(&c, false), 0);
	assert_int_equal(c.count, 1);
	expect(&c, 0, "a", "f", "{\"x\":1}");
	calls_clear(&c);
}

/* Older TGI: an object in place of the array, arguments as an object. */
static void objects_of_older_servers_count(void **state)
{
	struct calls c;

	(void)state;
	calls_init(&c, NULL);
	merge(&c, "{\"index\":0,\"id\":\"0\",\"function\":{\"name\":\"f\",\"arguments\":{\"q\":\"x\"}}}");
	assert_int_equal(calls_finish(&c, false), 0);
	expect(&c, 0, "0", "f", "{\"q\":\"x\"}");
	calls_clear(&c);
}

static void what_is_missing_is_filled_in(void **state)
{
	struct calls c;

	(void)state;
	calls_init(&c, NULL);
	merge(&c, "[{\"index\":0,\"function\":{\"arguments\":\"{}\"}}]");       /* no name: dropped */
	merge(&c, "[{\"index\":1,\"id\":\"\",\"function\":{\"name\":\"f\"}}]"); /* no id, no arguments */
	merge(&c, "[null, 7, \"x\", {\"index\":1,\"function\":null}]");         /* rubbish: skipped */
	assert_int_equal(calls_finish(&c, false), 0);
	assert_int_equal(c.count, 1);
	expect(&c, 0, "call00001", "f", "{}");
	calls_clear(&c);
}

static void each_call_has_an_id_of_its_own(void **state)
{
	struct calls c;

	(void)state;
	calls_init(&c, NULL);
	merge(&c,
	      "[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"1\"}},"
	      "{\"index\":1,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"2\"}}]");
	assert_int_equal(calls_finish(&c, false), 0);
	assert_int_equal(c.count, 2);
	expect(&c, 0, "a", "f", "1");
	expect(&c, 1, "call00001", "f", "2");
	calls_clear(&c);
}

/* The server's indices know nothing of it. */
static void a_text_encoded_call_takes_no_fragment(void **state)
{
	struct calls c;

	(void)state;
	calls_init(&c, NULL);
	assert_int_equal(calls_add(&c, "f", "{}"), 0);
	merge(&c, "[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"x\\\":\"}}]");
	assert_int_equal(calls_add(&c, "f", "{}"), 0);
	merge(&c, "[{\"index\":0,\"function\":{\"arguments\":\"1}\"}}]");
	merge(&c, "[{\"function\":{\"name\":\"h\",\"arguments\":\"{}\"}}]");
	assert_int_equal(calls_finish(&c, false), 0);
	assert_int_equal(c.count, 4);
	expect(&c, 0, "call00000", "f", "{}");
	expect(&c, 1, "a", "g", "{\"x\":1}");
	expect(&c, 2, "call00002", "f", "{}");
	expect(&c, 3, "call00003", "h", "{}");
	calls_clear(&c);
}

static void there_is_a_limit(void **state)
{
	struct calls c;
	json_t *one;
	int result = 0;

	(void)state;
	calls_init(&c, NULL);
	for (int i = 0; i < CALLS_MAX + 1 && result == 0; i++) {
		one = json_pack("[{s:i, s:{s:s}}]", "index", i, "function", "name", "f");
		result = calls_merge(&c, one, false);
		json_decref(one);
	}
	assert_int_equal(result, -1);
	assert_int_equal(c.count, CALLS_MAX);
	assert_int_equal(calls_finish(&c, false), 0);
	calls_clear(&c);
}

static int merge_arguments(struct calls *c, const char *text)
{
	json_t *one = json_pack("[{s:i, s:{s:s, s:s}}]", "index", 0, "function", "name", "f", "arguments", text);
	int result = calls_merge(c, one, false);

	json_decref(one);
	return result;
}

/* Without their middle they might be valid, and mean something else. */
static void arguments_that_are_too_long_lose_their_end_and_no_less(void **state)
{
	static char long_one[CALLS_ARGUMENTS_MAX];
	struct calls c;

	(void)state;
	memset(long_one, 'x', sizeof long_one - 1);
	calls_init(&c, NULL);
	assert_int_equal(merge_arguments(&c, "{\"code\":\"rm("), 0);
	assert_int_equal(merge_arguments(&c, long_one), -1);
	assert_int_equal(merge_arguments(&c, ")\"}"), -1);
	assert_int_equal(calls_finish(&c, false), 0);
	expect(&c, 0, "call00000", "f", "{\"code\":\"rm(");
	calls_clear(&c);
}

/* tests/data/calls/assembly.json: what servers send, each chunk an array of fragments (`again`: the calls of
 * a whole message after them), and the calls that it means. */
static void check_assembly(const json_t *one)
{
	static const char *const tools[] = {"search", "code", NULL};
	const char *what = json_string_value(json_object_get(one, "what"));
	const json_t *want = json_object_get(one, "calls"), *again = json_object_get(one, "again"), *chunk;
	const json_t *cut = json_object_get(one, "cut");
	struct calls c;
	size_t i;

	calls_init(&c, tools);
	json_array_foreach(json_object_get(one, "chunks"), i, chunk) assert_int_equal(calls_merge(&c, chunk, false), 0);
	assert_int_equal(calls_merge(&c, again, true), 0);
	assert_int_equal(calls_finish(&c, json_is_true(json_object_get(one, "limited"))), 0);
	if (c.count != json_array_size(want))
		fail_msg("%s: %zu calls", what, c.count);
	for (i = 0; i < c.count; i++) {
		const json_t *call = json_array_get(want, i);
		const char *name = json_string_value(json_array_get(call, 0));
		const char *arguments = json_string_value(json_array_get(call, 1));

		if (strcmp(c.items[i].name, name) != 0 || strcmp(c.items[i].arguments, arguments) != 0 ||
		    c.items[i].len != strlen(arguments) || c.items[i].cut != json_is_true(json_array_get(cut, i)))
			fail_msg("%s: %s %s%s", what, c.items[i].name, c.items[i].arguments,
			         c.items[i].cut ? " (cut)" : "");
	}
	calls_clear(&c);
}

static void calls_are_put_together_from_what_servers_send(void **state)
{
	const char *srcdir = getenv("srcdir");
	char path[512];
	json_error_t why;
	const json_t *one;
	json_t *all;
	size_t i;

	(void)state;
	snprintf(path, sizeof path, "%s/tests/data/calls/assembly.json", srcdir == NULL ? "." : srcdir);
	all = json_load_file(path, 0, &why);
	if (json_array_size(all) == 0)
		fail_msg("%s:%d: %s", path, why.line, why.text);
	json_array_foreach(all, i, one) check_assembly(one);
	json_decref(all);
}

static void a_name_is_that_of_a_tool_whatever_surrounds_it(void **state)
{
	static const char *const tools[] = {"web_search", "code-run", "Web_Search", NULL};
	static const struct {
		const char *name, *tool;
	} rows[] = {
		{"web_search", "web_search"},
		{"Web_Search", "Web_Search"},
		{"WEB_SEARCH", "web_search"},
		{"web-search", "web_search"},
		{"code_run", "code-run"},
		{" web_search\n", "web_search"},
		{"\"web_search\"", "web_search"},
		{"`web_search()`", "web_search"},
		{"functions.web_search", "web_search"},
		{"functions.web_search:0", "web_search"},
		{"functions.web_search:12", "web_search"},
		{"functionsweb_search0", "web_search"},
		{"functions_web_search_3", "web_search"},
		{"default_api:web_search", "web_search"},
		{"default_api.web_search", "web_search"},
		{"tools.web_search", "web_search"},
		{"tools/web_search", "web_search"},
		{"a.b::web_search", "web_search"},
		{"web_search:0", "web_search"},
		{"web_search_1", "web_search"},
		{"web_search<|channel|>commentary", "web_search"},
		{"functions.web_search <|channel|>json", "web_search"},
		{"", NULL},
		{" ", NULL},
		{"<|channel|>", NULL},
		{"functions.", NULL},
		{"functions", NULL},
		{"functions9", NULL},
		{"0", NULL},
		{":0", NULL},
		{"web", NULL},
		{"my_web_search", NULL},
		{"web_searches", NULL},
		{"functions.web_search.x", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *tool = call_name_resolve(rows[i].name, strlen(rows[i].name), tools);

		if (rows[i].tool == NULL)
			assert_null(tool);
		else
			assert_string_equal(tool != NULL ? tool : "(none)", rows[i].tool);
	}
	assert_null(call_name_resolve("f", 1, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_are_put_together_from_what_servers_send),
		cmocka_unit_test(a_name_is_that_of_a_tool_whatever_surrounds_it),
		cmocka_unit_test(fragments_of_two_calls_interleave),
		cmocka_unit_test(whole_calls_without_index_are_not_merged),
		cmocka_unit_test(whole_calls_of_one_index_are_not_merged),
		cmocka_unit_test(an_id_alone_begins_no_call_of_the_same_index),
		cmocka_unit_test(objects_of_older_servers_count),
		cmocka_unit_test(what_is_missing_is_filled_in),
		cmocka_unit_test(each_call_has_an_id_of_its_own),
		cmocka_unit_test(a_text_encoded_call_takes_no_fragment),
		cmocka_unit_test(there_is_a_limit),
		cmocka_unit_test(arguments_that_are_too_long_lose_their_end_and_no_less),
	};

	return cmocka_run_group_tests_name("calls", tests, NULL, NULL);
}
