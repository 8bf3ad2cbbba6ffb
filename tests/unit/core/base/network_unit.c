/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and networks. */
#include "core/base/network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static bool holds(const char *network, const char *address)
{
	struct network n;

	assert_true(network_parse(network, &n));
	return network_contains(&n, address);
}

static void test_networks(void **state)
{
	(void)state;
	assert_true(holds("10.0.0.0/8", "10.255.0.1"));
	assert_true(holds("10.0.0.0/8", "::ffff:10.1.2.3"));
	assert_true(holds("127.0.0.1", "127.0.0.1"));
	assert_true(holds("0.0.0.0/0", "8.8.8.8"));
	assert_true(holds("::/0", "8.8.8.8"));
	assert_true(holds("192.168.4.0/22", "192.168.7.255"));
	assert_true(holds("fd00::/9", "fd7f::1"));
	assert_true(holds("::1/128", "::1"));
	assert_false(holds("10.0.0.0/8", "11.0.0.1"));
	assert_false(holds("192.168.4.0/22", "192.168.8.0"));
	assert_false(holds("0.0.0.0/0", "::1"));
	assert_false(holds("::/0", "nobody"));
	assert_false(holds("::/0", ""));
}

static void test_what_is_none(void **state)
{
	static const char *const none[] = {"",
	                                   "x",
	                                   "10.0.0.0/",
	                                   "10.0.0.0/33",
	                                   "10.0.0.0/-1",
	                                   "10.0.0.0/8 ",
	                                   "::/129",
	                                   "::/1/1",
	                                   "10.0.0/8",
	                                   "10.0.0.0/0x8",
	                                   "::1%lo",
	                                   "/8",
	                                   "1.2.3.4.5",
	                                   "localhost",
	                                   "::/0000000",
	                                   "1111:2222:3333:4444:5555:6666:7777:8888:9999:0000"};
	struct network n;

	(void)state;
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		assert_false(network_parse(none[i], &n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_networks), cmocka_unit_test(test_what_is_none)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
