/* SPDX-License-Identifier: Apache-2.0 */
/* The stream as clients of the wire contract read it. */
#include "core/base/buf.h"
#include "core/protocol/emitter.h"

#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* What was written; a write that must be a chunk of its own stands between {}. */
static struct buf written = BUF_INIT(1 << 20);

static void on_write(void *arg, const char *bytes, size_t len, bool apart)
{
	(void)arg;
	assert_true(len > 0);
	if (apart)
		buf_adds(&written, "{");
	buf_add(&written, bytes, len);
	if (apart)
		buf_adds(&written, "}");
}

static int setup(void **state)
{
	buf_reset(&written);
	*state = emitter_new(on_write, NULL);
	return *state == NULL;
}

static int teardown(void **state)
{
	emitter_free(*state);
	buf_free(&written);
	return 0;
}

static void text(struct emitter *m, const char *s)
{
	emitter_text(m, s, strlen(s));
}
static void reasoning(struct emitter *m, const char *s)
{
	emitter_reasoning(m, s, strlen(s));
}

static void plain_answer(void **state)
{
	const struct emitter_stats stats = {.tokens = 12, .ttft_ns = 123456789, .tpot_ns = -1, .total_ns = 2000001000};

	assert_false(emitter_has_text(*state));
	text(*state, "Hello");
	text(*state, "");
	text(*state, ", world");
	assert_true(emitter_has_text(*state));
	emitter_end(*state, &stats);
	assert_string_equal(written.data,
	                    "Hello, world{[STATS]{\"tokens_decoded\": 12, \"ttft\": 0.123456, \"tpot\": null, "
	                    "\"total_time\": 2.000001}}");
}

/* TT-Studio drops chunks of nothing but blanks: no write may be one while words can follow. */
static void blanks_come_with_the_next_word(void **state)
{
	const struct emitter_stats stats = {.tokens = 1, .ttft_ns = -1, .tpot_ns = -1, .total_ns = 0};

	text(*state, "one");
	text(*state, "\n");
	text(*state, "\n ");
	assert_string_equal(written.data, "one");
	text(*state, "two");
	assert_string_equal(written.data, "one\n\n two");
	text(*state, "\n");
	emitter_end(*state, &stats); /* nothing is lost at the end */
	assert_string_equal(written.data,
	                    "one\n\n two\n{[STATS]{\"tokens_decoded\": 1, \"ttft\": null, \"tpot\": null, "
	                    "\"total_time\": 0.000000}}");
}

static void blanks_of_reasoning_stay_in_the_panel(void **state)
{
	reasoning(*state, "hm");
	reasoning(*state, "\n\n");
	text(*state, "Hello");
	assert_string_equal(written.data, "<think>hm\n\n{</think>}Hello");
}

static void searches(void **state)
{
	emitter_search(*state, "weather in Berlin");
	emitter_source(*state, "First [one]", "https://www.example.org/a_(b)");
	emitter_source(*state, "", "https://www.example.com/x");
	emitter_search(*state, "weather in Berlin");
	emitter_search(*state, " two\n\tlines \x01");
	emitter_tool_done(*state);
	emitter_running_code(*state);
	text(*state, "Hello");
	assert_string_equal(written.data,
	                    "<think>[searching]\nSearching: weather in Berlin\n"
	                    "Source: [First (one)](https://www.example.org/a_%28b%29)\n"
	                    "Source: [example.com](https://www.example.com/x)\n"
	                    "Searching: two lines\nDone.\nRunning code\n{</think>}Hello");
}

static void reasoning_then_tools_then_text(void **state)
{
	reasoning(*state, "I must ");
	reasoning(*state, "look");
	reasoning(*state, "");
	emitter_search(*state, "x");
	reasoning(*state, "found");
	text(*state, "Yes.");
	reasoning(*state, "more");
	text(*state, "No.");
	assert_string_equal(written.data,
	                    "<think>I must look\n[searching]\nSearching: x\nfound{</think>}Yes."
	                    "<think>more{</think>}No.");
}

static void reasoning_that_starts_anew_is_told_apart(void **state)
{
	reasoning(*state, "half a tho");
	emitter_anew(*state);
	reasoning(*state, "another\n");
	emitter_anew(*state);
	text(*state, "Yes.");
	assert_string_equal(written.data,
	                    "<think>half a tho\n[interrupted, starting anew]\nanother\n"
	                    "[interrupted, starting anew]\n{</think>}Yes.");
}

static void searching_is_said_once(void **state)
{
	emitter_search(*state, "a");
	text(*state, "t");
	emitter_search(*state, "b");
	text(*state, "u");
	assert_string_equal(written.data,
	                    "<think>[searching]\nSearching: a\n{</think>}t<think>Searching: b\n{</think>}u");
}

static void an_open_panel_is_closed_at_the_end(void **state)
{
	const struct emitter_stats stats = {.ttft_ns = -1, .tpot_ns = 1000, .total_ns = 5};

	reasoning(*state, "hm");
	emitter_end(*state, &stats);
	assert_string_equal(written.data,
	                    "<think>hm{</think>}{[STATS]{\"tokens_decoded\": 0, \"ttft\": null, \"tpot\": "
	                    "0.000001, \"total_time\": 0.000000}}");
}

static void sentences_stand_apart(void **state)
{
	emitter_sentence(*state, "First.");
	emitter_sentence(*state, "Second.");
	text(*state, "x\n");
	emitter_sentence(*state, "Third.");
	text(*state, "\n");
	text(*state, "\n");
	emitter_sentence(*state, "Fourth.");
	reasoning(*state, "r");
	emitter_sentence(*state, "Fifth.");
	assert_string_equal(written.data, "First.\n\nSecond.x\n\nThird.\n\nFourth.<think>r{</think>}\n\nFifth.");
}

/* Whatever a search service sends, TT-Studio's pattern matches it, on one line. */
static void sources_always_match(void **state)
{
	static const char *const titles[] = {
		NULL,
		"",
		" ",
		"]",
		"[[]]",
		"a\nb\r\n\x7f c",
		"x](y",
		"</think>",
		"Gr\xc3\xbc\xc3\x9f\x65",
		"\xff\xfe",
		"a\\",
		"01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
		"01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
		"012345678901234567890123456789012345678901234567890123456789012345678901234567\xc3\xbc\xc3\x9f...",
	};
	static const char *const urls[] = {
		"http://a",  "https://www.a.org/(x)y",   "https://a.org/x y\n)z", "HTTPS://[::1]:8/x", "http://",
		"https:// ", "http://\xc3\xbc.org/\xff", "https://a/<b>\"c\"\\",  "https://www./x",
	};
	regex_t pattern;

	assert_int_equal(regcomp(&pattern, "^Source:[[:space:]]*\\[[^]]*\\]\\([^)]+\\)\n$", REG_EXTENDED), 0);
	text(*state, "x");
	reasoning(*state, "x");
	for (size_t t = 0; t < sizeof titles / sizeof titles[0]; t++) {
		for (size_t u = 0; u < sizeof urls / sizeof urls[0]; u++) {
			emitter_source(*state, "first", "http://a");
			buf_reset(&written);
			emitter_source(*state, titles[t], urls[u]);
			assert_int_equal(regexec(&pattern, written.data, 0, NULL, 0), 0);
			assert_ptr_equal(strchr(written.data, '\n'), written.data + written.len - 1);
			assert_null(strstr(written.data, "</think>"));
			assert_null(strstr(written.data, "[]"));
		}
	}
	regfree(&pattern);
}

static void urls_that_no_browser_should_follow(void **state)
{
	assert_false(emitter_source(*state, "x", NULL));
	assert_false(emitter_source(*state, "x", ""));
	assert_false(emitter_source(*state, "x", "javascript:alert(1)"));
	assert_false(emitter_source(*state, "x", "file:///etc/passwd"));
	emitter_search(*state, " \n ");
	emitter_search(*state, "a<b </think>c");
	assert_string_equal(written.data, "<think>[searching]\nSearching: a<b /think>c\n");
}

static void long_queries_are_cut(void **state)
{
	char query[20001];

	memset(query, 'q', sizeof query - 1);
	query[sizeof query - 1] = '\0';
	emitter_search(*state, query);
	emitter_search(*state, query);
	assert_int_equal(written.len, strlen("<think>[searching]\nSearching: \n") + 1000);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(plain_answer),
		TEST(blanks_come_with_the_next_word),
		TEST(blanks_of_reasoning_stay_in_the_panel),
		TEST(searches),
		TEST(reasoning_then_tools_then_text),
		TEST(reasoning_that_starts_anew_is_told_apart),
		TEST(searching_is_said_once),
		TEST(an_open_panel_is_closed_at_the_end),
		TEST(sentences_stand_apart),
		TEST(sources_always_match),
		TEST(urls_that_no_browser_should_follow),
		TEST(long_queries_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
