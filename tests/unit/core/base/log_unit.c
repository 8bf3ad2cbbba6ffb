/* SPDX-License-Identifier: Apache-2.0 */
/* No input forges a line of the log, nor what is read of one. */
#include "core/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* The field as it is logged; the caller's buffer. */
static const char *logged(const char *value, char *line, size_t size)
{
	int pipe_fds[2], saved = dup(STDERR_FILENO);
	ssize_t len;
	char *text;

	assert_int_equal(pipe(pipe_fds), 0);
	dup2(pipe_fds[1], STDERR_FILENO);
	log_event(LOG_CONFIG_ERROR, L_STR("error", value));
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(pipe_fds[1]);
	len = read(pipe_fds[0], line, size - 1);
	close(pipe_fds[0]);
	assert_true(len > 0 && line[len - 1] == '\n');
	line[len - 1] = '\0';
	text = strstr(line, "error=");
	assert_non_null(text);
	return text + strlen("error=");
}

static void what_must_not_be_shown_is_escaped(void **state)
{
	static const struct {
		const char *value, *line;
	} cases[] = {
		{"plain", "plain"},
		{"\xc3\xa4\xe6\x97\xa5", "\xc3\xa4\xe6\x97\xa5"},
		{"two words", "\"two words\""},
		{"a\"b\\c", "\"a\\\"b\\\\c\""},
		{"", "\"\""},
		{"a\nb\x1b\x7f", "\"a\\x0ab\\x1b\\x7f\""},
		{"\xc2\x9b"
	         "31m",
	         "\"\\x9b31m\""},
		{"\x9b"
	         "31m",
	         "\"\\x9b31m\""},
		{"gnp.\xe2\x80\xaetxe", "\"gnp.\\u202etxe\""},
		{"\xe2\x80\xa8", "\"\\u2028\""},
		{"\xd8\x9c\xe2\x81\xa6", "\"\\u061c\\u2066\""},
		{"\xed\xa0\xbd", "\"\\ud83d\""},
		{"\xf3\xa0\x81\x81", "\"\\U000e0041\""},
	};
	char line[512];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_string_equal(logged(cases[i].value, line, sizeof line), cases[i].line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(what_must_not_be_shown_is_escaped)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
