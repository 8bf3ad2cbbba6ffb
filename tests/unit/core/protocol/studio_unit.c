/* SPDX-License-Identifier: Apache-2.0 */
/* The stream as clients of the wire contract read it. */
#include "core/base/buf.h"
#include "core/protocol/protocol.h"
#include "tests/unit/support/test_output.h"

#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct output out = {.boundaries = true};
#define written out.written

static int setup(void **state)
{
	buf_init(&written, 1 << 20);
	out.at_boundary = false;
	out.state = 0;
	*state = protocol_studio.open(&protocol_studio, &out, NULL);
	return *state == NULL;
}

static int teardown(void **state)
{
	protocol_studio.free(*state);
	buf_free(&written);
	return 0;
}

static void text(struct reply *r, const char *s)
{
	protocol_studio.text(r, s, strlen(s));
}
static void reasoning(struct reply *r, const char *s)
{
	protocol_studio.reasoning(r, s, strlen(s));
}

static void plain_answer(void **state)
{
	const struct usage stats = {.tokens = 12, .ttft_ns = 123456789, .tpot_ns = -1, .total_ns = 2000001000};

	text(*state, "Hello");
	text(*state, ", world");
	protocol_studio.end(*state, &stats);
	assert_string_equal(written.data,
	                    "Hello, world|[STATS]{\"tokens_decoded\": 12, \"ttft\": 0.123456, \"tpot\": null, "
	                    "\"total_time\": 2.000001}|");
}

/* TT-Studio drops chunks that are only whitespace, so none may be written while words can follow. */
static void whitespace_comes_with_the_next_word(void **state)
{
	const struct usage stats = {.tokens = 1, .ttft_ns = -1, .tpot_ns = -1, .total_ns = 0};

	text(*state, "one");
	text(*state, "\n");
	text(*state, "\n ");
	assert_string_equal(written.data, "one");
	text(*state, "two");
	assert_string_equal(written.data, "one\n\n two");
	text(*state, "\n");
	protocol_studio.end(*state, &stats); /* nothing is lost at the end */
	assert_string_equal(written.data,
	                    "one\n\n two\n|[STATS]{\"tokens_decoded\": 1, \"ttft\": null, \"tpot\": null, "
	                    "\"total_time\": 0.000000}|");
}

/* Python's str.isspace decides. */
static void whitespace_is_whatever_unicode_says(void **state)
{
	static const char *const blanks[] = {
		"\t",
		"\x0b",
		"\x0c",
		"\r",
		"\x1c",
		"\x1f",
		" ",
		"\xc2\x85",
		"\xc2\xa0",
		"\xe1\x9a\x80",
		"\xe2\x80\x80",
		"\xe2\x80\x8a",
		"\xe2\x80\xa8",
		"\xe2\x80\xa9",
		"\xe2\x80\xaf",
		"\xe2\x81\x9f",
		"\xe3\x80\x80",
		"\xe3\x80\x80 \xc2\xa0",
	};
	static const char *const words[] = {
		"\x1b",         "\x08",         "\xc2\x84",     "\xc2\xa1", "\xe2\x80\x8b",     "\xe2\x81\xa0",
		"\xe3\x80\x81", "\xef\xbb\xbf", "\xe1\xa0\x8e", "\xc3\xa9", "\xf0\x9f\x98\x80",
	};
	char want[32];

	for (size_t i = 0; i < sizeof blanks / sizeof blanks[0]; i++) {
		buf_reset(&written);
		text(*state, blanks[i]);
		assert_int_equal(written.len, 0);
		text(*state, "x");
		snprintf(want, sizeof want, "%sx", blanks[i]);
		assert_string_equal(written.data, want);
	}
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		buf_reset(&written);
		text(*state, words[i]);
		assert_string_equal(written.data, words[i]);
	}
}

static void whitespace_of_reasoning_stays_in_it(void **state)
{
	reasoning(*state, "hm");
	reasoning(*state, "\n\n");
	text(*state, "Hello");
	assert_string_equal(written.data, "<think>hm\n\n|</think>|Hello");
}

static void searches(void **state)
{
	protocol_studio.tool(*state, "Searching", "weather in Berlin");
	protocol_studio.source(*state, "First [one]", "https://www.example.org/a_(b)");
	protocol_studio.source(*state, "", "https://www.example.com/x");
	protocol_studio.tool(*state, "Searching", "weather in Berlin");
	protocol_studio.tool(*state, "Searching", " two\n\tlines \x01");
	protocol_studio.tool_done(*state);
	protocol_studio.tool(*state, "Running code", NULL);
	text(*state, "Hello");
	assert_string_equal(written.data,
	                    "<think>[searching]\nSearching: weather in Berlin\n"
	                    "Source: [First (one)](https://www.example.org/a_%28b%29)\n"
	                    "Source: [example.com](https://www.example.com/x)\n"
	                    "Searching: two lines\nDone.\nRunning code\n|</think>|Hello");
}

static void reasoning_then_tools_then_text(void **state)
{
	reasoning(*state, "I must ");
	reasoning(*state, "look");
	protocol_studio.tool(*state, "Searching", "x");
	reasoning(*state, "found");
	text(*state, "Yes.");
	reasoning(*state, "more");
	text(*state, "No.");
	assert_string_equal(written.data,
	                    "<think>I must look\n[searching]\nSearching: x\nfound|</think>|Yes."
	                    "<think>more|</think>|No.");
}

static void restarted_reasoning_begins_a_line(void **state)
{
	reasoning(*state, "half a tho");
	protocol_studio.restart(*state);
	reasoning(*state, "another\n");
	protocol_studio.restart(*state);
	text(*state, "Yes.");
	assert_string_equal(written.data,
	                    "<think>half a tho\n[interrupted, starting again]\nanother\n"
	                    "[interrupted, starting again]\n|</think>|Yes.");
}

static void searching_is_shown_once(void **state)
{
	protocol_studio.tool(*state, "Searching", "a");
	text(*state, "t");
	protocol_studio.tool(*state, "Searching", "b");
	text(*state, "u");
	assert_string_equal(written.data,
	                    "<think>[searching]\nSearching: a\n|</think>|t<think>Searching: b\n|</think>|u");
}

static void open_reasoning_is_closed_at_the_end(void **state)
{
	const struct usage stats = {.ttft_ns = -1, .tpot_ns = 1000, .total_ns = 5};

	reasoning(*state, "hm");
	protocol_studio.end(*state, &stats);
	assert_string_equal(written.data,
	                    "<think>hm|</think>|[STATS]{\"tokens_decoded\": 0, \"ttft\": null, \"tpot\": "
	                    "0.000001, \"total_time\": 0.000000}|");
}

static void sentences_are_paragraphs(void **state)
{
	protocol_studio.sentence(*state, "First.");
	protocol_studio.sentence(*state, "Second.");
	text(*state, "x\n");
	protocol_studio.sentence(*state, "Third.");
	text(*state, "\n");
	text(*state, "\n");
	protocol_studio.sentence(*state, "Fourth.");
	reasoning(*state, "r");
	protocol_studio.sentence(*state, "Fifth.");
	assert_string_equal(written.data, "First.\n\nSecond.x\n\nThird.\n\nFourth.<think>r|</think>|\n\nFifth.");
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
			protocol_studio.source(*state, "first", "http://a");
			buf_reset(&written);
			protocol_studio.source(*state, titles[t], urls[u]);
			assert_int_equal(regexec(&pattern, written.data, 0, NULL, 0), 0);
			assert_ptr_equal(strchr(written.data, '\n'), written.data + written.len - 1);
			assert_null(strstr(written.data, "</think>"));
			assert_null(strstr(written.data, "[]"));
		}
	}
	regfree(&pattern);
}

static void titles_hide_nothing(void **state)
{
	static const char title[] =
		"a\xc2\x85"
		"b\xe2\x80\xa8"
		"c\xe2\x80\xa9"
		"d\xe2\x80\xae"
		"e\xe2\x81\xa6"
		"f\xd8\x9c"
		"g\xef\xbb\xbf"
		"h\xe2\x80\x8f"
		"i<script>x</script>\x1b[1m \xc3\xa9\xe2\x80\x93\xe2\x82\xac";

	protocol_studio.source(*state, title, "http://a");
	assert_non_null(
		strstr(written.data, "[a b c d e f g h i(script)x(/script) (1m \xc3\xa9\xe2\x80\x93\xe2\x82\xac]"));
}

static void urls_that_no_browser_should_follow(void **state)
{
	assert_false(protocol_studio.source(*state, "x", NULL));
	assert_false(protocol_studio.source(*state, "x", ""));
	assert_false(protocol_studio.source(*state, "x", "javascript:alert(1)"));
	assert_false(protocol_studio.source(*state, "x", "file:///etc/passwd"));
	protocol_studio.tool(*state, "Searching", " \n ");
	protocol_studio.tool(*state, "Searching", "a<b </think>c");
	assert_string_equal(written.data, "<think>[searching]\nSearching: a<b /think>c\n");
}

static void long_queries_are_cut(void **state)
{
	char query[20001];

	memset(query, 'q', sizeof query - 1);
	query[sizeof query - 1] = '\0';
	protocol_studio.tool(*state, "Searching", query);
	protocol_studio.tool(*state, "Searching", query);
	assert_int_equal(written.len, strlen("<think>[searching]\nSearching: \n") + 1000);
}

/* What the keeper of a dead worker sends after what is written so far. */
static const char *broken_end(void)
{
	static char all[2048];
	struct broken_reply b = {.state = out.state, .usage = {.tokens = 2, .ttft_ns = 1000000, .tpot_ns = -1}};
	bool last = false;
	size_t len = 0;

	while (!last) {
		len += protocol_studio.broken(&b, all + len, sizeof all - len, &last);
		all[len++] = '|';
	}
	all[len] = '\0';
	return all;
}

#define BROKE_OFF                                                                                                      \
	"The answer broke off here because the part of the service that was writing it ended unexpectedly. "           \
	"Please ask again."
#define STATS "[STATS]{\"tokens_decoded\": 2, \"ttft\": 0.001000, \"tpot\": null, \"total_time\": 0.000000}"

static void a_dead_workers_answers_end_as_broken(void **state)
{
	assert_string_equal(broken_end(), BROKE_OFF "|" STATS "|");
	reasoning(*state, "hm");
	assert_string_equal(broken_end(), "</think>|" BROKE_OFF "|" STATS "|");
	text(*state, "Hello");
	assert_string_equal(broken_end(), "\n\n" BROKE_OFF "|" STATS "|");
	protocol_studio.tool(*state, "Searching", "x");
	assert_string_equal(broken_end(), "</think>|" BROKE_OFF "|" STATS "|");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(plain_answer),
		TEST(whitespace_comes_with_the_next_word),
		TEST(whitespace_is_whatever_unicode_says),
		TEST(whitespace_of_reasoning_stays_in_it),
		TEST(searches),
		TEST(reasoning_then_tools_then_text),
		TEST(restarted_reasoning_begins_a_line),
		TEST(searching_is_shown_once),
		TEST(open_reasoning_is_closed_at_the_end),
		TEST(sentences_are_paragraphs),
		TEST(sources_always_match),
		TEST(titles_hide_nothing),
		TEST(urls_that_no_browser_should_follow),
		TEST(long_queries_are_cut),
		TEST(a_dead_workers_answers_end_as_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
