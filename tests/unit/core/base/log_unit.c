/* SPDX-License-Identifier: Apache-2.0 */
/* No input forges a line of the log, nor what is read of one. */
#include "core/base/log.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

/* What is written from begin to end, which is one line. */
struct capture {
	int saved, pipe_fds[2];
};

static struct capture begin(void)
{
	struct capture c = {.saved = dup(STDERR_FILENO)};

	assert_int_equal(pipe(c.pipe_fds), 0);
	dup2(c.pipe_fds[1], STDERR_FILENO);
	return c;
}

static void end(struct capture *c, char *line, size_t size)
{
	ssize_t len;

	dup2(c->saved, STDERR_FILENO);
	close(c->saved);
	close(c->pipe_fds[1]);
	len = read(c->pipe_fds[0], line, size - 1);
	close(c->pipe_fds[0]);
	assert_true(len > 0 && line[len - 1] == '\n');
	line[len - 1] = '\0';
	assert_null(strchr(line, '\n'));
}

/* The field as it is logged; the caller's buffer. */
static const char *logged(const char *value, char *line, size_t size)
{
	struct capture c = begin();
	char *text;

	log_event(LOG_CONFIG_ERROR, L_STR("error", value));
	end(&c, line, size);
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

#define LINE_MAX 4096

static json_t *parsed(const char *line)
{
	json_error_t e;
	json_t *j = json_loads(line, JSON_REJECT_DUPLICATES, &e);

	if (j == NULL)
		fail_msg("%s: %s", e.text, line);
	return j;
}

static void json_has_the_types_of_the_fields(void **state)
{
	struct capture c = begin();
	char line[LINE_MAX];
	const char *time;
	json_t *j, *expected;

	(void)state;
	log_set_format(LOG_JSON);
	log_event(LOG_CONFIG_ERROR, L_STR("error", "a \"b\"\n"), L_INT("count", INT64_MIN),
	          L_REAL("total", 0.69999999999999996), L_REAL("none", INFINITY), L_REAL("unknown", NAN),
	          L_BOOL("changed", true), L_STR("absent", NULL), L_INT("pid", 42), L_STR("program", "other"));
	log_set_format(LOG_TEXT);
	end(&c, line, sizeof line);
	j = parsed(line);
	time = json_string_value(json_object_get(j, "time"));
	assert_non_null(time);
	assert_int_equal(strlen(time), strlen("2026-11-28T14:00:00.123Z"));
	assert_true(time[10] == 'T' && time[19] == '.' && time[23] == 'Z');
	json_object_del(j, "time");
	assert_int_equal(json_integer_value(json_object_get(j, "pid")), getpid());
	json_object_del(j, "pid");
	expected = json_pack("{s:s, s:s, s:s, s:s, s:I, s:f, s:n, s:b, s:i, s:s}", "level", "ERROR", "event", "config",
	                     "program", "tt-agent", "error", "a \"b\"\n", "count", (json_int_t)INT64_MIN, "total", 0.7,
	                     "none", "changed", 1, "event_pid", 42, "event_program", "other");
	assert_true(json_equal(j, expected));
	json_decref(expected);
	assert_non_null(strstr(line, "\"total\":0.7,"));
	json_decref(j);
}

static void json_of_any_bytes_is_one_line_of_ascii(void **state)
{
	static const char *const values[] = {"\x80",
	                                     "\xff\xfe",
	                                     "\xed\xa0\xbd",
	                                     "\xc2",
	                                     "gnp.\xe2\x80\xaetxe",
	                                     "\xe2\x80\xa8",
	                                     "\x1b[31m",
	                                     "\r\n{\"event\":\"forged\"}",
	                                     ""};
	char line[LINE_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		struct capture c = begin();
		json_t *j;

		log_set_format(LOG_JSON);
		log_event(LOG_CONFIG_ERROR, L_STR("error", values[i]));
		log_set_format(LOG_TEXT);
		end(&c, line, sizeof line);
		for (const char *p = line; *p != '\0'; p++)
			assert_in_range((unsigned char)*p, 0x20, 0x7e);
		j = parsed(line);
		assert_string_equal(json_string_value(json_object_get(j, "event")), "config");
		assert_true(json_is_string(json_object_get(j, "error")));
		json_decref(j);
	}
}

static void json_that_is_too_long_is_cut_and_says_so(void **state)
{
	static char ascii[8192], emoji[8192], control[8192];
	const char *const values[] = {ascii, emoji, control};
	char line[LINE_MAX + 1];

	(void)state;
	memset(ascii, 'a', sizeof ascii - 1);
	memset(control, 1, sizeof control - 1);
	for (size_t i = 0; i + 4 < sizeof emoji; i += 4)
		memcpy(emoji + i, "\xf0\x9f\x98\x80", 4);
	for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
		struct capture c = begin();
		const char *v = values[i];
		json_t *j;

		log_set_format(LOG_JSON);
		log_event(LOG_CONFIG_ERROR, L_STR("error", v), L_STR("a", v), L_STR("b", v), L_STR("c", v),
		          L_STR("d", v), L_INT("last", 1));
		log_set_format(LOG_TEXT);
		end(&c, line, sizeof line);
		j = parsed(line);
		assert_true(json_is_true(json_object_get(j, "truncated")));
		assert_int_equal(json_integer_value(json_object_get(j, "last")), 1);
		assert_memory_equal(json_string_value(json_object_get(j, "error")), v, 4);
		json_decref(j);
	}
}

static void journal_lines_begin_with_their_priority(void **state)
{
	char line[LINE_MAX];

	(void)state;
	log_open("test", LOG_TO_JOURNAL, LOG_DEBUG_);
	for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
		struct capture c = begin();

		log_set_format((enum log_format)format);
		log_event(LOG_CONFIG_WARNING, L_STR("warning", "x"));
		end(&c, line, sizeof line);
		assert_memory_equal(line, "<4>", 3);
		if (format == LOG_TEXT)
			assert_string_equal(line + 3, "config warning=x");
		else
			json_decref(parsed(line + 3));
	}
	log_open("tt-agent", LOG_TO_STDERR, LOG_WARNING_);
	log_set_format(LOG_TEXT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_must_not_be_shown_is_escaped),
		cmocka_unit_test(json_has_the_types_of_the_fields),
		cmocka_unit_test(json_of_any_bytes_is_one_line_of_ascii),
		cmocka_unit_test(json_that_is_too_long_is_cut_and_says_so),
		cmocka_unit_test(journal_lines_begin_with_their_priority),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
