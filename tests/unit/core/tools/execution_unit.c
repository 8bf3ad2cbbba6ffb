/* SPDX-License-Identifier: Apache-2.0 */
/* What running code produced, read from event streams in any pieces. */
#include "core/tools/execution.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char recorded[] =
	"{\"type\":\"number_of_executions\",\"execution_count\":1}\n"
	"{\"type\":\"stdout\",\"text\":\"Gr\xc3\xbc\xc3\x9f\\n\",\"timestamp\":\"x\"}\n"
	"{\"type\":\"keepalive\"}\n"
	"{\"type\":\"stderr\",\"text\":\"careful\\n\"}\n"
	"not json\n"
	"\n"
	"{\"type\":\"result\",\"text\":\"42\",\"png\":\"aGVsbG8=\",\"is_main_result\":true}\n"
	"{\"type\":\"error\",\"name\":\"ValueError\",\"value\":\"no\",\"traceback\":\"line 1\"}\n"
	"{\"type\":\"end_of_execution\"}\n";

static const char expected[] =
	"Output:\nGr\xc3\xbc\xc3\x9f\ncareful\n\n"
	"Result:\n42\n[a picture was made (png, about 1 KiB); the user does not see it]\n\n"
	"Error:\nValueError: no\nline 1\n";

static void the_same_text_at_every_split(void **state)
{
	const size_t len = sizeof recorded - 1;

	(void)state;
	for (size_t split = 0; split <= len; split++) {
		struct execution x;
		char *text;

		execution_init(&x, 1000);
		execution_feed(&x, recorded, split);
		execution_feed(&x, recorded + split, len - split);
		text = execution_text(&x);
		assert_string_equal(text, expected);
		assert_true(x.ended);
		assert_true(execution_failed(&x));
		assert_false(x.cut);
		free(text);
		execution_clear(&x);
	}
}

static void a_nul_loses_no_output(void **state)
{
	static const char line[] = "{\"type\":\"stdout\",\"text\":\"a\\u0000b\\n\"}\n";
	struct execution x;
	char *text;

	(void)state;
	execution_init(&x, 1000);
	execution_feed(&x, line, sizeof line - 1);
	text = execution_text(&x);
	assert_string_equal(text, "Output:\na?b\n");
	free(text);
	execution_clear(&x);
}

static void long_output_is_cut_at_a_character(void **state)
{
	struct execution x;
	char line[256], *text;

	(void)state;
	execution_init(&x, 9); /* four and a half characters of two bytes */
	snprintf(line, sizeof line, "{\"type\":\"stdout\",\"text\":\"%s\"}\n",
	         "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4");
	execution_feed(&x, line, strlen(line));
	text = execution_text(&x);
	assert_string_equal(
		text, "Output:\n\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\n[The output was longer; the rest was left out.]");
	free(text);
	execution_clear(&x);
}

static void missing_output_is_reported(void **state)
{
	struct execution x;
	char *text;

	(void)state;
	execution_init(&x, 100);
	execution_feed(&x, "{\"type\":\"end_of_execution\"}\n", 28);
	text = execution_text(&x);
	assert_non_null(strstr(text, "printed nothing"));
	assert_false(execution_failed(&x));
	free(text);
	execution_clear(&x);
}

/* A picture of tens of megabytes is one line: it is skipped, and what follows is read. */
static void an_overlong_line_is_skipped(void **state)
{
	static char piece[1 << 20];
	struct execution x;
	char *text;

	(void)state;
	memset(piece, 'x', sizeof piece);
	execution_init(&x, 100);
	for (int i = 0; i < 20; i++)
		execution_feed(&x, piece, sizeof piece);
	execution_feed(&x, "\n{\"type\":\"stdout\",\"text\":\"after\"}\n", 35);
	text = execution_text(&x);
	assert_string_equal(text, "Output:\nafter\n[The output was longer; the rest was left out.]");
	free(text);
	execution_clear(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_text_at_every_split),      cmocka_unit_test(a_nul_loses_no_output),
		cmocka_unit_test(long_output_is_cut_at_a_character), cmocka_unit_test(missing_output_is_reported),
		cmocka_unit_test(an_overlong_line_is_skipped),
	};

	return cmocka_run_group_tests_name("execution", tests, NULL, NULL);
}
