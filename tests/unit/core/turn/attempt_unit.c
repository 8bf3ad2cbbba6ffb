/* SPDX-License-Identifier: Apache-2.0 */
/* What is shown of an LLM's answer, and what is stored for the history, at every split. */
#include "core/base/buf.h"
#include "core/turn/attempt.h"
#include "tests/unit/support/test_output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct output out;
static struct reply *reply;
static struct stream *stream;
static struct answer answer;

static void take_pieces(void)
{
	struct piece p;

	while (stream_next(stream, &p))
		answer_take(&answer, &p);
}

/* An event with a piece of the answer in one of its fields. */
static void feed_event(const char *field, const char *text, size_t len)
{
	json_t *event = json_pack("{s:[{s:{s:s%}}]}", "choices", "delta", field, text, len);
	char *json = json_dumps(event, JSON_COMPACT);
	struct buf line = BUF_INIT(1 << 20);

	assert_int_equal(buf_addf(&line, "data: %s\n\n", json), 0);
	stream_feed(stream, line.data, line.len);
	take_pieces();
	buf_free(&line);
	free(json);
	json_decref(event);
}

/* In pieces of the size step. */
static void feed(const char *field, const char *text, size_t step)
{
	for (size_t len = strlen(text), n; len > 0; text += n, len -= n) {
		n = len < step ? len : step;
		feed_event(field, text, n);
	}
}

static void begin(void)
{
	buf_init(&out.written, 1 << 20);
	reply = protocol_studio.open(&protocol_studio, &out, NULL);
	stream = stream_new();
	assert_non_null(reply);
	assert_non_null(stream);
	answer_init(&answer, reply);
	stream_begin(stream, NULL);
	answer_begin(&answer);
}

static void end_attempt(bool complete)
{
	static const char done[] =
		"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

	if (complete) {
		stream_feed(stream, done, sizeof done - 1);
		take_pieces();
	}
	stream_close(stream);
	take_pieces();
	answer_end(&answer, NULL, complete);
	stream_begin(stream, NULL);
}

static void end(const char *want_shown, const char *want_stored)
{
	end_attempt(true);
	protocol_studio.close(reply);
	assert_int_equal(answer.text.len, strlen(want_stored));
	if (answer.text.len > 0)
		assert_memory_equal(answer.text.data, want_stored, answer.text.len);
	assert_int_equal(answer_is_shown(&answer), answer.text.len > 0);
	assert_string_equal(out.written.data, want_shown);
	answer_clear(&answer);
	protocol_studio.free(reply);
	stream_free(stream);
	buf_free(&out.written);
}

static void unopened_reasoning_is_not_stored(void **state)
{
	static const struct {
		const char *text, *shown, *stored;
	} rows[] = {
		{"Hm.</think>Yes.", "Hm.\n\nYes.", "Yes."},
		{"Hm.\n</think>\n\nYes.", "Hm.\n\nYes.", "Yes."},
		{"Hm.\n\n</think>\n\n\n\nYes.", "Hm.\n\nYes.", "Yes."},
		{"\n</think>Yes.", "Yes.", "Yes."},
		{"</think>\n\nYes.", "\n\nYes.", "\n\nYes."},
		{"Hm.</think>", "Hm.\n\n", ""},
		/* only the first ends reasoning; others are text, as are those of a model that opened it */
		{"Hm.</think>The tag </think> ends it.", "Hm.\n\nThe tag </think> ends it.",
	         "The tag </think> ends it."},
		{"<think>Hm.</think>The tag </think> ends it.", "<think>Hm.</think>The tag </think> ends it.",
	         "The tag </think> ends it."},
		/* what is only mentioned is text */
		{"Close it with </think> and go on.", "Close it with </think> and go on.",
	         "Close it with </think> and go on."},
		{"Models wrap it in `<think>`.\nA `</think>` ends it.\n</think>\nis the tag.",
	         "Models wrap it in `<think>`.\nA `</think>` ends it.\n\nis the tag.", "is the tag."},
		{"It goes from <think> to\n</think>\nas text.", "It goes from <think> to\n</think>\nas text.",
	         "It goes from <think> to\n</think>\nas text."},
		{"```\nHm.\n</think>\n```\nok", "```\nHm.\n</think>\n```\nok", "```\nHm.\n</think>\n```\nok"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t step = 1; step <= strlen(rows[i].text); step++) {
			begin();

			feed("content", rows[i].text, step);
			end(rows[i].shown, rows[i].stored);
		}
	}
}

static void an_answer_after_reasoning_in_a_field_keeps_its_words(void **state)
{
	begin();

	(void)state;
	feed("reasoning_content", "Hm.", 1);
	feed("content", "The tag </think> ends it.", 1);
	end("<think>Hm.</think>The tag </think> ends it.", "The tag </think> ends it.");
}

/* Each attempt may begin with such reasoning; one that continues an answer keeps it. */
static void each_attempt_may_reason(void **state)
{
	begin();

	(void)state;
	feed("content", "Hm.</think>I look.", 3);
	end_attempt(true);
	answer_begin(&answer);
	feed("content", "So.</think>Ye", 3);
	end_attempt(false);
	answer_continue(&answer);
	feed("content", "s. </think>It is.", 3);
	end("Hm.\n\nI look.So.\n\nYes. It is.", "Yes. It is.");
}

static void another_llm_may_end_the_reasoning(void **state)
{
	begin();

	(void)state;
	feed("content", "Hm", 3);
	end_attempt(false);
	answer_continue(&answer);
	feed("content", ", so.</think>Yes.", 3);
	end("Hm, so.\n\nYes.", "Yes.");
}

/* Only where an attempt reasons again, and not where text or a complete attempt is in between. */
static void reasoning_after_one_that_broke_off_begins_a_line(void **state)
{
	static const struct {
		bool whole;
		const char *text, *then, *shown;
	} rows[] = {
		{false, "", "So.", "<think>Hm\n[interrupted, starting again]\nSo.</think>Yes."},
		{false, "", "", "<think>Hm</think>Yes."},
		{false, "I", "So.", "<think>Hm</think>I<think>So.</think>Yes."},
		{true, "", "So.", "<think>HmSo.</think>Yes."},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		begin();

		feed("reasoning_content", "Hm", 2);
		feed("content", rows[i].text, 1);
		end_attempt(rows[i].whole);
		answer_begin(&answer); /* one that gives nothing at all */
		end_attempt(rows[i].whole);
		answer_begin(&answer);
		feed("reasoning_content", rows[i].then, 3);
		feed("content", "Yes.", 4);
		end(rows[i].shown, "Yes.");
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
			begin();

			feed("reasoning_content", rows[i].text, step);
			feed("content", "Yes.", step);
			end(rows[i].shown, "Yes.");
		}
	}
}

static void reasoning_alone_is_shown_to_its_last_byte(void **state)
{
	begin();

	(void)state;
	feed("reasoning_content", "a < b <", 1);
	end("<think>a < b <</think>", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unopened_reasoning_is_not_stored),
		cmocka_unit_test(an_answer_after_reasoning_in_a_field_keeps_its_words),
		cmocka_unit_test(each_attempt_may_reason),
		cmocka_unit_test(reasoning_after_one_that_broke_off_begins_a_line),
		cmocka_unit_test(another_llm_may_end_the_reasoning),
		cmocka_unit_test(tags_in_a_reasoning_field_are_dropped),
		cmocka_unit_test(reasoning_alone_is_shown_to_its_last_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
