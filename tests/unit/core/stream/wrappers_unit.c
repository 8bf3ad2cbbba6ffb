/* SPDX-License-Identifier: Apache-2.0 */
/* Every row of the table of wrappers, wherever the text is cut or breaks off: what is before and after a wrapper
 * is whole, and nothing of it is shown. A new row is tested without a line here. */
#include "core/stream/filter.h"

#include "core/base/buf.h"
#include "core/stream/wrappers.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BEFORE "Before it.\n"
#define AFTER  "After it."

static const char *const tools[] = {"search", "run_code", NULL};

struct seen {
	struct buf text, reasoning, calls;
};

static void take(struct filter *f, struct seen *s)
{
	struct filter_piece p;

	while (filter_next(f, &p)) {
		if (p.kind == PIECE_TEXT)
			buf_add(&s->text, p.bytes, p.len);
		if (p.kind == PIECE_REASONING && !p.reasoned)
			buf_add(&s->reasoning, p.bytes, p.len);
		if (p.kind == PIECE_CALL)
			buf_addf(&s->calls, "%s%s%s;", p.reasoned ? "~" : "", p.name, p.arguments);
		if (p.kind == PIECE_UNOPENED)
			buf_adds(&s->text, "¬");
	}
}

static void feed(struct filter *f, struct seen *s, const char *bytes, size_t len)
{
	char *piece = malloc(len + (len == 0));

	assert_non_null(piece);
	memcpy(piece, bytes, len);
	filter_feed(f, piece, len);
	take(f, s);
	free(piece);
}

/* The first len bytes, cut at a place. */
static struct seen sorted(const char *text, size_t len, size_t cut, bool breaks)
{
	struct seen s = {BUF_INIT(1 << 20), BUF_INIT(1 << 20), BUF_INIT(1 << 20)};
	struct filter *f = filter_new();

	assert_non_null(f);
	buf_adds(&s.text, "");
	buf_adds(&s.reasoning, "");
	buf_adds(&s.calls, "");
	filter_begin(f, tools);
	feed(f, &s, text, cut);
	feed(f, &s, text + cut, len - cut);
	if (breaks)
		filter_break(f);
	else
		filter_end(f);
	take(f, &s);
	filter_free(f);
	return s;
}

static void clear(struct seen *s)
{
	buf_free(&s->text);
	buf_free(&s->reasoning);
	buf_free(&s->calls);
}

static void check(const char *text, const char *want, const char *reasoning, const char *calls)
{
	size_t len = strlen(text);

	for (size_t cut = 0; cut <= len; cut++) {
		struct seen s = sorted(text, len, cut, false);

		if (strcmp(s.text.data, want) != 0 || strcmp(s.reasoning.data, reasoning) != 0 ||
		    strcmp(s.calls.data, calls) != 0)
			fail_msg("%s\ncut at %zu: text %s\nreasoning %s\ncalls %s", text, cut, s.text.data,
			         s.reasoning.data, s.calls.data);
		clear(&s);
	}
}

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* ---- calls ---- */

static bool ends(const char *text, const char *with)
{
	return strlen(text) >= strlen(with) && strcmp(text + strlen(text) - strlen(with), with) == 0;
}

/* What comes between opening and closing: by how the opening ends where that is part of the call. */
static const char *call_in(const struct wrapper *w)
{
	static const struct {
		const char *end, *call;
	} heads[] = {
		{"function=", "search>{\"query\":\"x\"}"},
		{"name=", "\"search\"><parameter name=\"query\">x</parameter>"},
		{"invoke", " name=\"search\">{\"query\":\"x\"}"},
		{"call", " tool=\"search\"<|sep|>{\"query\":\"x\"}"},
	};

	for (size_t i = 0; (w->flags & WRAPPER_HEAD) != 0 && i < sizeof heads / sizeof heads[0]; i++)
		if (ends(w->opening, heads[i].end))
			return heads[i].call;
	assert_true((w->flags & WRAPPER_HEAD) == 0);
	return "{\"name\":\"search\",\"arguments\":{\"query\":\"x\"}}";
}

static char *wrapped(const struct wrapper *w, const char *before, const char *inside, const char *after)
{
	struct buf text = BUF_INIT(1 << 16);

	assert_int_equal(buf_addf(&text, "%s%s%s%s%s", before, w->opening, inside, w->closing, after), 0);
	return buf_steal(&text, NULL);
}

#define EACH(w, wanted)                                                                                                \
	for (const struct wrapper *w = wrappers; w < wrappers + wrappers_count; w++)                                   \
		if (w->kind == (wanted) && (w->flags & WRAPPER_WORDS) == 0)

static const char *before(const struct wrapper *w)
{
	return (w->flags & WRAPPER_START) != 0 ? "" : BEFORE;
}

static void a_call_in_each_wrapper_is_a_call(void **state)
{
	(void)state;
	EACH(w, WRAPPER_CALL)
	{
		char *text = wrapped(w, before(w), call_in(w), "\n" AFTER);
		char *two = wrapped(w, text, call_in(w), "");
		struct buf want = BUF_INIT(1000);

		buf_addf(&want, "%s%s", before(w), AFTER);
		/* A closing that is a token leaves the line end after it. */
		if ((w->flags & (WRAPPER_TOKEN | WRAPPER_HEAD)) == WRAPPER_TOKEN && w->closing_len > 0) {
			buf_reset(&want);
			buf_addf(&want, "%s\n%s", before(w), AFTER);
		}
		check(text, want.data, "", "search{\"query\":\"x\"};");
		if ((w->flags & WRAPPER_START) == 0)
			check(two, want.data, "", "search{\"query\":\"x\"};search{\"query\":\"x\"};");
		buf_free(&want);
		free(text);
		free(two);
	}
}

static void what_breaks_off_shows_nothing_of_a_call(void **state)
{
	(void)state;
	EACH(w, WRAPPER_CALL)
	{
		char *text = wrapped(w, before(w), call_in(w), "");
		size_t from = strlen(before(w)), opened = from + w->opening_len, len = strlen(text);

		for (size_t cut = from; cut <= len; cut++) {
			struct seen s = sorted(text, cut, cut / 2, true);

			if (!begins(s.text.data, before(w)) || (cut >= opened && strlen(s.text.data) > from))
				fail_msg("%.*s: %s", (int)cut, text, s.text.data);
			clear(&s);
			/* Where that is the whole answer, it is text or a call. */
			s = sorted(text, cut, cut / 2, false);
			if (!begins(s.text.data, before(w)) ||
			    ((w->flags & WRAPPER_TOKEN) != 0 && strstr(s.text.data, w->opening) != NULL) ||
			    (w->flags == 0 && s.calls.len == 0 && strncmp(s.text.data, text, cut) != 0))
				fail_msg("%.*s: %s", (int)cut, text, s.text.data);
			clear(&s);
		}
		free(text);
	}
}

static void without_a_call_it_is_text(void **state)
{
	static const char *const inside[] = {"no call", "{\"name\":\"other\",\"arguments\":{}}", "other(x=1)"};

	(void)state;
	EACH(w, WRAPPER_CALL)
	{
		for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
			char *text = wrapped(w, before(w), inside[i], " " AFTER);
			struct buf want = BUF_INIT(1000);

			if ((w->flags & WRAPPER_TOKEN) != 0)
				buf_addf(&want, "%s%s %s", before(w), inside[i], AFTER);
			if ((w->flags & WRAPPER_TOKEN) == 0 && strstr(w->closing, "<|") == NULL)
				buf_adds(&want, text);
			if (want.len > 0 && (w->flags & WRAPPER_HEAD) == 0)
				check(text, want.data, "", "");
			buf_free(&want);
			free(text);
		}
	}
}

/* In code, and for those that are no token within prose. */
static void what_is_quoted_is_text(void **state)
{
	static const char *const quotes[][2] = {
		{"So: `", "` is how."}, {"So:\n```\n", "\n```\nok"}, {"```xml\n", "\n```\nok"}, {"~~~\n", "\n~~~\n"},
		{"So:\n> ", "\nok"},    {"It writes ", " to call."}, {"It writes (", ")."},
	};

	(void)state;
	EACH(w, WRAPPER_CALL)
	{
		for (size_t i = 0; i < sizeof quotes / sizeof quotes[0]; i++) {
			char *text = wrapped(w, quotes[i][0], call_in(w), quotes[i][1]);

			if ((w->flags & (WRAPPER_START | WRAPPER_ALWAYS)) == 0 &&
			    ((w->flags & WRAPPER_TOKEN) == 0 || i < 5))
				check(text, text, "", "");
			free(text);
		}
	}
}

/* ---- reasoning ---- */

static void reasoning_in_each_wrapper_is_reasoning(void **state)
{
	(void)state;
	EACH(w, WRAPPER_THINK)
	{
		char *text = wrapped(w, "", "hm <b> `x`", AFTER);
		char *call =
			wrapped(w, "\n", "hm\n<tool_call>{\"name\":\"search\",\"arguments\":{}}</tool_call>\n", "");

		check(text, AFTER, "hm <b> `x`", "");
		check(call, "", "hm\n", "~search{};");
		for (size_t cut = w->opening_len; cut <= strlen(text); cut++) {
			struct seen s = sorted(text, cut, cut / 2, true);

			assert_true(begins(AFTER, s.text.data));
			assert_true(begins(s.reasoning.data, "hm <b> `x`") || begins("hm <b> `x`", s.reasoning.data) ||
			            begins(w->closing, s.reasoning.data + strlen("hm <b> `x`")));
			clear(&s);
		}
		free(text);
		free(call);
	}
}

static void a_tag_within_an_answer_is_text(void **state)
{
	(void)state;
	EACH(w, WRAPPER_THINK)
	{
		char *text = wrapped(w, "Models write ", " and ", " around it.");
		char *code = wrapped(w, "Models write `", "` and `", "` around it.");

		if ((w->flags & WRAPPER_TOKEN) == 0)
			check(text, text, "", "");
		if (strchr(w->opening, '\n') == NULL)
			check(code, code, "", "");
		free(text);
		free(code);
	}
}

/* ---- tokens ---- */

static void tokens_are_not_shown(void **state)
{
	static const char *const names[] = {"<|im_end|>", "<|endoftext|>", "<｜end▁of▁sentence｜>", "<|end_of_turn|>",
	                                    "<|return|>", "<|call|>",      "<|END_RESPONSE|>",      "<|/x|>"};
	char text[200];

	(void)state;
	EACH(w, WRAPPER_DROP)
	{
		char *dropped = wrapped(w, before(w), AFTER, "");

		snprintf(text, sizeof text, "%s%s", before(w), AFTER);
		check(dropped, text, "", "");
		free(dropped);
	}
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		snprintf(text, sizeof text, "a%sb%s", names[i], names[i]);
		check(text, "ab", "", "");
		snprintf(text, sizeof text, "`a%sb`", names[i]);
		check(text, text, "", "");
	}
	check("f <| g |> h <|x y z|> <||> <|", "f <| g |> h  <||> <|", "", "");
}

static void words_that_begin_an_answer_may_be_reasoning(void **state)
{
	(void)state;
	for (const struct wrapper *w = wrappers; w < wrappers + wrappers_count; w++) {
		char text[300], want[300];

		if (w->kind != WRAPPER_THINK || (w->flags & WRAPPER_WORDS) == 0)
			continue;
		snprintf(text, sizeof text, "%s Hm.\n%s" AFTER, w->opening, w->closing);
		snprintf(want, sizeof want, "%s Hm.\n¬" AFTER, w->opening);
		check(text, want, "", "");
		snprintf(text, sizeof text, "%s this is the answer.", w->opening);
		check(text, text, "", "");
		snprintf(text, sizeof text, "Hm. %s so. %s no.", w->opening, w->closing);
		if (*w->closing != '[')
			check(text, text, "", "");
	}
	check("analysisI search.assistantcommentary to=functions.search json{\"query\":\"x\"}", "analysisI search.", "",
	      "search{\"query\":\"x\"};");
	check("He said assistantcommentary to=functions.search json{}.",
	      "He said assistantcommentary to=functions.search json{}.", "", "");
}

/* ---- answers of real models ---- */

static void each_family_is_understood(void **state)
{
	const char *srcdir = getenv("srcdir");
	char path[512];
	json_error_t e;
	json_t *families, *one;
	size_t i;

	(void)state;
	snprintf(path, sizeof path, "%s/tests/data/dialogues/families/families.json", srcdir == NULL ? "." : srcdir);
	families = json_load_file(path, 0, &e);
	if (families == NULL)
		fail_msg("%s:%d: %s", path, e.line, e.text);
	assert_true(json_array_size(families) > 0);
	json_array_foreach(families, i, one)
	{
		const char *reasoning = json_string_value(json_object_get(one, "reasoning"));
		const char *text = json_string_value(json_object_get(one, "text"));
		const char *calls = json_string_value(json_object_get(one, "calls"));

		check(json_string_value(json_object_get(one, "output")), text != NULL ? text : "",
		      reasoning != NULL ? reasoning : "", calls != NULL ? calls : "");
	}
	json_decref(families);
}

/* ---- hostile text ---- */

static void hostile_text_takes_linear_time(void **state)
{
	static const char *const units[] = {"<",
	                                    "<|",
	                                    "<tool_call>",
	                                    "<function=search>",
	                                    "[",
	                                    "```\n",
	                                    "`",
	                                    "{\"name\":",
	                                    ".\n{\"name\":\"search\",\"",
	                                    "<think>",
	                                    "</think>",
	                                    " ",
	                                    "search(",
	                                    "<|tool_call|>[",
	                                    ".\n[search(",
	                                    "]<]minimax",
	                                    "p",
	                                    "\n> ",
	                                    "<｜",
	                                    "<function=search><parameter=a>"};
	const size_t len = 1 << 20;
	char *text = malloc(len);

	(void)state;
	assert_non_null(text);
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		const size_t unit = strlen(units[i]);

		for (size_t n = 0; n < len; n++)
			text[n] = units[i][n % unit];
		for (size_t step = 7; step <= len; step *= 400) {
			struct seen s = {BUF_INIT(1 << 22), BUF_INIT(1 << 22), BUF_INIT(1 << 22)};
			struct filter *f = filter_new();

			assert_non_null(f);
			filter_begin(f, tools);
			for (size_t n = 0; n < len; n += step)
				feed(f, &s, text + n, len - n < step ? len - n : step);
			filter_end(f);
			take(f, &s);
			assert_false(filter_lost(f));
			filter_free(f);
			clear(&s);
		}
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_in_each_wrapper_is_a_call),
		cmocka_unit_test(what_breaks_off_shows_nothing_of_a_call),
		cmocka_unit_test(without_a_call_it_is_text),
		cmocka_unit_test(what_is_quoted_is_text),
		cmocka_unit_test(reasoning_in_each_wrapper_is_reasoning),
		cmocka_unit_test(a_tag_within_an_answer_is_text),
		cmocka_unit_test(tokens_are_not_shown),
		cmocka_unit_test(words_that_begin_an_answer_may_be_reasoning),
		cmocka_unit_test(each_family_is_understood),
		cmocka_unit_test(hostile_text_takes_linear_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
