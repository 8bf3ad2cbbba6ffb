/* SPDX-License-Identifier: Apache-2.0 */
/* When LLMs are probed, with a fake clock and fake random numbers. */
#include "tests/unit/support/settings.h"

#include "agentd/schedule.h"

#include <string.h>

#define NOW 1000000

static struct llm made(enum llm_health health)
{
	return (struct llm){.kind = LLM_DISCOVERED, .health = health, .probe_url = (char *)"http://h/health"};
}

static void the_pace_follows_the_health(void **state)
{
	struct llm l = made(LLM_HEALTHY);
	struct track t = {.seen_healthy = true};

	(void)state;
	assert_int_equal(schedule_pace(&l, &t, false, NOW), PACE_STEADY);
	l = made(LLM_DEGRADED); /* slow, but it answers */
	assert_int_equal(schedule_pace(&l, &t, false, NOW), PACE_STEADY);
	l.failures = 1; /* on its way down */
	assert_int_equal(schedule_pace(&l, &t, false, NOW), PACE_CHANGING);
	l = made(LLM_UNHEALTHY);
	assert_int_equal(schedule_pace(&l, &t, false, NOW), PACE_DOWN);
	assert_int_equal(schedule_pace(&l, &t, true, NOW), PACE_STEADY); /* nothing else is there */
	t.unreached_ms = NOW - 5 * 60 * 1000;                            /* it may have been restarted */
	assert_int_equal(schedule_pace(&l, &t, false, NOW), PACE_STEADY);
	t.unreached_ms = NOW - 11 * 60 * 1000;
	assert_int_equal(schedule_pace(&l, &t, false, NOW), PACE_DOWN);
	l.successes = 1; /* on its way up */
	assert_int_equal(schedule_pace(&l, &t, false, NOW), PACE_CHANGING);
	l.hung = true; /* what /health says is worth nothing */
	assert_int_equal(schedule_pace(&l, &t, false, NOW), PACE_DOWN);
	l = made(LLM_UNHEALTHY);
	l.loading = true;
	assert_int_equal(schedule_pace(&l, &t, false, NOW), PACE_CHANGING);
}

static void intervals_come_from_the_configuration(void **state)
{
	struct config *c = SETTINGS("health.interval=30", "health.fast_interval=1");

	(void)state;
	assert_int_equal(schedule_interval_ms(c, PACE_STEADY), 30000);
	assert_int_equal(schedule_interval_ms(c, PACE_CHANGING), 1000);
	assert_int_equal(schedule_interval_ms(c, PACE_DOWN), 60000);
	config_unref(c);
	c = SETTINGS("health.interval=0.5", "health.fast_interval=1", "health.down_interval=7");
	assert_int_equal(schedule_interval_ms(c, PACE_CHANGING), 500); /* never slower than the usual */
	assert_int_equal(schedule_interval_ms(c, PACE_DOWN), 7000);
	config_unref(c);
}

/* 1,000 LLMs that were all found at the same moment, for ten intervals. */
static void probes_of_many_never_go_out_together(void **state)
{
	struct config *c = SETTINGS("health.interval=30");
	static struct track t[1000];
	static unsigned per_second[400];
	uint32_t chance = 1;

	(void)state;
	memset(t, 0, sizeof t);
	for (int64_t now = NOW; now < NOW + 300000; now += 10) {
		for (size_t i = 0; i < 1000; i++) {
			chance = chance * 1664525u + 1013904223u;
			if (t[i].probe_due_ms > now)
				continue;
			if (t[i].probe_due_ms != 0)
				per_second[(now - NOW) / 1000]++;
			t[i].probe_due_ms = schedule_probe(&t[i], c, PACE_STEADY, now, chance >> 8);
		}
	}
	for (size_t s = 0; s < 300; s++)
		assert_true(per_second[s] < 100); /* together it would be 1,000; evenly 33 */
	config_unref(c);
}

static void another_pace_begins_anywhere_in_its_interval(void **state)
{
	struct config *c = SETTINGS("health.interval=30");
	struct track t = {.probe_due_ms = NOW, .pace = PACE_CHANGING};

	(void)state;
	assert_int_equal(schedule_probe(&t, c, PACE_STEADY, NOW, 0), NOW + 7500);
	assert_int_equal(schedule_probe(&t, c, PACE_CHANGING, NOW, 0), NOW + 900);
	t.pace = PACE_STEADY;
	assert_int_equal(schedule_probe(&t, c, PACE_STEADY, NOW, 0), NOW + 27000);
	assert_int_equal(schedule_probe(&t, c, PACE_STEADY, NOW, 200), NOW + 33000);
	config_unref(c);
}

static void one_that_serves_turns_is_not_probed(void **state)
{
	struct config *c = SETTINGS("health.completion_interval=300");
	struct llm l = made(LLM_HEALTHY);
	struct track t = {.seen_healthy = true};

	(void)state;
	/* nothing is known: anywhere within the first interval */
	assert_in_range(schedule_canary(&l, &t, c, NOW, 0), NOW + 30000, NOW + 30001);
	assert_in_range(schedule_canary(&l, &t, c, NOW, 900), NOW + 300000, NOW + 300001);
	t.served_ms = NOW - 1000;
	assert_int_equal(schedule_canary(&l, &t, c, NOW, 100), NOW - 1000 + 300000);
	t.served_ms = NOW - 600000;
	assert_int_equal(schedule_canary(&l, &t, c, NOW, 100), NOW + 1);
	config_unref(c);
}

static void one_that_hangs_is_probed_with_backoff(void **state)
{
	struct config *c = SETTINGS("health.completion_interval=300", "health.eject_time=10", "health.eject_max=60");
	struct llm l = made(LLM_HEALTHY);
	struct track t = {.seen_healthy = true};

	(void)state;
	l.hangs = 1; /* once more at once: it may have been a long queue */
	assert_int_equal(schedule_canary(&l, &t, c, NOW, 0), NOW + 1000);
	l.hangs = 2;
	l.hung = true;
	l.health = LLM_UNHEALTHY;
	assert_int_equal(schedule_canary(&l, &t, c, NOW, 100), NOW + 40000);
	l.hangs = 30;
	assert_int_equal(schedule_canary(&l, &t, c, NOW, 100), NOW + 60000);
	config_unref(c);
}

static void canary_probes_only_where_they_are_wanted(void **state)
{
	struct config *c = SETTINGS("health.completion_interval=0");
	struct llm l = made(LLM_HEALTHY);
	struct track t = {.seen_healthy = true};

	(void)state;
	assert_int_equal(schedule_canary(&l, &t, c, NOW, 0), 0);
	config_unref(c);
	c = SETTINGS("health.enabled=false");
	assert_int_equal(schedule_canary(&l, &t, c, NOW, 0), 0);
	config_unref(c);
	c = SETTINGS("health.completion_interval=1");
	assert_true(schedule_canary(&l, &t, c, NOW, 0) > 0);
	l.kind = LLM_CLOUD;
	assert_int_equal(schedule_canary(&l, &t, c, NOW, 0), 0);
	l = made(LLM_UNHEALTHY);
	assert_int_equal(schedule_canary(&l, &t, c, NOW, 0), 0);
	l = made(LLM_HEALTHY);
	l.model_type = (char *)"embedding";
	assert_int_equal(schedule_canary(&l, &t, c, NOW, 0), 0);
	config_unref(c);
}

static void stable_after_its_time(void **state)
{
	struct config *c = SETTINGS("health.stable_time=5");
	struct track t = {.seen_healthy = true};

	(void)state;
	assert_true(schedule_is_stable(&t, c, NOW)); /* never lost */
	t.healthy_since_ms = NOW;
	assert_false(schedule_is_stable(&t, c, NOW + 4999));
	assert_true(schedule_is_stable(&t, c, NOW + 5000));
	config_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_pace_follows_the_health),
		cmocka_unit_test(intervals_come_from_the_configuration),
		cmocka_unit_test(probes_of_many_never_go_out_together),
		cmocka_unit_test(another_pace_begins_anywhere_in_its_interval),
		cmocka_unit_test(one_that_serves_turns_is_not_probed),
		cmocka_unit_test(one_that_hangs_is_probed_with_backoff),
		cmocka_unit_test(canary_probes_only_where_they_are_wanted),
		cmocka_unit_test(stable_after_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
