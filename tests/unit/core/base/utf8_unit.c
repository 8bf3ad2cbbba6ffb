/* SPDX-License-Identifier: Apache-2.0 */
/* Which characters of a text from outside may be shown. */
#include "core/base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void what_changes_a_terminal_or_hides_is_not_shown(void **state)
{
	static const struct {
		const char *text, *shown;
	} cases[] = {
		{"plain \xc3\xa4\xe6\x97\xa5\xf0\x9f\x98\x80", "plain \xc3\xa4\xe6\x97\xa5\xf0\x9f\x98\x80"},
		{"\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80",
	         "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x9a\x80"}, /* joined */
		{"\xef\xbb\xbf", "\xef\xbb\xbf"},
		{"\x1b[31m\n\x7f", "?[31m??"},
		{"\xc2\x80 \xc2\x85 \xc2\x9b \xc2\x9f", "?? ?? ?? ??"}, /* C1 */
		{"\xc2\xa0", "\xc2\xa0"},                               /* no-break space */
		{"\x9b"                                                 /* C1 of one byte */
	         "31m",
	         "?31m"},
		{"\xe2\x80\xaa\xe2\x80\xae", "??????"},           /* embedding, override */
		{"\xe2\x81\xa6\xe2\x81\xa9", "??????"},           /* isolates */
		{"\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c", "????????"}, /* marks */
		{"\xe2\x80\xa8\xe2\x80\xa9", "??????"},           /* separators */
		{"\xed\xa0\xbd\xed\xb8\x80", "??????"},           /* encoded surrogates */
		{"\xed\xa0", "??"},
		{"\xf3\xa0\x81\x81", "????"}, /* an invisible tag */
		{"\xc3", "?"},
		{"\xc0\xaf\xff", "???"},
		{"\xd7\x90\xd8\xa7", "\xd7\x90\xd8\xa7"}, /* Hebrew, Arabic */
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[64];

		strcpy(text, cases[i].text);
		utf8_disarm(text);
		assert_string_equal(text, cases[i].shown);
	}
}

static void code_points_are_read(void **state)
{
	const char *text = "a\xc2\x85\xe2\x80\xae\xed\xa0\xbd\xf3\xa0\x81\x81\x9b", *end = text + strlen(text);
	static const uint32_t codes[] = {'a', 0x85, 0x202E, 0xD83D, 0xE0041, 0x9b};
	uint32_t code;

	(void)state;
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		assert_int_equal(utf8_next(&text, end, &code), i == 0);
		assert_int_equal(code, codes[i]);
	}
	assert_ptr_equal(text, end);
}

/* Python's str.isspace decides; what has no width is not seen either. */
static void what_cannot_be_seen_is_blank(void **state)
{
	static const char *const blank[] = {
		"",
		" ",
		"\t\r\n\x0b\x0c\x1c\x1f",
		"\xc2\x85\xc2\xa0",
		"\xe1\x9a\x80",
		"\xe2\x80\x80\xe2\x80\x8a\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaf\xe2\x81\x9f\xe3\x80\x80",
		"\xef\xbb\xbf",
		"\xe2\x80\x8b \xe2\x81\xa0",
		"\x01\x7f",
		"\xe2\x80\x8e",
		"\xe3\x85\xa4",
		"\xc2\xad",
	};
	static const char *const seen[] = {
		"0", " a ", "\xc2\xa1", "\xe3\x80\x80\xe3\x80\x81", "\xef\xbf\xbd", "\xf0\x9f\x98\x80"};

	(void)state;
	for (size_t i = 0; i < sizeof blank / sizeof blank[0]; i++)
		assert_true(utf8_is_blank(blank[i]));
	for (size_t i = 0; i < sizeof seen / sizeof seen[0]; i++)
		assert_false(utf8_is_blank(seen[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_changes_a_terminal_or_hides_is_not_shown),
		cmocka_unit_test(code_points_are_read),
		cmocka_unit_test(what_cannot_be_seen_is_blank),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
