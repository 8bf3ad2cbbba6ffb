/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events at every split. */
#include "core/stream/sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct seen {
	struct buf text; /* the events, each ended by a byte that is in none of them */
	const char *from, *to;
	size_t inside; /* events within [from, to) */
};

/* All events that are there. */
static void take(struct sse *s, struct seen *seen)
{
	struct sse_event event;

	while (sse_next(s, &event)) {
		assert_int_equal(buf_add(&seen->text, event.data, event.len), 0);
		assert_int_equal(buf_add(&seen->text, "\x01", 1), 0);
		if (event.data >= seen->from && event.data < seen->to)
			seen->inside++;
	}
	assert_false(sse_next(s, &event));
}

static void assert_nothing_lost(const struct sse *s)
{
	assert_false(s->too_large);
	assert_false(s->no_memory);
}

/* Feeds text in pieces cut at the given places and returns what was seen. */
static char *feed(const char *text, size_t len, const size_t *cuts, size_t count)
{
	struct seen seen = {.text = BUF_INIT(64u << 20)};
	struct sse s;
	size_t from = 0, to;

	sse_init(&s);
	for (size_t i = 0; i <= count; i++) {
		/* A copy of its own size: a read beyond it is seen by valgrind and ASan. */
		char *piece;

		to = i < count ? cuts[i] : len;
		piece = malloc(to - from + (to == from));
		assert_non_null(piece);
		memcpy(piece, text + from, to - from);
		sse_feed(&s, piece, to - from);
		take(&s, &seen);
		free(piece);
		from = to;
	}
	sse_end(&s);
	take(&s, &seen);
	assert_nothing_lost(&s);
	sse_free(&s);
	return buf_steal(&seen.text, NULL);
}

struct stream {
	const char *text;
	const char *events; /* each ended by \x01 */
};

static const struct stream streams[] = {
	{"{\"error\":\n\n{}}\n", "{\"error\":\n\n{}}\x01"}, /* no events, but bare JSON */
	{"\r\n [{}]", "[{}]\x01"},
	{"\n \t", ""},
	{"data: one\n\ndata: two\n\n", "one\x01two\x01"},
	{"data: one\r\n\r\ndata: two\r\n\r\n", "one\x01two\x01"},
	{"data: one\r\rdata: two\r\r", "one\x01two\x01"},
	{"data: one\n\r\n\rdata: two\r\n\n", "one\x01two\x01"},
	{"data:one\n\ndata:  two\n\n", "one\x01 two\x01"},
	{": ping\n\n:\n\ndata: one\n: inside\n\n: end\n", "one\x01"},
	{"event: x\nid: 7\nretry: 1\ndata: one\nid: 8\n\ndata: two\n\n", "one\x01two\x01"},
	{"data: a\ndata: b\n\ndata\n\ndata:\n\ndata\ndata\n\n", "a\nb\x01\x01\x01\n\x01"},
	{"\xef\xbb\xbf"
         "data: one\n\n\xef\xbb\xbf"
         "data: two\n\n",
         "one\x01"},
	{"\n\n\r\r\r\n\r\ndata: one", "one\x01"},
	{"data: Gr\xc3\xbc\xc3\x9f"
         "e \xf0\x9f\x98\x80\r\n\r\ndata: [DONE]\r\n\r\n",
         "Gr\xc3\xbc\xc3\x9f"
         "e \xf0\x9f\x98\x80\x01[DONE]\x01"},
	{"database: no\ndat: no\n data: no\ndata : no\ndata: yes\n\n", "yes\x01"},
	{"{\"a\": 1}\n{\"b\": [\n  \"}\\\"\",\n\n 2]\n}\ndata: x\n\n[1]",
         "{\"a\": 1}\x01{\"b\": [\n  \"}\\\"\",\n\n 2]\n}\x01x\x01[1]\x01"},
	{"{\r\ndata: x\r\n\r\n  {\"a\"\r\n", "x\x01{\"a\"\x01"},
	{"event: error\ndata: one\n\nevent:error\n\ndata: two\n\n", "one\x01two\x01"},
	{"", ""},
	{"\xef\xbb", ""},
};

static void same_at_every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
		const struct stream *s = &streams[i];
		size_t len = strlen(s->text), all[256];
		char *seen;

		for (size_t a = 0; a <= len; a++) {
			for (size_t b = a; b <= len; b++) {
				seen = feed(s->text, len, (size_t[]){a, b}, 2);
				assert_string_equal(seen, s->events);
				free(seen);
			}
		}
		for (size_t a = 0; a < len; a++)
			all[a] = a;
		seen = feed(s->text, len, all, len);
		assert_string_equal(seen, s->events);
		free(seen);
	}
}

static void whole_events_are_not_copied(void **state)
{
	static const char text[] = "data: one\n\ndata: two\r\n\r\ndata: three\r\rdata: four\n\n";
	struct seen seen = {.text = BUF_INIT(1024), .from = text, .to = text + sizeof text};
	struct sse s;

	(void)state;
	sse_init(&s);
	sse_feed(&s, "\n", 1);
	take(&s, &seen);
	sse_feed(&s, text, sizeof text - 1);
	take(&s, &seen);
	assert_nothing_lost(&s);
	assert_int_equal(seen.inside, 4);
	assert_null(s.line.data);
	assert_null(s.data.data);
	sse_free(&s);
	buf_free(&seen.text);
}

/* A reader may stop taking events at any point. */
static void the_rest_may_be_left(void **state)
{
	static const char text[] = "data: one\n\ndata: two\n\ndata: three\n\n";
	struct seen seen = {.text = BUF_INIT(1024)};
	struct sse_event event;
	struct sse s;

	(void)state;
	sse_init(&s);
	sse_feed(&s, text, sizeof text - 1);
	for (int i = 0; i < 2; i++) {
		assert_true(sse_next(&s, &event));
		assert_int_equal(buf_add(&seen.text, event.data, event.len), 0);
		assert_int_equal(buf_add(&seen.text, "\x01", 1), 0);
	}
	assert_string_equal(seen.text.data, "one\x01two\x01");
	assert_nothing_lost(&s);
	sse_free(&s);
	buf_free(&seen.text);
}

/* A line beyond the limit loses its own event and is reported; the next one is read. */
static void too_long_lines_are_skipped(void **state)
{
	size_t len = SSE_LINE_MAX + 100, piece;
	char *text = malloc(len + 64);

	(void)state;
	assert_non_null(text);
	memcpy(text, "data: ", 6);
	memset(text + 6, 'x', len - 6);
	memcpy(text + len, "\n\ndata: one\n\n", 14);
	len += 13;
	for (piece = 1 << 20; piece <= 16u << 20; piece *= 4) {
		struct seen seen = {.text = BUF_INIT(1024)};
		struct sse s;
		int failed = 0;

		sse_init(&s);
		for (size_t from = 0; from < len; from += piece) {
			sse_feed(&s, text + from, len - from < piece ? len - from : piece);
			take(&s, &seen);
			failed += s.too_large;
			s.too_large = false;
		}
		assert_int_equal(failed, 1);
		assert_nothing_lost(&s);
		assert_string_equal(seen.text.data, "one\x01");
		sse_free(&s);
		buf_free(&seen.text);
	}
	free(text);
}

/* 256 KiB of line ends alone, and of CR lines: linear, so done in a moment. */
static void many_line_ends(void **state)
{
	size_t len = 256u << 10;
	char *text = malloc(len);
	struct seen seen = {.text = BUF_INIT(1024)};
	struct sse s;

	(void)state;
	assert_non_null(text);
	memset(text, '\r', len);
	sse_init(&s);
	sse_feed(&s, text, len);
	take(&s, &seen);
	assert_nothing_lost(&s);
	for (size_t i = 0; i < len; i += 2)
		text[i] = ':';
	sse_feed(&s, text, len);
	take(&s, &seen);
	assert_nothing_lost(&s);
	assert_int_equal(seen.text.len, 0);
	sse_free(&s);
	buf_free(&seen.text);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_at_every_split),  cmocka_unit_test(whole_events_are_not_copied),
		cmocka_unit_test(the_rest_may_be_left), cmocka_unit_test(too_long_lines_are_skipped),
		cmocka_unit_test(many_line_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
