/* SPDX-License-Identifier: Apache-2.0 */
/* The check of a FastCGI request before libfcgi reads it. */
#include "fcgi/precheck.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A request under construction. */
struct wire {
	uint8_t bytes[256 << 10];
	size_t len;
};

static void raw(struct wire *w, const void *bytes, size_t len)
{
	assert_true(w->len + len <= sizeof w->bytes);
	memcpy(w->bytes + w->len, bytes, len);
	w->len += len;
}

static void record_id(struct wire *w, uint8_t type, uint16_t id, const void *content, size_t len)
{
	uint8_t padding = (uint8_t)(-len & 7);
	const uint8_t zeros[8] = {0};
	const uint8_t header[8] = {1,       type, (uint8_t)(id >> 8), (uint8_t)id, (uint8_t)(len >> 8), (uint8_t)len,
	                           padding, 0};

	raw(w, header, sizeof header);
	raw(w, content, len);
	raw(w, zeros, padding);
}

static void record(struct wire *w, uint8_t type, const void *content, size_t len)
{
	record_id(w, type, 7, content, len);
}

static void begin(struct wire *w, uint8_t role, uint8_t flags)
{
	const uint8_t body[8] = {0, role, flags};

	w->len = 0;
	record(w, 1, body, sizeof body);
}

static size_t pair(uint8_t *out, const char *name, const char *value)
{
	size_t n = strlen(name), v = strlen(value), len = 0;

	out[len++] = (uint8_t)n;
	if (v > 127) {
		out[len++] = (uint8_t)(0x80 | v >> 24);
		out[len++] = (uint8_t)(v >> 16);
		out[len++] = (uint8_t)(v >> 8);
	}
	out[len++] = (uint8_t)v;
	memcpy(out + len, name, n);
	memcpy(out + len + n, value, v);
	return len + n + v;
}

static void usual_params(struct wire *w)
{
	char longer[400];
	uint8_t params[1024];
	size_t len = 0;

	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = '\0';
	len += pair(params + len, "REQUEST_METHOD", "POST");
	len += pair(params + len, "EMPTY", "");
	len += pair(params + len, "REQUEST_URI", longer);
	record(w, 4, params, len);
	record(w, 4, "", 0);
}

static void usual(struct wire *w, const char *body)
{
	begin(w, 1, 1);
	usual_params(w);
	if (*body != '\0')
		record(w, 5, body, strlen(body));
	record(w, 5, "", 0);
}

static enum precheck_verdict whole(const struct wire *w, struct precheck *p)
{
	precheck_init(p);
	return precheck_feed(p, w->bytes, w->len);
}

static void test_whole_request(void **state)
{
	static struct wire w;
	struct precheck p;

	(void)state;
	usual(&w, "{\"message\":\"hi\"}");
	assert_int_equal(whole(&w, &p), PRECHECK_WHOLE);
	assert_int_equal(p.consumed, w.len);
	assert_int_equal(p.request_id, 7);
	assert_int_equal(p.body_len, 16);
	assert_int_equal(p.param_count, 3);
	assert_true(p.keep);
}

static void test_every_split(void **state)
{
	static struct wire w;
	struct precheck p;

	(void)state;
	usual(&w, "some body of a few bytes");
	for (size_t cut = 0; cut < w.len; cut++) {
		precheck_init(&p);
		assert_int_equal(precheck_feed(&p, w.bytes, cut), PRECHECK_MORE);
		assert_int_equal(p.consumed, cut);
		assert_int_equal(precheck_feed(&p, w.bytes + cut, w.len - cut), PRECHECK_WHOLE);
		assert_int_equal(p.consumed, w.len);
		assert_int_equal(p.body_len, 24);
	}
	precheck_init(&p);
	for (size_t i = 0; i + 1 < w.len; i++)
		assert_int_equal(precheck_feed(&p, w.bytes + i, 1), PRECHECK_MORE);
	assert_int_equal(precheck_feed(&p, w.bytes + w.len - 1, 1), PRECHECK_WHOLE);
}

static void test_params_in_pieces(void **state)
{
	static struct wire w;
	uint8_t params[64];
	size_t len = pair(params, "REQUEST_METHOD", "GET");
	struct precheck p;

	(void)state;
	begin(&w, 1, 0);
	for (size_t i = 0; i < len; i++)
		record(&w, 4, params + i, 1);
	record(&w, 4, "", 0);
	record(&w, 5, "", 0);
	assert_int_equal(whole(&w, &p), PRECHECK_WHOLE);
	assert_int_equal(p.param_count, 1);
	assert_false(p.keep);
}

static void test_end_of_params_is_known(void **state)
{
	static struct wire w;
	struct precheck p;
	size_t at;

	(void)state;
	begin(&w, 1, 0);
	usual_params(&w);
	at = w.len;
	record(&w, 5, "abc", 3);
	assert_int_equal(whole(&w, &p), PRECHECK_MORE);
	assert_int_equal(p.params_end, at);
}

static void test_what_follows_is_not_consumed(void **state)
{
	static struct wire w;
	struct precheck p;
	size_t end;

	(void)state;
	usual(&w, "");
	end = w.len;
	raw(&w, "\1\1", 2);
	assert_int_equal(whole(&w, &p), PRECHECK_WHOLE);
	assert_int_equal(p.consumed, end);
}

static void expect_bad(const struct wire *w, const char *part)
{
	struct precheck p;

	assert_int_equal(whole(w, &p), PRECHECK_BAD);
	assert_non_null(strstr(p.error, part));
}

static void test_refused_records(void **state)
{
	static struct wire w;
	const uint8_t body[8] = {0, 1, 1};

	(void)state;
	w.len = 0;
	raw(&w, "GET / HTTP/1.1\r\n\r\n", 18);
	expect_bad(&w, "version");
	begin(&w, 2, 1);
	expect_bad(&w, "role");
	w.len = 0;
	record_id(&w, 1, 0, body, sizeof body);
	expect_bad(&w, "id 0");
	w.len = 0;
	record(&w, 1, body, 7);
	expect_bad(&w, "BEGIN");
	w.len = 0;
	record(&w, 4, "", 0);
	expect_bad(&w, "BEGIN");
	begin(&w, 1, 1);
	record_id(&w, 4, 8, "", 0);
	expect_bad(&w, "second request");
	begin(&w, 1, 1);
	record(&w, 5, "", 0);
	expect_bad(&w, "unexpected type");
	usual(&w, "");
	w.len -= 8;
	record(&w, 8, "filter data", 11);
	expect_bad(&w, "unexpected type");
	begin(&w, 1, 1);
	record(&w, 1, body, sizeof body);
	expect_bad(&w, "unexpected type");
	begin(&w, 1, 1);
	raw(&w, "\1\4\0\7\0\0\10\0", 8);
	expect_bad(&w, "padding");
	begin(&w, 1, 1);
	w.bytes[6] = 8;
	expect_bad(&w, "padding");
}

/* Four repeated names overrun a buffer of 64 bytes in libfcgi 2.4.2. */
static void test_get_values(void **state)
{
	static struct wire w;
	uint8_t names[128];
	size_t len = 0;

	(void)state;
	for (int i = 0; i < 4; i++)
		len += pair(names + len, "FCGI_MPXS_CONNS", "");
	w.len = 0;
	record_id(&w, 9, 0, names, len);
	expect_bad(&w, "GET_VALUES");
	begin(&w, 1, 1);
	record_id(&w, 9, 0, names, len);
	expect_bad(&w, "GET_VALUES");
}

static void test_lengths(void **state)
{
	static struct wire w;
	static uint8_t many[60000];

	(void)state;
	begin(&w, 1, 1);
	record(&w, 4, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
	expect_bad(&w, "too long");
	begin(&w, 1, 1);
	record(&w, 4, "\x04\xff\xff\xff\xf0name", 9);
	expect_bad(&w, "too long");
	begin(&w, 1, 1);
	record(&w, 4, "\x80\x00\xff\xff\x80\x00\xff\xff", 8);
	expect_bad(&w, "too long");
	begin(&w, 1, 1);
	record(&w, 4, "\0\0", 2);
	expect_bad(&w, "no name");
	begin(&w, 1, 1);
	for (size_t i = 0; i + 3 < sizeof many; i += 3)
		memcpy(many + i, "\1\0A", 3);
	record(&w, 4, many, sizeof many);
	expect_bad(&w, "too many");
	begin(&w, 1, 1);
	memcpy(many, "\1\x80\0\xe0\0A", 6);
	memset(many + 6, 'x', sizeof many - 6);
	record(&w, 4, many, 57350);
	memcpy(many,
	       "\1\x80\0\x17\x70"
	       "B",
	       6);
	record(&w, 4, many, 6006);
	expect_bad(&w, "too long");
}

static void test_pairs(void **state)
{
	static struct wire w;

	(void)state;
	begin(&w, 1, 1);
	record(&w, 4, "\4\1nam", 5);
	record(&w, 4, "", 0);
	expect_bad(&w, "within a pair");
	begin(&w, 1, 1);
	record(&w, 4, "\4", 1);
	record(&w, 4, "", 0);
	expect_bad(&w, "within a pair");
	begin(&w, 1, 1);
	record(&w, 4, "\4\x80\0", 3);
	record(&w, 4, "", 0);
	expect_bad(&w, "within a pair");
	begin(&w, 1, 1);
	record(&w, 4, "\20\1TT_AGENT_ADMIN=1x", 19);
	expect_bad(&w, "'='");
	begin(&w, 1, 1);
	record(&w, 4, "\4\3namea\0b", 9);
	expect_bad(&w, "NUL");
}

static void test_abort(void **state)
{
	static struct wire w;
	struct precheck p;

	(void)state;
	begin(&w, 1, 1);
	usual_params(&w);
	record(&w, 2, "", 0);
	assert_int_equal(whole(&w, &p), PRECHECK_ABORT);
}

static void test_big_body(void **state)
{
	static struct wire w;
	static char content[65535];
	struct precheck p;

	(void)state;
	memset(content, 'b', sizeof content);
	begin(&w, 1, 1);
	usual_params(&w);
	for (int i = 0; i < 3; i++)
		record(&w, 5, content, sizeof content);
	assert_int_equal(whole(&w, &p), PRECHECK_MORE);
	record(&w, 5, "", 0);
	assert_int_equal(whole(&w, &p), PRECHECK_WHOLE);
	assert_int_equal(p.body_len, 3 * sizeof content);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_request),
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_params_in_pieces),
		cmocka_unit_test(test_end_of_params_is_known),
		cmocka_unit_test(test_what_follows_is_not_consumed),
		cmocka_unit_test(test_refused_records),
		cmocka_unit_test(test_get_values),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_pairs),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_big_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
