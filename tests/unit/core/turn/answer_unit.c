/* SPDX-License-Identifier: Apache-2.0 */
/* What of an LLM's words is shown, and what is kept for the history, at every split. */
#include "core/base/buf.h"
#include "core/turn/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct buf shown = BUF_INIT(1 << 20);

static void on_write(void *arg, const char *bytes, size_t len, bool apart)
{
	(void)arg;
	(void)apart;
	assert_int_equal(buf_add(&shown, bytes, len), 0);
}

static void on_call(void *arg, const char *name, const char *arguments)
{
	(void)arg;
	fail_msg("a call: %s %s", name, arguments);
}

static bool is_tool(void *arg, const char *name, size_t len)
{
	(void)arg;
	(void)name;
	(void)len;
	return false;
}

static const struct answer_handlers handlers = {.write = on_write, .call = on_call, .is_tool = is_tool};

typedef void feed_fn(struct answer *a, const char *bytes, size_t len);

/* In pieces of the size step, each a copy that ends where it does. */
static void feed(feed_fn *fn, struct answer *a, const char *text, size_t step)
{
	for (size_t len = strlen(text), n; len > 0; text += n, len -= n) {
		char *piece = malloc(n = len < step ? len : step);

		assert_non_null(piece);
		memcpy(piece, text, n);
		fn(a, piece, n);
		free(piece);
	}
}

static struct answer *begin(void)
{
	struct answer *a = answer_new(&handlers, NULL);

	assert_non_null(a);
	buf_reset(&shown);
	answer_begin(a);
	return a;
}

static void end(struct answer *a, const char *want_shown, const char *want_kept)
{
	size_t len;
	const char *kept;

	answer_end_ask(a, -1, true);
	answer_close(a);
	kept = answer_text(a, &len);
	assert_int_equal(len, strlen(want_kept));
	assert_memory_equal(kept, want_kept, len);
	assert_int_equal(answer_is_shown(a), len > 0);
	assert_string_equal(shown.data, want_shown);
	answer_free(a);
}

static void reasoning_that_nothing_opened_is_not_kept(void **state)
{
	static const struct {
		const char *text, *shown, *kept;
	} rows[] = {
		{"Hm.</think>Yes.", "Hm.\n\nYes.", "Yes."},
		{"Hm.\n</think>\n\nYes.", "Hm.\n\nYes.", "Yes."},
		{"Hm.\n\n</think>\n\n\n\nYes.", "Hm.\n\nYes.", "Yes."},
		{"\n</think>Yes.", "Yes.", "Yes."},
		{"</think>\n\nYes.", "\n\nYes.", "\n\nYes."},
		{"Hm.</think>", "Hm.\n\n", ""},
		/* only the first ends reasoning; others are words, as are those of a model that opened it */
		{"Hm.</think>The tag </think> ends it.", "Hm.\n\nThe tag  ends it.", "The tag  ends it."},
		{"<think>Hm.</think>The tag </think> ends it.", "<think>Hm.</think>The tag  ends it.",
	         "The tag  ends it."},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t step = 1; step <= strlen(rows[i].text); step++) {
			struct answer *a = begin();

			feed(answer_content, a, rows[i].text, step);
			end(a, rows[i].shown, rows[i].kept);
		}
	}
}

static void an_answer_after_reasoning_in_a_field_keeps_its_words(void **state)
{
	struct answer *a = begin();

	(void)state;
	feed(answer_reasoning, a, "Hm.", 1);
	feed(answer_content, a, "The tag </think> ends it.", 1);
	end(a, "<think>Hm.</think>The tag  ends it.", "The tag  ends it.");
}

/* Each ask may begin with such reasoning; one that goes on with an answer keeps that. */
static void each_ask_may_reason(void **state)
{
	struct answer *a = begin();

	(void)state;
	feed(answer_content, a, "Hm.</think>I look.", 3);
	answer_end_ask(a, -1, true);
	answer_begin(a);
	feed(answer_content, a, "So.</think>Ye", 3);
	answer_end_ask(a, -1, false);
	answer_go_on(a);
	feed(answer_content, a, "s. </think>It is.", 3);
	end(a, "Hm.\n\nI look.So.\n\nYes. It is.", "Yes. It is.");
}

static void another_llm_may_end_the_reasoning(void **state)
{
	struct answer *a = begin();

	(void)state;
	feed(answer_content, a, "Hm", 3);
	answer_end_ask(a, -1, false);
	answer_go_on(a);
	feed(answer_content, a, ", so.</think>Yes.", 3);
	end(a, "Hm, so.\n\nYes.", "Yes.");
}

/* Only where one reasons again, and not where text or an ask that was whole lies between. */
static void reasoning_after_one_that_broke_off_is_told_apart(void **state)
{
	static const struct {
		bool whole;
		const char *text, *then, *shown;
	} rows[] = {
		{false, "", "So.", "<think>Hm\n[interrupted, starting anew]\nSo.</think>Yes."},
		{false, "", "", "<think>Hm</think>Yes."},
		{false, "I", "So.", "<think>Hm</think>I<think>So.</think>Yes."},
		{true, "", "So.", "<think>HmSo.</think>Yes."},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct answer *a = begin();

		feed(answer_reasoning, a, "Hm", 2);
		feed(answer_content, a, rows[i].text, 1);
		answer_end_ask(a, -1, rows[i].whole);
		answer_begin(a); /* one that gives nothing at all */
		answer_end_ask(a, -1, rows[i].whole);
		answer_begin(a);
		feed(answer_reasoning, a, rows[i].then, 3);
		feed(answer_content, a, "Yes.", 4);
		end(a, rows[i].shown, "Yes.");
	}
}

static void tags_in_a_reasoning_field_are_dropped(void **state)
{
	static const struct {
		const char *text, *shown;
	} rows[] = {
		{"<think>Hm.</think>", "<think>Hm.</think>Yes."},
		{"Hm</think>, so<think>.", "<think>Hm, so.</think>Yes."},
		{"Hm. </thin", "<think>Hm. </thin</think>Yes."},
		{"\n<think>\nHm.\n</think>\n", "<think>\nHm.\n</think>Yes."},
		{"<think></think>", "Yes."},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t step = 1; step <= strlen(rows[i].text); step++) {
			struct answer *a = begin();

			feed(answer_reasoning, a, rows[i].text, step);
			feed(answer_content, a, "Yes.", step);
			end(a, rows[i].shown, "Yes.");
		}
	}
}

static void reasoning_alone_is_shown_to_its_last_byte(void **state)
{
	struct answer *a = begin();

	(void)state;
	feed(answer_reasoning, a, "a < b <", 1);
	end(a, "<think>a < b <</think>", "");
}

static int teardown(void **state)
{
	(void)state;
	buf_free(&shown);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reasoning_that_nothing_opened_is_not_kept),
		cmocka_unit_test(an_answer_after_reasoning_in_a_field_keeps_its_words),
		cmocka_unit_test(each_ask_may_reason),
		cmocka_unit_test(reasoning_after_one_that_broke_off_is_told_apart),
		cmocka_unit_test(another_llm_may_end_the_reasoning),
		cmocka_unit_test(tags_in_a_reasoning_field_are_dropped),
		cmocka_unit_test(reasoning_alone_is_shown_to_its_last_byte),
	};

	return cmocka_run_group_tests(tests, NULL, teardown);
}
