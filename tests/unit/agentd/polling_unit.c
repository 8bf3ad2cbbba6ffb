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
	const struct config *c = configured(state, (const char *const[]){"polling.interval=1", NULL});
	struct polling p;

	polling_start(&p, 1000);
	assert_true(p.waiting);
	assert_true(polling_due(&p, 1000));
	polling_attempt(&p, c, 1000);
	assert_int_equal(p.attempts, 1);
	assert_false(polling_due(&p, 1999));
	assert_true(polling_due(&p, 2000));
	polling_attempt(&p, c, 2000);
	assert_int_equal(p.attempts, 2);
	polling_found(&p);
	assert_false(p.waiting);
	assert_false(polling_due(&p, 100000));
}

/* The time from each attempt to the next one, of which n are made; -1: none follows. */
static void delays_are(struct polling *p, const struct config *c, const int *delays_s, size_t n)
{
	int64_t now = p->next_ms;

	for (size_t i = 0; i < n; i++) {
		assert_true(polling_due(p, now));
		polling_attempt(p, c, now);
		assert_int_equal(p->next_ms == 0 ? -1 : (p->next_ms - now) / 1000, delays_s[i]);
		assert_false(polling_due(p, p->next_ms - 1));
		now = p->next_ms;
	}
}

static void short_retries_come_first(void **state)
{
	static const int usual[] = {1, 2, 5, 10, 20, 50, 100, 180, 180}, limited[] = {1, 2, 4, 4, -1};
	const struct config *c = configured(state, NULL);
	struct polling p;

	polling_start(&p, 1000);
	delays_are(&p, c, usual, 9);
	assert_int_equal(p.attempts, 2);
	polling_found(&p);
	polling_lost(&p, c, 5000);
	delays_are(&p, c, usual, 3);
	polling_restart(&p, c, 6000); /* /refresh has just looked */
	assert_int_equal(p.next_ms, 7000);
	assert_int_equal(p.attempts, 0);
	/* They are none of the attempts that have a limit. */
	c = configured(state, (const char *const[]){"polling.interval=4", "polling.max_attempts=3", NULL});
	polling_start(&p, 1000);
	delays_are(&p, c, limited, 5);
	assert_true(p.exhausted);
	assert_int_equal(p.attempts, 3);
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
		cmocka_unit_test_setup_teardown(short_retries_come_first, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(without_polling_there_is_one_attempt, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(attempts_are_used_up, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_lost_llm_is_polled_for_at_once, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(takes_a_new_configuration, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
