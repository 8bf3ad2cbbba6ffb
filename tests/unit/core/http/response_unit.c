/* SPDX-License-Identifier: Apache-2.0 */
/* Responses, whole and at once, and in pieces of every size. */
#include "core/http/response.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

struct seen {
	struct response r;
	int heads, bodies;
	size_t len;
	char body[200];
	int stop_at; /* which event stops it; 0: none */
};

static bool on_head(void *arg)
{
	struct seen *t = arg;

	assert_int_equal(t->bodies, 0);
	t->heads++;
	return t->stop_at != 1;
}

static bool on_body(void *arg, const char *bytes, size_t len)
{
	struct seen *t = arg;

	assert_int_equal(t->heads, 1);
	assert_true(len > 0 && t->len + len < sizeof t->body);
	memcpy(t->body + t->len, bytes, len);
	t->len += len;
	t->bodies++;
	return t->stop_at != 2;
}

static const struct response_events events = {on_head, on_body};

static enum response_state feed(struct seen *t, const char *text, size_t piece)
{
	size_t len = strlen(text);
	enum response_state s = RESPONSE_MORE;

	*t = (struct seen){.stop_at = t->stop_at};
	response_init(&t->r, &events, t);
	for (size_t at = 0; at < len; at += piece)
		s = response_feed(&t->r, text + at, at + piece < len ? piece : len - at);
	return s;
}

static void reads_responses_in_pieces_of_any_size(void **state)
{
	static const struct {
		const char *text;
		enum response_state state, at_end;
		int status;
		bool kept;
		const char *body, *type, *retry;
	} cases[] = {
		{"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello", RESPONSE_WHOLE,
	         RESPONSE_WHOLE, 200, true, "hello", "text/plain", ""},
		{"HTTP/1.1 200\r\ncontent-length:0\r\n\r\n", RESPONSE_WHOLE, RESPONSE_WHOLE, 200, true, "", "", ""},
		{"HTTP/1.1 429 Slow\r\nRetry-After:  7\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
	         RESPONSE_WHOLE, RESPONSE_WHOLE, 429, false, "{}", "", "7"},
		{"HTTP/1.1 429 Slow\r\nContent-Type: a\r\nRetry-After: 7\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n",
	         RESPONSE_WHOLE, RESPONSE_WHOLE, 429, false, "x", "a", "7"}, /* a second one, unasked */
		{"HTTP/1.1 200 OK\r\nContent-Type: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nHTTP/1.1 500 No\r\n\r\n",
	         RESPONSE_WHOLE, RESPONSE_WHOLE, 200, false, "hi", "a", ""},
		{"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", RESPONSE_WHOLE, RESPONSE_WHOLE, 200, false, "ok", "",
	         ""},
		{"HTTP/1.1 200 OK\r\n\r\nuntil the end", RESPONSE_MORE, RESPONSE_WHOLE, 200, false, "until the end", "",
	         ""},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX: y\r\n\r\n",
	         RESPONSE_WHOLE, RESPONSE_WHOLE, 200, true, "hello world", "", ""},
		{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nContent-Type: no\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
	         RESPONSE_WHOLE, RESPONSE_WHOLE, 204, true, "", "", ""},
		{"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 1\r\n\r\nx", RESPONSE_WHOLE,
	         RESPONSE_WHOLE, 200, true, "x", "", ""},
		{"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n", RESPONSE_WHOLE, RESPONSE_WHOLE,
	         200, false, "x", "", ""},
		/* cut */
		{"", RESPONSE_MORE, RESPONSE_MORE, 0, false, "", "", ""},
		{"HTTP/1.1 200 O", RESPONSE_MORE, RESPONSE_MORE, 0, false, "", "", ""},
		{"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", RESPONSE_MORE, RESPONSE_MORE, 200, false, "hello",
	         "", ""},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", RESPONSE_MORE, RESPONSE_MORE,
	         200, false, "hello", "", ""},
		/* for curl */
		{"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx", RESPONSE_ODD, RESPONSE_ODD, 0,
	         false, "", "", ""},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", RESPONSE_ODD, RESPONSE_ODD, 0,
	         false, "", "", ""},
		{"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", RESPONSE_ODD, RESPONSE_ODD, 0,
	         false, "", "", ""},
		{"HTTP/1.1 103 Early\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 204 No\r\n\r\n", RESPONSE_ODD, RESPONSE_ODD,
	         0, false, "", "", ""},
		{"this is not HTTP\n\n", RESPONSE_ODD, RESPONSE_ODD, 0, false, "", "", ""},
		{"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", RESPONSE_ODD, RESPONSE_ODD, 0, false, "", "", ""},
		/* neither */
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", RESPONSE_BAD,
	         RESPONSE_BAD, 200, false, "hello", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		for (size_t piece = 1; piece <= strlen(cases[i].text) + 1; piece++) {
			struct seen t = {.stop_at = 0};

			assert_int_equal(feed(&t, cases[i].text, piece), cases[i].state);
			assert_int_equal(t.r.status, cases[i].status);
			assert_int_equal(t.heads, cases[i].status != 0);
			assert_string_equal(t.body, cases[i].body);
			if (cases[i].status != 0) {
				assert_string_equal(t.r.type, cases[i].type);
				assert_string_equal(t.r.retry_after, cases[i].retry);
			}
			assert_int_equal(t.r.keep_alive, cases[i].kept);
			assert_int_equal(response_end(&t.r), cases[i].at_end);
			assert_int_equal(t.r.keep_alive, false);
		}
	}
}

static void stops_where_an_event_says_so(void **state)
{
	static const char text[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n";

	(void)state;
	for (size_t piece = 1; piece <= sizeof text; piece++) {
		struct seen t = {.stop_at = 1};

		assert_int_equal(feed(&t, text, piece), RESPONSE_STOPPED);
		assert_int_equal(t.len, 0);
		t.stop_at = 2;
		assert_int_equal(feed(&t, text, piece), RESPONSE_STOPPED);
		assert_string_equal(t.body, "a");
	}
}

static void bounds_the_head(void **state)
{
	struct seen t = {.stop_at = 0};
	enum response_state s;

	(void)state;
	response_init(&t.r, &events, &t);
	s = response_feed(&t.r, "HTTP/1.1 200 OK\r\n", 17);
	for (int i = 0; s == RESPONSE_MORE && i < 10000; i++)
		s = response_feed(&t.r, "X-Header: 0123456789\r\n", 22);
	assert_int_equal(s, RESPONSE_TOO_LARGE);
	assert_int_equal(t.heads, 0);
}

static void long_values_are_cut(void **state)
{
	struct seen t = {.stop_at = 0};
	char text[2000];

	(void)state;
	snprintf(text, sizeof text,
	         "HTTP/1.1 200 OK\r\nContent-Type: %0900d\r\nRetry-After: %0500d\r\nContent-Length: 0\r\n\r\n", 1, 1);
	assert_int_equal(feed(&t, text, 7), RESPONSE_WHOLE);
	assert_int_equal(strlen(t.r.type), sizeof t.r.type - 1);
	assert_int_equal(strlen(t.r.retry_after), sizeof t.r.retry_after - 1);
}

static void tells_what_is_missing(void **state)
{
	struct seen t = {.stop_at = 0};

	(void)state;
	feed(&t, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", 1);
	assert_int_equal(response_missing(&t.r), 95);
	feed(&t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", 1);
	assert_int_equal(response_missing(&t.r), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_responses_in_pieces_of_any_size),
		cmocka_unit_test(stops_where_an_event_says_so),
		cmocka_unit_test(bounds_the_head),
		cmocka_unit_test(long_values_are_cut),
		cmocka_unit_test(tells_what_is_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
