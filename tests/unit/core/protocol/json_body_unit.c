/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies are read as jansson reads them, however long their strings are. */
#include "core/protocol/json_body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LONG 9000

/* before, unit again and again, after; free() */
static char *fill(const char *before, const char *unit, const char *after)
{
	size_t count = LONG / strlen(unit);
	char *text = malloc(strlen(before) + LONG + strlen(after) + 1), *at = text;

	assert_non_null(text);
	at = stpcpy(at, before);
	for (size_t i = 0; i < count; i++)
		at = stpcpy(at, unit);
	stpcpy(at, after);
	return text;
}

static const struct {
	const char *before, *unit, *after;
} alike[] = {
	{"{\"a\":\"", "x", "\"}"},
	{"{\"a\":[\"x\",{\"b\":\"", "\xc3\xbc\\n", "\"}],\"c\":\"d\"}"},
	{"[\"", "\\ud83d\\ude00\\u00df\\/\\\"\\\\", "\",\"y\"]"},
	{"\"", "\\u0000", "\""},
	{"[\"\\u0000\",\"", "x", "\"]"},
	{"[\"\\u000000000000\",\"", "x", "\"]"},
	{"{\"", "k", "\" : 1}"},
	{"{\"a\":1,\"a\":\"", "x", "\",\"a\":2}"},
	{"[\"", "x", "\",\"\\u00000\"]"},
	{"[\"", "\xf0\x9f\x98\x80", "\",99999999999999999999]"},
};

static void long_strings_are_read_alike(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof alike / sizeof alike[0]; i++) {
		char *text = fill(alike[i].before, alike[i].unit, alike[i].after);
		struct json_body_error e;
		size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL | (strstr(text, "9999") ? JSON_DECODE_INT_AS_REAL : 0);
		json_t *expected = json_loads(text, flags, NULL);
		json_t *found = json_body_parse(text, strlen(text), &json_body_short, &e);

		assert_non_null(expected);
		if (found == NULL)
			fail_msg("%zu: %s at %zu", i, e.message, e.offset);
		if (!json_equal(expected, found))
			fail_msg("%zu is read differently", i);
		json_decref(expected);
		json_decref(found);
		free(text);
	}
}

static void faults_are_found(void **state)
{
	static const struct {
		const char *before, *unit, *after, *message;
		size_t offset;
	} faults[] = {
		{"[\"", "x", "\xff\"]", "Invalid UTF-8", 2 + LONG},
		{"[\"", "x", "\\ud800\"]", "Number or character out of range", 2 + LONG},
		{"[\"", "x", "\\ud800\",]", "Expecting value", 2 + LONG + 8},
		{"[\"", "x", "\n\"]", "Invalid control character at", 2 + LONG},
		{"[\"", "x", "\\x\"]", "Invalid \\escape", 2 + LONG},
		{"[\"", "x", "", "Unterminated string starting at", 1},
		{"[\"", "x", "\",1e999]", "Number or character out of range", 2 + LONG + 7},
		{"[", "9", "]", "Exceeds the limit of digits of a number", 1},
		{"[", "1,", "1]", "Too many values", 1 + 2 * (1000 + (LONG + 3) / 16) - 1},
		{"", "{\"\":", "", "Too many values", 4 * (1000 + LONG / 16)},
	};

	(void)state;
	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
		char *text = fill(faults[i].before, faults[i].unit, faults[i].after);
		struct json_body_error e;

		assert_null(json_body_parse(text, strlen(text), &json_body_short, &e));
		assert_string_equal(e.message, faults[i].message);
		assert_int_equal(e.offset, faults[i].offset);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(long_strings_are_read_alike),
		cmocka_unit_test(faults_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
