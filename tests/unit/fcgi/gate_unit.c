/* SPDX-License-Identifier: Apache-2.0 */
/* What headers tell about who sent a request. */
#include "fcgi/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool foreign(const char *host, const char *origin, const char *fetch_site)
{
	char excepted[] = "https://studio.example";
	char *const origins[] = {excepted};

	return gate_is_foreign(&(struct gate_page){.host = host, .origin = origin, .fetch_site = fetch_site}, origins,
	                       1);
}

static void test_pages(void **state)
{
	(void)state;
	assert_false(foreign("a.example", NULL, NULL));
	assert_false(foreign(NULL, NULL, NULL));
	assert_false(foreign("a.example", "http://A.example", "same-origin"));
	assert_false(foreign("a.example.", "http://a.example", NULL));
	assert_false(foreign("a.example:443", "https://a.example", NULL));
	assert_false(foreign("[::1]:81", "http://[::1]:81", NULL));
	assert_false(foreign("a.example", "https://studio.example", "cross-site"));
	assert_false(foreign("a.example", "https://studio.example:443", NULL));
	assert_true(foreign("a.example", "https://studio.example:444", NULL));
	assert_true(foreign("a.example:80", "https://a.example", NULL));
	assert_true(foreign("a.example:81", "http://a.example", NULL));
	assert_true(foreign("[::1]:81", "http://[::1]", NULL));
	assert_true(foreign("[::1]", "http://[::2]", NULL));
	assert_true(foreign(NULL, "http://a.example", NULL));
	assert_true(foreign("", "http://", NULL));
	assert_true(foreign("", "", NULL));
	assert_true(foreign(":80", "http://:80", NULL));
	assert_true(foreign(".", "http://b", NULL));
	assert_true(foreign("a.example", "null", NULL));
	assert_true(foreign("a.example", "ftp://a.example", NULL));
	assert_true(foreign("a.example", "http://a.example/", NULL));
	assert_true(foreign("a.example", NULL, "cross-site"));
	assert_true(foreign("a.example", NULL, ""));
}

static void test_links(void **state)
{
	const struct gate_page link = {.host = "a.example", .fetch_site = "cross-site"};
	const struct gate_page post = {.host = "a.example", .fetch_site = "cross-site", .origin = "http://b.example"};

	(void)state;
	assert_true(gate_is_link(&link, "navigate", "document"));
	assert_false(gate_is_link(&link, "navigate", "iframe"));
	assert_false(gate_is_link(&link, "no-cors", "document"));
	assert_false(gate_is_link(&link, NULL, "document"));
	assert_false(gate_is_link(&link, "navigate", NULL));
	assert_false(gate_is_link(&post, "navigate", "document"));
}

static void test_types(void **state)
{
	(void)state;
	assert_true(gate_is_json("application/json"));
	assert_true(gate_is_json(" application/JSON\t; charset=utf-8"));
	assert_true(gate_is_json("application/vnd.api+json;x"));
	assert_false(gate_is_json(""));
	assert_false(gate_is_json("application/"));
	assert_false(gate_is_json("application/+json"));
	assert_false(gate_is_json("application/json x"));
	assert_false(gate_is_json("application/json, text/plain"));
	assert_false(gate_is_json("application/json,text/plain"));
	assert_false(gate_is_json("application/x,y+json"));
	assert_false(gate_is_json("application/x/y+json"));
	assert_false(gate_is_json("text/json"));
}

static void test_forwarded_for(void **state)
{
	static const char *const good[] = {"8.8.8.8",         "8.8.8.8:65535",      "::1, fd00::7",
	                                   "[::1]:1,8.8.8.8", "1.1.1.1 ,  2.2.2.2", "::ffff:1.2.3.4"};
	static const char *const bad[] = {
		"",          " ",           ",",
		"8.8.8.8,",  ", 8.8.8.8",   " 8.8.8.8",
		"8.8.8.8 ",  "8.8.8.8:0",   "8.8.8.8:65536",
		"8.8.8.8:",  "8.8.8.8:8:8", "[::1]",
		"[::1",      "[]:1",        "[8.8.8.8]:1",
		"::1]:1",    "f",           "8.8.8.8,,8.8.8.8",
		"8.8.8.8\t", "[::1]:1:1",   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(gate_is_forwarded_for(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(gate_is_forwarded_for(bad[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_forwarded_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
