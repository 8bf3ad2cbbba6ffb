/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/polling.h"
#include "tests/unit/support/config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct config *configured(void **state, const char *const *sets)
{
	struct fixture *f = *state;

	assert_true(fixture_load(f, NULL, NULL, sets));
	return f->config;
}

static void polls_at_the_interval(void **state)
{
	const struct config *c = configured(state, (const char *const[]){"polling.interval=3", NULL});
	struct polling p;

	polling_start(&p, 1000);
	assert_true(p.waiting);
	assert_true(polling_due(&p, 1000));
	polling_attempt(&p, c, 1000);
	assert_int_equal(p.attempts, 1);
	assert_false(polling_due(&p, 3999));
	assert_true(polling_due(&p, 4000));
	polling_attempt(&p, c, 4000);
	assert_int_equal(p.attempts, 2);
	polling_found(&p);
	assert_false(p.waiting);
	assert_false(polling_due(&p, 100000));
}

static void without_polling_there_is_one_attempt(void **state)
{
	const struct config *c = configured(state, (const char *const[]){"polling.enabled=false", NULL});
	struct polling p;

	polling_start(&p, 1000);
	assert_true(polling_due(&p, 1000));
	polling_attempt(&p, c, 1000);
	assert_false(polling_active(&p));
	assert_false(polling_due(&p, 1000000000));
	assert_false(p.exhausted);
	polling_restart(&p, c, 2000); /* /refresh looks by itself */
	assert_false(polling_active(&p));
	polling_found(&p);
	polling_lost(&p, c, 3000);
	assert_false(polling_due(&p, 1000000000));
}

static void attempts_are_used_up(void **state)
{
	const struct config *c =
		configured(state, (const char *const[]){"polling.interval=1", "polling.max_attempts=2", NULL});
	struct polling p;

	polling_start(&p, 1000);
	polling_attempt(&p, c, 1000);
	assert_false(p.exhausted);
	assert_true(polling_due(&p, 2000));
	polling_attempt(&p, c, 2000);
	assert_true(p.exhausted);
	assert_int_equal(p.attempts, 2);
	assert_false(polling_due(&p, 1000000000));
	polling_restart(&p, c, 5000);
	assert_false(p.exhausted);
	assert_int_equal(p.attempts, 0);
	assert_true(polling_due(&p, 6000));
}

static void a_lost_llm_is_polled_for_at_once(void **state)
{
	const struct config *c = configured(state, NULL);
	struct polling p;

	polling_start(&p, 1000);
	polling_attempt(&p, c, 1000);
	polling_found(&p);
	polling_lost(&p, c, 9000);
	assert_true(polling_due(&p, 9000));
	assert_int_equal(p.attempts, 0);
}

static void takes_a_new_configuration(void **state)
{
	const struct config *c = configured(state, (const char *const[]){"polling.interval=100", NULL});
	struct polling p;

	polling_start(&p, 1000);
	polling_attempt(&p, c, 1000);
	c = configured(state, (const char *const[]){"polling.interval=2", NULL});
	polling_reconfigure(&p, c, 5000);
	assert_true(polling_due(&p, 7000));
	c = configured(state, (const char *const[]){"polling.enabled=false", NULL});
	polling_reconfigure(&p, c, 5000);
	assert_false(polling_active(&p));
	c = configured(state, (const char *const[]){"polling.interval=2", NULL});
	polling_reconfigure(&p, c, 8000);
	assert_false(polling_due(&p, 9999));
	assert_true(polling_due(&p, 10000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(polls_at_the_interval, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(without_polling_there_is_one_attempt, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(attempts_are_used_up, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_lost_llm_is_polled_for_at_once, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(takes_a_new_configuration, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
