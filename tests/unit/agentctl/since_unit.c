/* SPDX-License-Identifier: Apache-2.0 */
/* Times as people write them, with a clock of the test's own. */
#include "agentctl/since.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define NOW INT64_C(1795370405000) /* 2026-11-22 18:00:05 UTC */

static int64_t at(const char *text)
{
	struct err e = ERR_INIT;
	struct since s;

	if (since_parse(text, NOW, &s, &e) < 0)
		fail_msg("%s: %s", text, e.text);
	assert_int_equal(s.number, 0);
	return (s.at_ms - NOW) / 1000;
}

static void times_before_now(void **state)
{
	(void)state;
	assert_int_equal(at("now"), 0);
	assert_int_equal(at("30s"), -30);
	assert_int_equal(at("10m"), -600);
	assert_int_equal(at("-10m"), -600);
	assert_int_equal(at("10 min"), -600);
	assert_int_equal(at("1.5h"), -5400);
	assert_int_equal(at("2 hours ago"), -7200);
	assert_int_equal(at("1 day ago"), -86400);
	assert_int_equal(at("3days"), -3 * 86400);
	assert_int_equal(at("@1795370000"), -405);
}

static void times_of_the_calendar(void **state)
{
	(void)state;
	setenv("TZ", "XXX-2", 1); /* two hours east */
	tzset();
	assert_int_equal(at("20:00"), -5);
	assert_int_equal(at("20:00:04"), -1);
	assert_int_equal(at("2026-11-22"), -20 * 3600 - 5);
	assert_int_equal(at("2026-11-22 19:00"), -3605);
	assert_int_equal(at("2026-11-22T19:00:05"), -3600);
	assert_int_equal(at("2026-11-22T17:00:05Z"), -3600);
	assert_int_equal(at("2026-11-21 20:00:05"), -86400);
	assert_int_equal(at("today"), -20 * 3600 - 5);
	assert_int_equal(at("yesterday"), -44 * 3600 - 5);
}

static void numbers_of_events(void **state)
{
	struct err e = ERR_INIT;
	struct since s;

	(void)state;
	assert_int_equal(since_parse("17", NOW, &s, &e), 0);
	assert_int_equal(s.number, 17);
	assert_int_equal(since_parse("0", NOW, &s, &e), 0);
	assert_int_equal(s.number, 1);
}

static void what_is_no_time(void **state)
{
	static const char *const texts[] = {"",
	                                    "x",
	                                    "10x",
	                                    "m",
	                                    "-",
	                                    "10 m 5",
	                                    "2026-13-45",
	                                    "25:99",
	                                    "@",
	                                    "@x",
	                                    "99999999999999999999",
	                                    "10m ago and a lot more words than any unit has",
	                                    "1 m agoin",
	                                    "1 m ago ago",
	                                    "1e400h",
	                                    "-5",
	                                    "today!"};
	struct since s;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct err e = ERR_INIT;

		if (since_parse(texts[i], NOW, &s, &e) == 0)
			fail_msg("'%s' was taken for %lld, %llu", texts[i], (long long)s.at_ms,
			         (unsigned long long)s.number);
		assert_non_null(strstr(e.text, "is no time"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_before_now),
		cmocka_unit_test(times_of_the_calendar),
		cmocka_unit_test(numbers_of_events),
		cmocka_unit_test(what_is_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
