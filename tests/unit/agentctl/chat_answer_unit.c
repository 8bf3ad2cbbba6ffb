/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agentctl chat: what of an answer is text, reasoning and statistics, however it was cut. */
#include "agentctl/chat/chat_answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define STATS "[STATS]{\"tokens_decoded\": 3, \"ttft\": 0.1, \"tpot\": null, \"total_time\": 1.5}"

struct shown {
	struct buf text; /* reasoning between < and > */
	bool reasoning;
};

static void add(void *arg, bool reasoning, const char *bytes, size_t len)
{
	struct shown *s = arg;

	if (reasoning != s->reasoning)
		buf_adds(&s->text, reasoning ? "{" : "}");
	s->reasoning = reasoning;
	buf_add(&s->text, bytes, len);
}

/* The answer in pieces of `size` bytes. Returns the statistics. */
static json_t *read_in_pieces(const char *answer, size_t size, struct shown *s, json_t **waiting)
{
	size_t len = strlen(answer);
	struct chat_answer a;

	*s = (struct shown){.reasoning = false};
	buf_init(&s->text, 1u << 20);
	chat_answer_begin(&a, add, s);
	for (size_t at = 0; at < len; at += size)
		assert_int_equal(chat_answer_feed(&a, answer + at, len - at < size ? len - at : size), 0);
	return chat_answer_end(&a, waiting);
}

static void expect(const char *answer, const char *shown, bool whole)
{
	for (size_t size = 1; size <= strlen(answer); size++) {
		json_t *waiting, *statistics;
		struct shown s;

		statistics = read_in_pieces(answer, size, &s, &waiting);
		assert_string_equal(s.text.data != NULL ? s.text.data : "", shown);
		assert_int_equal(statistics != NULL, whole);
		assert_null(waiting);
		json_decref(statistics);
		buf_free(&s.text);
	}
}

static void text_and_statistics(void **state)
{
	(void)state;
	expect("Hello, w\xc3\xb6rld." STATS, "Hello, w\xc3\xb6rld.", true);
	expect(STATS, "", true);
	expect("Two\nlines\n" STATS, "Two\nlines\n", true);
}

static void an_answer_without_its_end_is_not_whole(void **state)
{
	(void)state;
	expect("Hello", "Hello", false);
	expect("Hello [STA", "Hello [STA", false);
	expect("Hello [STATS]{\"tokens_decoded\": 3,", "Hello [STATS]{\"tokens_decoded\": 3,", false);
}

static void reasoning_is_no_text(void **state)
{
	(void)state;
	expect("<think>Let me see.</think>Four." STATS, "{Let me see.}Four.", true);
	expect("Wait.\n<think>Searching: x\n</think>Found" STATS, "Wait.\n{Searching: x\n}Found", true);
	expect("<think>a < b</thin</think>c" STATS, "{a < b</thin}c", true);
	expect("<think>never closed", "{never closed", false);
}

/* A model mentions the marks. */
static void marks_in_text_are_text(void **state)
{
	(void)state;
	expect("Say [STATS]{x} or [STATS] alone" STATS, "Say [STATS]{x} or [STATS] alone", true);
	expect("Say [STATS]{\"a\": 1} first" STATS, "Say [STATS]{\"a\": 1} first", true);
	expect("It ends with </think> here" STATS, "It ends with </think> here", true);
}

static void statistics_do_not_hold_back_a_long_text(void **state)
{
	char long_text[3000] = "[STATS]{\"", *answer = NULL;

	(void)state;
	memset(long_text + strlen(long_text), 'x', 2000);
	assert_true(asprintf(&answer, "%s%s", long_text, STATS) > 0);
	expect(answer, long_text, true);
	free(answer);
}

static void the_service_waits_for_an_llm(void **state)
{
	static const char waits[] = "data: {\"status\": \"waiting\", \"message\": \"Agent is initializing\"}\n\n";

	(void)state;
	for (size_t size = 1; size < sizeof waits; size++) {
		json_t *waiting, *statistics;
		struct shown s;

		statistics = read_in_pieces(waits, size, &s, &waiting);
		assert_string_equal(json_string_value(json_object_get(waiting, "message")), "Agent is initializing");
		assert_null(statistics);
		assert_int_equal(s.text.len, 0);
		json_decref(waiting);
		buf_free(&s.text);
	}
	expect("data: is a word." STATS, "data: is a word.", true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_and_statistics),
		cmocka_unit_test(an_answer_without_its_end_is_not_whole),
		cmocka_unit_test(reasoning_is_no_text),
		cmocka_unit_test(marks_in_text_are_text),
		cmocka_unit_test(statistics_do_not_hold_back_a_long_text),
		cmocka_unit_test(the_service_waits_for_an_llm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
