/* SPDX-License-Identifier: Apache-2.0 */
/* JSON values as text, as jansson writes it. */
#include "core/base/json_dump.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void writes_what_jansson_writes(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"null",
		"\"\"",
		"-7",
		"[true,false,null,1,-9223372036854775808,0.5,1e+300]",
		"{\"role\":\"user\",\"content\":\"a \\\"quoted\\\" \\\\ line\\nand a tab\\t, \xc3\xa9 and \xf0\x9f\x98\x80\"}",
		"{\"z\":1,\"a\":[{\"nested\":{\"\":[[]]}},\"plain text that is longer than a step of sixteen bytes\"]}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		json_t *value = json_loads(texts[i], JSON_DECODE_ANY, NULL);
		char *expected = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
		struct buf b = BUF_INIT(1000);

		assert_non_null(value);
		assert_int_equal(json_dump(&b, value), 0);
		assert_string_equal(b.data, expected);
		buf_free(&b);
		free(expected);
		json_decref(value);
	}
}

static void escapes_each_control_character(void **state)
{
	char text[] = "<x>";

	(void)state;
	for (int c = 0; c < 0x20; c++) {
		json_t *value, *again;
		struct buf b = BUF_INIT(1000);

		text[1] = (char)c;
		value = json_stringn(text, 3);
		assert_int_equal(json_dump(&b, value), 0);
		again = json_loadb(b.data, b.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
		assert_true(json_equal(value, again));
		json_decref(value);
		json_decref(again);
		buf_free(&b);
	}
}

static void fails_where_a_string_is_not_utf8(void **state)
{
	static const char *const texts[] = {"\xff", "plain text, then half of a character \xc3",
	                                    "\xed\xa0\x80 a surrogate"};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		json_t *value = json_stringn_nocheck(texts[i], strlen(texts[i]));
		struct buf b = BUF_INIT(1000);

		assert_int_equal(json_dump(&b, value), -1);
		json_decref(value);
		buf_free(&b);
	}
}

static void fails_without_value_or_room(void **state)
{
	json_t *value = json_pack("{s:[s,s]}", "a", "some text", "more of it");
	char *whole = json_dumps(value, JSON_COMPACT);

	(void)state;
	for (size_t max = 0; max < strlen(whole); max++) {
		struct buf b = BUF_INIT(max);

		assert_int_equal(json_dump(&b, value), -1);
		assert_int_equal(json_dump(&b, NULL), -1);
		buf_free(&b);
	}
	free(whole);
	json_decref(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_what_jansson_writes),
		cmocka_unit_test(escapes_each_control_character),
		cmocka_unit_test(fails_where_a_string_is_not_utf8),
		cmocka_unit_test(fails_without_value_or_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
