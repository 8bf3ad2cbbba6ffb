/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies of /poll_requests and /select_model, good and bad, with the answers that the
 * replaced service gave. */
#include "core/protocol/json_error.h"
#include "core/protocol/studio_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct body {
	const char *body, *answer; /* answer NULL: accepted */
	const char *text;          /* the text parts of what was accepted */
	bool images;
};

#define ONE(rest) "{\"detail\":[{" rest "}]}"
#define BAD_JSON(offset, words)                                                                                        \
	ONE("\"type\":\"json_invalid\",\"loc\":[\"body\"," offset                                                      \
	    "],\"msg\":\"JSON decode error\",\"input\":{},"                                                            \
	    "\"ctx\":{\"error\":\"" words "\"}")
#define NO_STRING(loc, input)                                                                                          \
	"\"type\":\"string_type\",\"loc\":[" loc "],\"msg\":\"Input should be a valid string\",\"input\":" input
#define NO_FIELD(loc, input) "\"type\":\"missing\",\"loc\":[" loc "],\"msg\":\"Field required\",\"input\":" input

static const struct body bodies[] = {
	{"{\"message\":\"hi\",\"thread_id\":\"t\"}", NULL, "hi", false},
	{"{\"message\":\"\",\"thread_id\":\"\",\"other\":[1]}", NULL, "", false},
	{" {\"thread_id\":\"t\",\"message\":\"Gr\xc3\xbc\\u00df \\ud83d\\ude00\\n\"} ", NULL,
         "Gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\n", false},
	{"{\"message\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:x\","
         "\"detail\":\"low\"}},{\"type\":\"input_text\",\"text\":\"b\"}],\"thread_id\":\"t\"}",
         NULL, "a\nb", true},
	{"{\"message\":[{\"type\":\"input_image\",\"image_url\":\"data:x\"}],\"thread_id\":\"t\"}", NULL, "", true},
	/* NUL, which C cannot distinguish from the end, becomes U+FFFD. */
	{"{\"message\":\"a\\u0000b\\u0000\",\"thread_id\":\"t\"}", NULL,
         "a\xef\xbf\xbd"
         "b\xef\xbf\xbd",
         false},
	{"{\"message\":[{\"type\":\"text\",\"text\":\"\\u0000\"},{\"type\":\"image_url\",\"image_url\":{\"url\":"
         "\"data:\\u0000\"}}],\"thread_id\":\"t\",\"other\":\"\\u0000\"}",
         NULL, "\xef\xbf\xbd", true},

	{"", ONE(NO_FIELD("\"body\"", "null")), NULL, false},
	{"null", ONE(NO_FIELD("\"body\"", "null")), NULL, false},
	{"{\"message\":\"hi\"}", ONE(NO_FIELD("\"body\",\"thread_id\"", "{\"message\":\"hi\"}")), NULL, false},
	{"{\"message\":1,\"thread_id\":2}",
         "{\"detail\":[{" NO_STRING("\"body\",\"message\"", "1") "},{" NO_STRING("\"body\",\"thread_id\"", "2") "}]}",
         NULL, false},
	{"{}",
         "{\"detail\":[{" NO_FIELD("\"body\",\"message\"", "{}") "},{" NO_FIELD("\"body\",\"thread_id\"", "{}") "}]}",
         NULL, false},
	{"[1]",
         ONE("\"type\":\"model_attributes_type\",\"loc\":[\"body\"],\"msg\":\"Input should be a valid dictionary or "
             "object to extract fields from\",\"input\":[1]"),
         NULL, false},
	{"{\"message\": ", BAD_JSON("12", "Expecting value"), NULL, false},
	{"{\"message\":[{\"type\":\"audio\"}],\"thread_id\":\"t\"}",
         ONE("\"type\":\"literal_error\",\"loc\":[\"body\",\"message\",0,\"type\"],\"msg\":\"Input should be 'text' or "
             "'image_url'\",\"input\":\"audio\""),
         NULL, false},
	{"{\"message\":[{}],\"thread_id\":\"t\"}", ONE(NO_FIELD("\"body\",\"message\",0,\"type\"", "{}")), NULL, false},
	{"{\"message\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":3}],\"thread_id\":\"t\"}",
         ONE(NO_STRING("\"body\",\"message\",1,\"text\"", "3")), NULL, false},
	{"{\"message\":[{\"type\":\"image_url\",\"image_url\":{}}],\"thread_id\":\"t\"}",
         ONE(NO_FIELD("\"body\",\"message\",0,\"image_url\"", "{\"type\":\"image_url\",\"image_url\":{}}")), NULL,
         false},
	{"{\"message\":[5],\"thread_id\":\"t\"}",
         ONE("\"type\":\"model_attributes_type\",\"loc\":[\"body\",\"message\",0],\"msg\":\"Input should be a valid "
             "dictionary or object to extract fields from\",\"input\":5"),
         NULL, false},
	{"{\"message\":[],\"thread_id\":\"t\"}",
         ONE("\"type\":\"too_short\",\"loc\":[\"body\",\"message\"],\"msg\":\"List should have at least 1 item after "
             "validation, not 0\",\"input\":[]"),
         NULL, false},
};

static void bodies_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		const struct body *b = &bodies[i];
		struct chat_request r;
		json_t *detail;
		int result = studio_request_parse(b->body, strlen(b->body), &r, &detail);
		char *text;

		if (b->answer == NULL) {
			assert_int_equal(result, 0);
			assert_null(detail);
			assert_int_equal(r.has_images, b->images);
			text = chat_content_text(r.content);
			assert_string_equal(text, b->text);
			free(text);
			chat_request_clear(&r);
			continue;
		}
		assert_int_equal(result, 422);
		text = json_dumps(detail, JSON_COMPACT);
		assert_string_equal(text, b->answer);
		free(text);
		json_decref(detail);
		assert_null(r.content);
		assert_null(r.thread_id);
	}
}

/* Every cut of a good body is refused with Python's words, and never crashes. */
static void cut_bodies_are_refused(void **state)
{
	const char *whole = bodies[3].body;

	(void)state;
	for (size_t len = 1; len < strlen(whole); len++) {
		struct chat_request r;
		json_t *detail;
		const char *type;
		char *body = malloc(len);

		assert_non_null(body);
		memcpy(body, whole, len);
		assert_int_equal(studio_request_parse(body, len, &r, &detail), 422);
		type = json_string_value(json_object_get(json_array_get(json_object_get(detail, "detail"), 0), "type"));
		assert_string_equal(type, "json_invalid");
		json_decref(detail);
		free(body);
	}
}

/* What jansson refuses beyond Python is refused as well. */
static void odd_bodies_are_refused(void **state)
{
	static const char *const odd[] = {
		"{\"message\":\"x\",\"thread_id\":\"t\",\"\\u0000\":1}",
		"{\"message\":\"\\ud800\",\"thread_id\":\"t\"}",
		"{\"message\":\"\xff\",\"thread_id\":\"t\"}",
		"{\"message\":\"x\",\"thread_id\":\"t\",\"n\":1e999}",
		"{\"message\":\"x\",\"thread_id\":\"t\",\"n\":NaN}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
		struct chat_request r;
		json_t *detail;
		char *text;

		assert_int_equal(studio_request_parse(odd[i], strlen(odd[i]), &r, &detail), 422);
		text = json_dumps(detail, JSON_COMPACT);
		assert_non_null(strstr(text, "json_invalid"));
		free(text);
		json_decref(detail);
	}
}

/* Threads whose ids differ only after a NUL are different ones. */
static void a_thread_id_is_not_cut_at_nul(void **state)
{
	static const char body[] = "{\"message\":\"x\",\"thread_id\":\"a\\u0000b\"}";
	struct chat_request r;
	json_t *detail;

	(void)state;
	assert_int_equal(studio_request_parse(body, sizeof body - 1, &r, &detail), 0);
	assert_string_equal(r.thread_id,
	                    "a\xef\xbf\xbd"
	                    "b");
	chat_request_clear(&r);
}

/* Python's integers have no end. (Not among the bodies, because jansson asserts where a long
 * number meets the end of memory.) */
static void huge_integers_are_ignored(void **state)
{
	static const char *const huge[] = {
		"{\"message\":\"hi\",\"thread_id\":\"t\",\"n\":123456789012345678901234567890}",
		"{\"n\":[-9223372036854775809],\"message\":\"hi\",\"thread_id\":\"t\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof huge / sizeof huge[0]; i++) {
		struct chat_request r;
		json_t *detail;

		assert_int_equal(studio_request_parse(huge[i], strlen(huge[i]), &r, &detail), 0);
		assert_string_equal(json_string_value(r.content), "hi");
		chat_request_clear(&r);
	}
}

static void numbers_are_shown_as_they_came(void **state)
{
	static const char body[] = "{\"message\":9223372036854775807,\"thread_id\":\"t\"}";
	struct chat_request r;
	json_t *detail;
	char *text;

	(void)state;
	assert_int_equal(studio_request_parse(body, sizeof body - 1, &r, &detail), 422);
	text = json_dumps(detail, JSON_COMPACT);
	assert_non_null(strstr(text, "\"input\":9223372036854775807}"));
	free(text);
	json_decref(detail);
}

static void python_words_its_errors(void **state)
{
	/* As CPython 3.11 says them. */
	static const struct {
		const char *text, *message;
		size_t offset;
	} rows[] = {
		{"", "Expecting value", 0},
		{"  ", "Expecting value", 2},
		{"{", "Expecting property name enclosed in double quotes", 1},
		{"{a", "Expecting property name enclosed in double quotes", 1},
		{"{\"a\":1,}", "Expecting property name enclosed in double quotes", 7},
		{"{\"a\" 1}", "Expecting ':' delimiter", 5},
		{"{\"a\":}", "Expecting value", 5},
		{"{\"a\":1 \"b\"", "Expecting ',' delimiter", 7},
		{"[1 2]", "Expecting ',' delimiter", 3},
		{"[1,]", "Expecting value", 3},
		{"{\"a\":\"b", "Unterminated string starting at", 5},
		{"{\"\xc3\xbc\xc3\xbc\":\"b", "Unterminated string starting at", 6},
		{"\"a\nb\"", "Invalid control character at", 2},
		{"\"a\\xb\"", "Invalid \\escape", 2},
		{"{} {}", "Extra data", 3},
		{"1.", "Extra data", 1},
		{"01", "Extra data", 1},
		{"nul", "Expecting value", 0},
		{"-", "Expecting value", 0},
	};
	struct json_error e;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		json_error_find(rows[i].text, strlen(rows[i].text), &e);
		assert_non_null(e.message);
		assert_string_equal(e.message, rows[i].message);
		assert_int_equal(e.offset, rows[i].offset);
	}
}

static void the_model_to_select(void **state)
{
	char *id;
	json_t *detail;

	(void)state;
	assert_int_equal(studio_request_parse_select("d1", "{\"deploy_id\":\"d2\"}", 18, &id, &detail), 0);
	assert_string_equal(id, "d1");
	free(id);
	assert_int_equal(studio_request_parse_select(NULL, "{\"deploy_id\":\"d2\"}", 18, &id, &detail), 0);
	assert_string_equal(id, "d2");
	free(id);
	assert_int_equal(studio_request_parse_select(NULL, "{\"deploy_id\":\"d1\\u0000\"}", 24, &id, &detail), 0);
	assert_string_equal(id, "d1\xef\xbf\xbd");
	free(id);
	for (const char *const *body = (const char *const[]){"", "{", "{}", "[1]", NULL}; *body != NULL; body++) {
		char *text;

		assert_int_equal(studio_request_parse_select(NULL, *body, strlen(*body), &id, &detail), 422);
		assert_null(id);
		text = json_dumps(detail, JSON_COMPACT);
		assert_string_equal(text, ONE(NO_FIELD("\"query\",\"deploy_id\"", "null")));
		free(text);
		json_decref(detail);
	}
	assert_int_equal(studio_request_parse_select(NULL, "{\"deploy_id\":2}", 15, &id, &detail), 422);
	json_decref(detail);
}

/* ---- the n-th allocation fails, for every n ---- */

static long allowed; /* allocations until one fails; below 0: none does */

static void *failing_malloc(size_t size)
{
	if (allowed >= 0 && allowed-- == 0) {
		allowed = 0;
		return NULL;
	}
	return malloc(size);
}

static void memory_runs_out(void **state)
{
	bool whole = false;

	(void)state;
	json_set_alloc_funcs(failing_malloc, free);
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		whole = false;
		for (long n = 0; n < 400 && !whole; n++) {
			struct chat_request r;
			json_t *detail;
			int result;

			allowed = n;
			result = studio_request_parse(bodies[i].body, strlen(bodies[i].body), &r, &detail);
			whole = allowed > 0 || (allowed < 0);
			if (whole)
				assert_int_equal(result, bodies[i].answer == NULL ? 0 : 422);
			chat_request_clear(&r);
			json_decref(detail);
		}
		assert_true(whole);
	}
	allowed = -1;
	json_set_alloc_funcs(malloc, free);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies_are_checked),        cmocka_unit_test(cut_bodies_are_refused),
		cmocka_unit_test(odd_bodies_are_refused),    cmocka_unit_test(a_thread_id_is_not_cut_at_nul),
		cmocka_unit_test(huge_integers_are_ignored), cmocka_unit_test(numbers_are_shown_as_they_came),
		cmocka_unit_test(python_words_its_errors),   cmocka_unit_test(the_model_to_select),
		cmocka_unit_test(memory_runs_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
