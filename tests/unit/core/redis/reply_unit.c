/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes become replies however they are cut, and hostile ones end with an error. */
#include "core/redis/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static const char all_kinds[] =
	"+OK\r\n:-42\r\n$-1\r\n*-1\r\n$5\r\na\0b\r\n\r\n-WRONGTYPE of value\r\n"
	"*3\r\n:1\r\n*2\r\n$1\r\nx\r\n$-1\r\n*0\r\n";

static void check_all_kinds(struct redis_reply *const *got)
{
	assert_int_equal(got[0]->type, REDIS_TEXT);
	assert_string_equal(got[0]->text, "OK");
	assert_int_equal(got[1]->type, REDIS_NUMBER);
	assert_int_equal(got[1]->number, -42);
	assert_int_equal(got[2]->type, REDIS_NIL);
	assert_int_equal(got[3]->type, REDIS_NIL);
	assert_int_equal(got[4]->type, REDIS_TEXT);
	assert_int_equal(got[4]->len, 5);
	assert_memory_equal(got[4]->text, "a\0b\r\n", 6);
	assert_int_equal(got[5]->type, REDIS_FAILURE);
	assert_true(redis_reply_says(got[5], "WRONGTYPE"));
	assert_false(redis_reply_says(got[5], "WRONG"));
	assert_int_equal(got[6]->type, REDIS_LIST);
	assert_int_equal(got[6]->count, 3);
	assert_int_equal(got[6]->items[0]->number, 1);
	assert_string_equal(got[6]->items[1]->items[0]->text, "x");
	assert_int_equal(got[6]->items[1]->items[1]->type, REDIS_NIL);
	assert_int_equal(got[6]->items[2]->count, 0);
}

static void replies_may_be_cut_anywhere(void **state)
{
	const size_t len = sizeof all_kinds - 1;

	(void)state;
	for (size_t cut = 0; cut <= len; cut++) {
		struct reply_reader *r = reply_reader_new();
		struct redis_reply *got[8] = {NULL}, *reply;
		struct err e = ERR_INIT;
		size_t count = 0;

		assert_non_null(r);
		for (int half = 0; half < 2; half++) {
			assert_int_equal(reply_reader_feed(r, half == 0 ? all_kinds : all_kinds + cut,
			                                   half == 0 ? cut : len - cut, &e),
			                 0);
			while (reply_reader_next(r, &reply, &e) > 0)
				got[count++] = reply;
		}
		assert_false(err_is_set(&e));
		assert_int_equal(count, 7);
		check_all_kinds(got);
		for (size_t i = 0; i < count; i++)
			redis_reply_free(got[i]);
		reply_reader_free(r);
	}
}

static void hostile_bytes_end_with_an_error(void **state)
{
	static const char *const hostile[] = {
		"HTTP/1.1 400 Bad Request\r\n",
		"%1\r\n+a\r\n+b\r\n",
		"~1\r\n+a\r\n",
		">1\r\n+a\r\n",
		"=5\r\ntxt:a\r\n",
		"(123\r\n",
		",1.5\r\n",
		"#t\r\n",
		"*2147483647\r\n",
		"*99999999999999999999\r\n",
		"$99999999999999999999\r\n",
		":12x\r\n",
		"*200000\r\n*200000\r\n*200000\r\n*200000\r\n",
		"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof hostile / sizeof hostile[0]; i++) {
		struct reply_reader *r = reply_reader_new();
		struct redis_reply *reply = NULL;
		struct err e = ERR_INIT;

		assert_non_null(r);
		if (reply_reader_feed(r, hostile[i], strlen(hostile[i]), &e) == 0)
			assert_int_equal(reply_reader_next(r, &reply, &e), -1);
		assert_true(err_is_set(&e));
		reply_reader_free(r);
	}
}

static void a_reply_that_never_ends_is_too_long(void **state)
{
	struct reply_reader *r = reply_reader_new();
	struct redis_reply *reply;
	struct err e = ERR_INIT;
	static char zeros[1 << 20];
	size_t fed = 0;
	int more;

	(void)state;
	assert_non_null(r);
	more = reply_reader_feed(r, "$500000000\r\n", 12, &e);
	while (more == 0 && fed < 2 * (size_t)REPLY_BYTES_MAX) {
		more = reply_reader_feed(r, zeros, sizeof zeros, &e);
		if (more == 0)
			more = reply_reader_next(r, &reply, &e);
		fed += sizeof zeros;
	}
	assert_int_equal(more, -1);
	assert_in_range(fed, 1, REPLY_BYTES_MAX + sizeof zeros);
	reply_reader_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies_may_be_cut_anywhere),
		cmocka_unit_test(hostile_bytes_end_with_an_error),
		cmocka_unit_test(a_reply_that_never_ends_is_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
