/* SPDX-License-Identifier: Apache-2.0 */
/* What headers tell about the content that a client wants. */
#include "fcgi/content.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_gzip(void **state)
{
	(void)state;
	assert_false(content_accepts_gzip(NULL));
	assert_false(content_accepts_gzip(""));
	assert_false(content_accepts_gzip(" ,, "));
	assert_false(content_accepts_gzip("identity"));
	assert_false(content_accepts_gzip("gzipped, br"));
	assert_false(content_accepts_gzip("br;gzip"));
	assert_false(content_accepts_gzip("gzip;q=0"));
	assert_false(content_accepts_gzip("gzip ; q=0.000, *"));
	assert_false(content_accepts_gzip("*;q=0"));
	assert_true(content_accepts_gzip("gzip"));
	assert_true(content_accepts_gzip("GZip;q=0.001"));
	assert_true(content_accepts_gzip("br;q=0, gzip;q=1.0,*;q=0"));
	assert_true(content_accepts_gzip("deflate,x-gzip"));
	assert_true(content_accepts_gzip("gzip, deflate, br, zstd"));
	assert_true(content_accepts_gzip("*"));
}

static void test_tags(void **state)
{
	(void)state;
	assert_false(content_is_known(NULL, "\"a\""));
	assert_false(content_is_known("", "\"a\""));
	assert_false(content_is_known("\"", "\"a\""));
	assert_false(content_is_known("\"a", "\"a\""));
	assert_false(content_is_known("a", "\"a\""));
	assert_false(content_is_known("\"b\", \"ab\"", "\"a\""));
	assert_false(content_is_known("\"x,\"a\"", "\"a\""));
	assert_false(content_is_known("W/", "\"a\""));
	assert_true(content_is_known("\"a\"", "\"a\""));
	assert_true(content_is_known("W/\"a\"", "\"a\""));
	assert_true(content_is_known("\"b\",W/\"c\" , \"a\"", "\"a\""));
	assert_true(content_is_known("\"x,y\" \"a\"", "\"a\""));
	assert_true(content_is_known(" *", "\"a\""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_gzip), cmocka_unit_test(test_tags)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
