/* SPDX-License-Identifier: Apache-2.0 */
/* What URLs of Redis mean, and that their passwords are not shown. */
#include "core/redis/redis_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static struct redis_url parsed(const char *text)
{
	struct redis_url u;
	struct err e = ERR_INIT;

	if (redis_url_parse(text, &u, &e) < 0)
		fail_msg("%s", e.text);
	return u;
}

static void a_server_with_all_parts(void **state)
{
	struct redis_url u = parsed("rediss://ann:p%40ss@redis.example:6380/3");

	(void)state;
	assert_int_equal(u.topology, REDIS_SINGLE);
	assert_true(u.tls);
	assert_string_equal(u.user, "ann");
	assert_string_equal(u.password, "p@ss");
	assert_string_equal(u.addresses[0].host, "redis.example");
	assert_int_equal(u.addresses[0].port, 6380);
	assert_int_equal(u.database, 3);
	redis_url_clear(&u);
}

static void what_is_left_out_is_usual(void **state)
{
	struct redis_url u = parsed("redis://:secret@[::1]");

	(void)state;
	assert_false(u.tls);
	assert_null(u.user);
	assert_string_equal(u.password, "secret");
	assert_string_equal(u.addresses[0].host, "::1");
	assert_int_equal(u.addresses[0].port, 6379);
	redis_url_clear(&u);
	u = parsed("redis+unix:///run/redis/redis.sock?db=2");
	assert_string_equal(u.addresses[0].host, "/run/redis/redis.sock");
	assert_int_equal(u.addresses[0].port, 0);
	assert_int_equal(u.database, 2);
	redis_url_clear(&u);
}

static void groups_and_clusters_have_several_servers(void **state)
{
	struct redis_url u = parsed("redis+sentinel://a,b:26380,[::2]:5/mymaster/1");

	(void)state;
	assert_int_equal(u.topology, REDIS_SENTINEL);
	assert_string_equal(u.group, "mymaster");
	assert_int_equal(u.database, 1);
	assert_int_equal(u.count, 3);
	assert_int_equal(u.addresses[0].port, 26379);
	assert_int_equal(u.addresses[1].port, 26380);
	assert_string_equal(u.addresses[2].host, "::2");
	assert_null(u.sentinel_password);
	redis_url_clear(&u);
	u = parsed("redis+sentinel://:p@a/mymaster?sentinel_username=me&sentinel_password=a%26b");
	assert_string_equal(u.group, "mymaster");
	assert_string_equal(u.password, "p");
	assert_string_equal(u.sentinel_username, "me");
	assert_string_equal(u.sentinel_password, "a&b");
	redis_url_clear(&u);
	u = parsed("redis+sentinel://a/mymaster/3?sentinel_password=x");
	assert_int_equal(u.database, 3);
	redis_url_clear(&u);
	u = parsed("rediss+cluster://a:7000,b:7001");
	assert_int_equal(u.topology, REDIS_CLUSTER);
	assert_true(u.tls);
	assert_int_equal(u.count, 2);
	redis_url_clear(&u);
}

static void wrong_urls_are_refused(void **state)
{
	static const char *const wrong[] = {
		"redis:",
		"redis:/x",
		"http://x",
		"redis://",
		"redis://h:0",
		"redis://h:65536",
		"redis://h:x",
		"redis://a,b",
		"redis://h/x",
		"redis://h/-1",
		"redis://[::1",
		"redis://[::1]x",
		"redis://h/1/2",
		"redis+sentinel://h",
		"redis+sentinel://h/",
		"redis+sentinel://h/?sentinel_password=x",
		"redis+sentinel://h/m?password=x",
		"redis+sentinel://h/m/x?sentinel_password=x",
		"redis+sentinel://h/m?sentinel_password=x&sentinel_password=y",
		"redis+sentinel://h/m?sentinel_password=%00",
		"redis://h?sentinel_password=x",
		"redis+cluster://h/1",
		"redis+unix://x",
		"redis+unix:///x?y",
		"redis://:%00@h",
		"redis+cluster://a,,b",
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct redis_url u;
		struct err e = ERR_INIT;

		if (redis_url_parse(wrong[i], &u, &e) == 0)
			fail_msg("%s is taken", wrong[i]);
		assert_true(err_is_set(&e));
	}
}

static void no_password_is_shown(void **state)
{
	static const char *const urls[] = {"redis://u:hush@h/1",
	                                   "redis://:hush@h:1",
	                                   "redis://u:a/hush@h:x",
	                                   "redis://u:a@hush@h:x",
	                                   "redis+cluster://u:hush@a:x,b",
	                                   "redis+sentinel://h/m?sentinel_password=hush",
	                                   "redis+sentinel://u:hush@h/m?a&sentinel_password=a:hush@b"};
	char shown[64];

	(void)state;
	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		struct redis_url u;
		struct err e = ERR_INIT;

		config_mask_url(urls[i], shown, sizeof shown);
		assert_null(strstr(shown, "hush"));
		assert_true(config_url_has_password(urls[i]));
		if (redis_url_parse(urls[i], &u, &e) == 0)
			redis_url_clear(&u);
		assert_null(strstr(e.text, "hush"));
	}
	config_mask_url("redis://u:hush@h/1", shown, sizeof shown);
	assert_string_equal(shown, "redis://u:***@h/1");
	config_mask_url("sqlite:/a:b@c", shown, sizeof shown);
	assert_string_equal(shown, "sqlite:/a:b@c");
	assert_false(config_url_has_password("redis://user@h"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_with_all_parts),
		cmocka_unit_test(what_is_left_out_is_usual),
		cmocka_unit_test(groups_and_clusters_have_several_servers),
		cmocka_unit_test(wrong_urls_are_refused),
		cmocka_unit_test(no_password_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
