/* SPDX-License-Identifier: Apache-2.0 */
/* What models write as text, sorted the same wherever it is cut. */
#include "core/stream/filter.h"

#include "core/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* What came out: text as it is, reasoning in «», calls as ‹name arguments›, an end of
 * reasoning that nothing opened as ¬. */
struct seen {
	struct buf out;
	char kind;
	bool waits_for_more;
};

static void put(struct seen *s, char kind, const char *bytes, size_t len)
{
	if (kind != s->kind && s->kind == 'r')
		buf_adds(&s->out, "»");
	if (kind != s->kind && kind == 'r')
		buf_adds(&s->out, "«");
	s->kind = kind;
	assert_int_equal(buf_add(&s->out, bytes, len), 0);
}

static const char *const with_tools[] = {"search", "run_code", NULL};
static const char *const *const without_tools = NULL;

/* All pieces that are there. */
static void take(struct filter *f, struct seen *s)
{
	struct filter_piece p;

	while (filter_next(f, &p)) {
		if (p.reasoned && !s->waits_for_more)
			p.kind = PIECE_REASONING; /* as where something follows */
		switch (p.kind) {
		case PIECE_TEXT:
		case PIECE_REASONING:
			assert_true(p.len > 0);
			put(s, p.kind == PIECE_TEXT ? 't' : 'r', p.bytes, p.len);
			break;
		case PIECE_CALL:
			put(s, 'c', "", 0);
			buf_addf(&s->out, "‹%s %s›", p.name, p.arguments);
			break;
		case PIECE_UNOPENED:
			put(s, 'u', "¬", 2);
			break;
		default:
			fail();
		}
	}
	assert_false(filter_next(f, &p));
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

static char *finish(struct filter *f, struct seen *s)
{
	filter_end(f);
	take(f, s);
	assert_false(filter_lost(f));
	put(s, 'e', "", 0);
	filter_free(f);
	return buf_steal(&s->out, NULL);
}

static struct filter *begin(const char *const *tools)
{
	struct filter *f = filter_new();

	assert_non_null(f);
	filter_begin(f, tools);
	return f;
}

static char *filtered(const char *const *tools, const char *text, size_t a, size_t b, size_t step)
{
	struct seen s = {.out = BUF_INIT(1 << 24)};
	struct filter *f = begin(tools);
	size_t len = strlen(text);

	if (step > 0) {
		for (size_t i = 0; i < len; i += step)
			feed(f, &s, text + i, len - i < step ? len - i : step);
	} else {
		feed(f, &s, text, a);
		feed(f, &s, text + a, b - a);
		feed(f, &s, text + b, len - b);
	}
	return finish(f, &s);
}

static void assert_filtered(const char *const *tools, const char *text, const char *want)
{
	size_t len = strlen(text);
	char *got;

	for (size_t step = 1; step <= 3; step++) {
		got = filtered(tools, text, 0, 0, step);
		assert_string_equal(got, want);
		free(got);
	}
	for (size_t a = 0; a <= len; a++) {
		for (size_t b = a; b <= len; b += a % 3 == 0 ? 1 : 7) {
			got = filtered(tools, text, a, b, 0);
			assert_string_equal(got, want);
			free(got);
		}
	}
}

struct row {
	const char *text, *want;
};

#define ROWS(rows, tools)                                                                                              \
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows)[0]; i++)                                                    \
	assert_filtered((tools), (rows)[i].text, (rows)[i].want)

static void text_passes_unchanged(void **state)
{
	static const struct row rows[] = {
		{"", ""},
		{"Hello, world", "Hello, world"},
		{"  indented\n\n code", "  indented\n\n code"},
		{"python_ta pypy <|python <|eot_id| <thin </thin <tool_cal [TOOL",
	         "python_ta pypy <|python <|eot_id| <thin </thin <tool_cal [TOOL"},
		{"Grüße 😀 [1](x) {a} <b>", "Grüße 😀 [1](x) {a} <b>"},
		{"a\n- [ ] x\n[y]: z\n{}\n{\n}\n[", "a\n- [ ] x\n[y]: z\n{}\n{\n}\n["},
		{"p", "p"},
		{"<", "<"},
		{";", ";"},
		{"\n ;\n", "\n ;\n"},
		{" \n\t", ""},
	};

	(void)state;
	ROWS(rows, with_tools);
	ROWS(rows, without_tools);
}

static void markers_are_dropped(void **state)
{
	static const struct row rows[] = {
		{"<|python_tag|>Hello", "Hello"},
		{"a<|python_tag|>b", "ab"},
		{"apython_tagb", "ab"},
		{"a|python_tag|>b", "a|b"},
		{"a<|python_tagb", "ab"},
		{"apython_tag|b", "a|b"},
		{"python_tag", ""},
		{"pythpython_tagon_tag", "pyth"},
		{"python_tapython_tagg", "python_ta"},
		{"pyth<|eot_id|>on_tag.", "pyth."},
		{"pythpython_tag|>on_tag|>.", "pyth|>."},
		{"a p<|im_end|>ython_tag.", "a p."},
		{"a pyth<|content_thinking|>x<|end_message|>on_tag.", "a pyth«x»."},
		{"<think>pyth</think><think>on_tag.", "«pyth.»"},
		{"bye.<|eot_id|>", "bye."},
		{"bye.<|eom_id|><|eot_id|>", "bye."},
		{"<|python_start|>x<|python_end|>", "x"},
	};

	(void)state;
	ROWS(rows, with_tools);
	ROWS(rows, without_tools);
}

static void reasoning_is_sorted_out(void **state)
{
	static const struct row rows[] = {
		{"<think>hm</think>yes", "«hm»yes"},
		{"\n<think>\nhm\n</think>\n\nyes", "«\nhm\n»\n\nyes"},
		{"<think></think>yes", "yes"},
		{"<think>hm", "«hm»"},
		{"hm</think>yes", "hm¬yes"},
		{"hm \n</think>\n</think> yes", "hm \n¬¬ yes"},
		{"pyth</think>on_tag", "pyth¬"},
		{"<think>a<think>b</think>c</think>d", "«ab»c¬d"},
		{"a<think>b</think>c", "a<think>b</think>c"},
		{"<think>{\"name\":\"search\",\"parameters\":{}}</think>x",
	         "«{\"name\":\"search\",\"parameters\":{}}»x"},
		{"<think>python_tag <|eot_id|></thin </think>x", "« </thin »x"},
	};

	(void)state;
	ROWS(rows, with_tools);
	ROWS(rows, without_tools);
}

#define QUERY "{\"query\":\"x\"}"
#define CALL  "‹search " QUERY "›"

static void text_encoded_calls_are_calls(void **state)
{
	static const struct row rows[] = {
		/* Llama */
		{"{\"name\": \"search\", \"parameters\": {\"query\": \"x\"}}", CALL},
		{"{\"type\": \"function\", \"name\": \"search\", \"parameters\": {\"query\": \"x\"}}", CALL},
		{"<|python_tag|>{\"name\": \"search\", \"parameters\": {\"query\": \"x\"}}<|eom_id|>", CALL},
		{"a pyth<|tool_call|>{\"name\": \"search\", \"parameters\": {\"query\": \"x\"}}<|/tool_call|>on_tag.",
	         "a pyth" CALL "."},
		{"Wait. <|python_tag|>{\"name\": \"search\", \"parameters\": {\"query\": \"x\"}}", "Wait. " CALL},
		{"{\"name\":\"search\",\"parameters\":" QUERY "}; {\"name\":\"search\",\"parameters\":" QUERY "}",
	         CALL CALL},
		{"I look.\n{\"name\":\"search\",\"parameters\":" QUERY "}\nThen text", "I look.\n" CALL "Then text"},
		{" \n {\"name\":\"search\",\"parameters\":" QUERY "} \n", CALL},
		{"<|python_start|>{\"name\":\"search\",\"parameters\":" QUERY "}<|python_end|>", CALL},
		{"{\"type\":\"function\",\"function\":{\"name\":\"search\",\"arguments\":" QUERY "}}", CALL},
		{"{\"function\":\"search\",\"parameters\":" QUERY "}", CALL},
		{"{\"parameters\":" QUERY ",\"name\":\"search\"}", CALL},
		/* after a sentence, and in a list */
		{"So.\n{\"name\":\"search\",\"parameters\":" QUERY "} and then", "So.\n" CALL "and then"},
		{"Both!\n[{\"name\":\"search\",\"parameters\":" QUERY "}, {\"name\":\"run_code\",\"arguments\":{}}].",
	         "Both!\n" CALL "‹run_code {}›."},
		{"Ich suche…\n\n{\"name\":\"search\",\"parameters\":" QUERY "}", "Ich suche…\n\n" CALL},
		{"\"I look.\"\n{\"name\":\"search\",\"parameters\":" QUERY "}", "\"I look.\"\n" CALL},
		{"检索。\n{\"name\":\"search\",\"parameters\":" QUERY "}", "检索。\n" CALL},
		/* a fence that is the whole answer */
		{"```json\n{\"name\": \"search\", \"parameters\": " QUERY "}\n```", CALL},
		{"```\n[{\"name\":\"search\",\"parameters\":" QUERY "}]```", CALL},
		{"\n```json\n{\"name\":\"search\",\"parameters\":" QUERY "}\n{\"name\":\"search\",\"parameters\":" QUERY
	         "}\n```\n<|eot_id|>\n",
	         CALL CALL},
		{"```tool_call\n{\"name\":\"search\",\"parameters\":" QUERY "}\n```", CALL},
		{"```tool_code\nprint(default_api.search(query='x'))\n```", CALL},
		{"```tool_code\n[search(query='x')]", CALL},
		{"<think>hm</think>\n```json\n{\"name\":\"search\",\"parameters\":" QUERY "}\n```", "«hm»" CALL},
		{"{\"name\":\"search\",\"parameters\":" QUERY "} ```x```", CALL "```x```"},
		/* a closing brace that is missing */
		{"{\"name\":\"search\",\"parameters\":" QUERY, CALL},
		{"{\"name\":\"search\",\"parameters\":" QUERY " Text", CALL "Text"},
		{"<tool_call>{\"name\":\"search\",\"arguments\":" QUERY "</tool_call>ok", CALL "ok"},
		/* Hermes, Qwen */
		{"<tool_call>\n{\"name\": \"search\", \"arguments\": {\"query\": \"x\"}}\n</tool_call>", CALL},
		{"So: <tool_call>{\"name\":\"search\",\"arguments\":" QUERY "}</tool_call>\n<tool_call>{\"name\":"
	         "\"run_code\",\"arguments\":{\"code\":\"1\\n2\"}}</tool_call>",
	         "So: " CALL "‹run_code {\"code\":\"1\\n2\"}›"},
		{"<tool_call>\n<function=search>\n<parameter=query>\nx\n</parameter>\n</function>\n</tool_call>", CALL},
		{"<function=search>{\"query\": \"x\"}</function> x", CALL "x"},
		{"<function=run_code><parameter=code>\nif a < b:\n\tc\n</parameter></function>",
	         "‹run_code {\"code\":\"if a < b:\\n\\tc\"}›"},
		/* Mistral */
		{"[TOOL_CALLS][{\"name\": \"search\", \"arguments\": {\"query\": \"x\"}}]", CALL},
		{"[TOOL_CALLS] [{\"name\":\"search\",\"arguments\":" QUERY ",\"id\":\"abc\"},{\"name\":\"search\","
	         "\"arguments\":" QUERY "}]\nx",
	         CALL CALL "x"},
		{"[TOOL_CALLS]search[ARGS]" QUERY, CALL},
		{"[TOOL_CALLS]search[CALL_ID]a1[ARGS]" QUERY "[TOOL_CALLS]search" QUERY, CALL CALL},
		{"[{\"name\": \"search\", \"arguments\": {\"query\": \"x\"}}]", CALL},
		/* as Python writes it */
		{"<|python_start|>[search(query=\"x\")]<|python_end|>", CALL},
		{"<|python_tag|>search.call(query='x')<|eom_id|>", CALL},
		{"<|python_start|>[search(query = 'x'), run_code(code=\"a\\n\\\"b\\\"\", n=2.5, f = False, w=x)]<|python_end|> ok",
	         CALL "‹run_code {\"code\":\"a\\n\\\"b\\\"\",\"n\":2.5,\"f\":false,\"w\":\"x\"}› ok"},
		{"<|python_tag|> search() x", "‹search {}›x"},
		/* arguments as JSON in a string, and none */
		{"{\"name\":\"search\",\"arguments\":\"{\\\"query\\\":\\\"x\\\"}\"}", CALL},
		{"{\"name\":\"search\",\"arguments\":null}", "‹search {}›"},
		/* reasoning, then a call */
		{"<think>hm</think>\n\n{\"name\":\"search\",\"parameters\":" QUERY "}", "«hm»" CALL},
	};

	(void)state;
	ROWS(rows, with_tools);
}

static void other_json_passes_unharmed(void **state)
{
	static const struct row rows[] = {
		{"{\"name\": \"Alice\", \"age\": 3}", "{\"name\": \"Alice\", \"age\": 3}"},
		{"  {\"name\": \"Alice\"}", "  {\"name\": \"Alice\"}"},
		{"{\"name\": \"search\"}", "{\"name\": \"search\"}"},
		{"{\"name\": \"search\", \"value\": 1}", "{\"name\": \"search\", \"value\": 1}"},
		{"{\"name\": \"other\", \"parameters\": {}}", "{\"name\": \"other\", \"parameters\": {}}"},
		{"{\"type\": \"object\", \"name\": \"search\"}", "{\"type\": \"object\", \"name\": \"search\"}"},
		{"{\"name\": \"search\", \"parameters\": [1]}", "{\"name\": \"search\", \"parameters\": [1]}"},
		{"{\"name\": \"search\", \"parameters\": {\"a\": [}}",
	         "{\"name\": \"search\", \"parameters\": {\"a\": [}}"},
		{"{\"name\": \"search\", \"parameters\": {\"a\": \"b",
	         "{\"name\": \"search\", \"parameters\": {\"a\": \"b"},
		{"{\"name\":\"search\",\"name\":\"search\",\"parameters\":{}}",
	         "{\"name\":\"search\",\"name\":\"search\",\"parameters\":{}}"},
		{"if (x) { \"name\" } else {\n\t\"name\": y }", "if (x) { \"name\" } else {\n\t\"name\": y }"},
		{"a{b[c]}{{d}} [e](f) [{g}] x[{\"name\"}]", "a{b[c]}{{d}} [e](f) [{g}] x[{\"name\"}]"},
		{"As {\"name\": \"Ada\", \"parameters\": {}}, say", "As {\"name\": \"Ada\", \"parameters\": {}}, say"},
		{"A tool: {\"name\":\"search\",\"description\":\"x\",\"parameters\":{}}",
	         "A tool: {\"name\":\"search\",\"description\":\"x\",\"parameters\":{}}"},
		{"\"{\\\"name\\\":\\\"search\\\",\\\"parameters\\\":{}}\"",
	         "\"{\\\"name\\\":\\\"search\\\",\\\"parameters\\\":{}}\""},
		{"``` `` ```json\n{\"a\": 1}\n```\n```c\nint a[] = {1};\n```",
	         "``` `` ```json\n{\"a\": 1}\n```\n```c\nint a[] = {1};\n```"},
		{"```json\n{\"name\":\"other\",\"parameters\":{}}\n```\nx",
	         "```json\n{\"name\":\"other\",\"parameters\":{}}\n```\nx"},
		{"```json", "```json"},
		{"```js\n{\"a\"}```", "```js\n{\"a\"}```"},
		{"[1, 2]\n[{\"name\": \"x\"}]\n[{\"a\":1}]", "[1, 2]\n[{\"name\": \"x\"}]\n[{\"a\":1}]"},
		{"<tool_call>hello</tool_call>", "<tool_call>hello</tool_call>"},
		{"<tool_call>{\"name\":\"x\",\"arguments\":{}}</tool_call>",
	         "<tool_call>{\"name\":\"x\",\"arguments\":{}}</tool_call>"},
		{"<function=x>{}</function>", "<function=x>{}</function>"},
		{"[TOOL_CALLS] are calls", "[TOOL_CALLS] are calls"},
		{"<|python_start|>[other(query='x')]<|python_end|>", "[other(query='x')]"},
		{"<|python_tag|>search is a word, search(x) no call", "search is a word, search(x) no call"},
		{"<|python_tag|>  print(1)", "  print(1)"},
		{"search(query='x')\n[search(query='x')]", "search(query='x')\n[search(query='x')]"},
		{"{\"name\": \"search\", \"parameters\": {\"a\": \"python_tag\", \"b\" 1}}",
	         "{\"name\": \"search\", \"parameters\": {\"a\": \"\", \"b\" 1}}"},
	};
	static const struct row no_tools[] = {
		{"{\"name\":\"search\",\"parameters\":" QUERY "}", "{\"name\":\"search\",\"parameters\":" QUERY "}"},
		{"<tool_call>{\"name\":\"search\",\"arguments\":{}}</tool_call>",
	         "<tool_call>{\"name\":\"search\",\"arguments\":{}}</tool_call>"},
	};

	(void)state;
	ROWS(rows, with_tools);
	ROWS(no_tools, without_tools);
}

/* How much of each text is out before the stream goes on. */
static void little_is_held_back(void **state)
{
	static const struct row rows[] = {
		{"Hello", "Hello"},
		{"Hello ", "Hello "},
		{"a nump", "a num"},
		{"a numpt", "a numpt"},
		{"a <", "a "},
		{"a <b", "a <b"},
		{"{", ""},
		{"{\"", ""},
		{"{\"c", "{\"c"},
		{"{\"name\": \"Al", ""},
		{"{\"name\": \"Alice\"", "{\"name\": \"Alice\""},
		{"{\"name\": \"Alice S", "{\"name\": \"Alice S"},
		{"{ 1", "{ 1"},
		{"x\n[", "x\n"},
		{"as {", "as {"},
		{"As.\n{", "As.\n"},
		{"As\n{", "As\n{"},
		{"as {n", "as {n"},
		{"as {\"na", "as {\"na"},
		{"As.\n{\"na", "As.\n"},
		{"as {\"no", "as {\"no"},
		{"see [", "see "},
		{"see [1", "see [1"},
		{"``", ""},
		{"`a", "`a"},
		{"x ```", "x "},
		{"```js", ""},
		{"```jsx", "```jsx"},
		{"```c", "```c"},
		{"```json\n{\"x", "```json\n{\"x"},
		{"x\n[a", "x\n[a"},
		{"<think>hm <", "«hm "},
		{"\n \n", ""},
		{"\n \nx", "\n \nx"},
		{"x\n \n", "x\n \n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct seen s = {.out = BUF_INIT(1024)};
		struct filter *f = begin(with_tools);

		assert_int_equal(buf_adds(&s.out, ""), 0);
		for (const char *p = rows[i].text; *p != '\0'; p++)
			feed(f, &s, p, 1);
		assert_string_equal(s.out.data, rows[i].want);
		filter_free(f);
		buf_free(&s.out);
	}
}

/* A call without an end becomes text, in no more than linear time. */
static void long_calls_are_text(void **state)
{
	static const char head[] = "{\"name\":\"search\",\"parameters\":{\"query\":\"";
	struct seen s = {.out = BUF_INIT(1 << 24)};
	struct filter *f = begin(with_tools);
	size_t len = 70000;
	char *text = malloc(len + 1), *got;

	(void)state;
	assert_non_null(text);
	memset(text, 'x', len);
	text[len] = '\0';
	memcpy(text, head, sizeof head - 1);
	for (size_t i = 0; i < len; i += 5)
		feed(f, &s, text + i, len - i < 5 ? len - i : 5);
	assert_int_equal(s.out.len, len);
	got = finish(f, &s);
	assert_string_equal(got, text);
	free(got);
	free(text);
}

static void beginning_forgets(void **state)
{
	struct seen s = {.out = BUF_INIT(1024)};
	struct filter *f = begin(with_tools);
	char *got;

	(void)state;
	feed(f, &s, "<think>{\"my x", 13);
	filter_begin(f, with_tools);
	feed(f, &s, "{\"name\":\"sea", 12);
	filter_begin(f, with_tools);
	feed(f, &s, "rch\"", 4);
	got = finish(f, &s);
	assert_string_equal(got, "«{\"my x»rch\"");
	free(got);
}

/* What breaks off comes out, but for half a call. */
static void half_a_call_is_dropped(void **state)
{
	static const struct row rows[] = {
		{"Hello <thi", "Hello <thi"},
		{"<think>hm </th", "«hm </th»"},
		{"So.\n{\"name\":\"search\",\"parameters\":{\"query\":\"x\"", "So.\n"},
		{"<tool_call>{\"na", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct seen s = {.out = BUF_INIT(1024)};
		struct filter *f = begin(with_tools);

		feed(f, &s, rows[i].text, strlen(rows[i].text));
		filter_break(f);
		take(f, &s);
		put(&s, 'e', "", 0);
		assert_string_equal(s.out.data, rows[i].want);
		filter_free(f);
		buf_free(&s.out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_passes_unchanged),      cmocka_unit_test(markers_are_dropped),
		cmocka_unit_test(reasoning_is_sorted_out),    cmocka_unit_test(text_encoded_calls_are_calls),
		cmocka_unit_test(other_json_passes_unharmed), cmocka_unit_test(little_is_held_back),
		cmocka_unit_test(long_calls_are_text),        cmocka_unit_test(beginning_forgets),
		cmocka_unit_test(half_a_call_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
