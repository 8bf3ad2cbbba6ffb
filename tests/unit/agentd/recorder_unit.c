/* SPDX-License-Identifier: Apache-2.0 */
/* What is recorded of many events at once, with a clock of the test's own. */
#include "tests/unit/support/settings.h"

#include "agentd/recorder.h"

#include <stdio.h>
#include <string.h>

static struct event_record written[2000];
static size_t count;

static void write_record(void *arg, struct event_record *r)
{
	(void)arg;
	assert_in_range(count, 0, 1999);
	written[count++] = *r;
}

static struct recorder *new_recorder(void)
{
	struct recorder *r = recorder_new(write_record, NULL);

	assert_non_null(r);
	count = 0;
	return r;
}

static void add(struct recorder *r, enum event_kind kind, const char *model, const char *was, int64_t now_ms)
{
	recorder_add(r, event_record_of(kind, model, NULL, was, "why"), now_ms);
}

static unsigned sum(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < count; i++)
		n += written[i].count;
	return n;
}

static void a_single_event_is_recorded_at_once(void **state)
{
	struct recorder *r = new_recorder();

	(void)state;
	add(r, EVENT_MODEL_DOWN, "A", NULL, 5000);
	assert_int_equal(count, 1);
	assert_int_equal(written[0].at_ms, 5000);
	assert_int_equal(written[0].count, 1);
	assert_string_equal(written[0].model, "A");
	assert_int_equal(recorder_tick(r, 5000), -1);
	recorder_free(r);
}

static void many_failovers_at_once_are_one_event(void **state)
{
	struct recorder *r = new_recorder();

	(void)state;
	for (int i = 0; i < 5000; i++)
		add(r, EVENT_FAILOVER, "B", "A", 1000 + i / 50);
	assert_int_equal(count, 0);
	assert_int_equal(recorder_tick(r, 1100), RECORDER_SHORT_MS - 100);
	assert_int_equal(recorder_tick(r, 1000 + RECORDER_SHORT_MS), -1);
	assert_int_equal(count, 1);
	assert_int_equal(written[0].count, 5000);
	assert_int_equal(written[0].at_ms, 1000);
	assert_string_equal(written[0].model, "B");
	assert_string_equal(written[0].was, "A");
	recorder_free(r);
}

static void other_models_are_other_events(void **state)
{
	struct recorder *r = new_recorder();

	(void)state;
	add(r, EVENT_FAILOVER, "B", "A", 0);
	add(r, EVENT_FAILOVER, "C", "A", 0);
	add(r, EVENT_CONTINUED, "B", "A", 0);
	add(r, EVENT_FAILOVER, "B", "A", 0);
	recorder_tick(r, RECORDER_SHORT_MS);
	assert_int_equal(count, 3);
	assert_int_equal(written[0].count, 2);
	recorder_free(r);
}

static void a_thousand_models_that_go_down_do_not_fill_the_ring(void **state)
{
	struct recorder *r = new_recorder();
	char name[16];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "model-%d", i);
		add(r, EVENT_MODEL_DOWN, name, NULL, 100);
	}
	add(r, EVENT_SELECTED, "other", NULL, 100); /* another kind has its own room */
	assert_int_equal(count, RECORDER_BURST + 1);
	assert_int_equal(recorder_tick(r, 100), RECORDER_LONG_MS);
	assert_int_equal(recorder_tick(r, 100 + RECORDER_LONG_MS), -1);
	assert_int_equal(count, RECORDER_BURST + 2);
	assert_int_equal(sum(), 1001);
	assert_string_equal(written[count - 1].model, "");
	assert_string_equal(written[count - 1].reason, "model-20 and others");
	recorder_free(r);
}

static void a_storm_that_does_not_end_is_an_event_every_ten_seconds(void **state)
{
	struct recorder *r = new_recorder();
	int64_t now = 0;

	(void)state;
	for (; now < 3600000; now += 100) {
		add(r, EVENT_FAILOVER, "B", "A", now);
		recorder_tick(r, now);
	}
	recorder_flush(r);
	assert_int_equal(sum(), 36000);
	assert_in_range(count, 360, 360 + 2 * RECORDER_BURST);
	recorder_free(r);
}

static void after_a_while_events_are_recorded_at_once_again(void **state)
{
	struct recorder *r = new_recorder();

	(void)state;
	for (int i = 0; i < 100; i++)
		add(r, EVENT_MODEL_UP, "A", NULL, 0);
	recorder_tick(r, RECORDER_LONG_MS);
	count = 0;
	add(r, EVENT_MODEL_UP, "A", NULL, 3 * RECORDER_REFILL_MS);
	assert_int_equal(count, 1);
	recorder_free(r);
}

static void too_many_pairs_of_models_become_one_event(void **state)
{
	struct recorder *r = new_recorder();
	char name[16];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "model-%d", i);
		add(r, EVENT_FAILOVER, "B", name, 0);
	}
	recorder_tick(r, RECORDER_SHORT_MS);
	assert_in_range(count, 1, 32);
	assert_int_equal(sum(), 1000);
	recorder_free(r);
}

static void a_clock_that_is_set_back_holds_nothing_up(void **state)
{
	struct recorder *r = new_recorder();

	(void)state;
	add(r, EVENT_FAILOVER, "B", "A", 1000000000);
	assert_int_equal(recorder_tick(r, 5), -1);
	assert_int_equal(count, 1);
	for (int i = 0; i < 40; i++)
		add(r, EVENT_MODEL_UP, "A", NULL, 1000000000);
	add(r, EVENT_MODEL_UP, "A", NULL, 5);
	recorder_tick(r, 5);
	assert_int_equal(sum(), 42);
	recorder_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_single_event_is_recorded_at_once),
		cmocka_unit_test(many_failovers_at_once_are_one_event),
		cmocka_unit_test(other_models_are_other_events),
		cmocka_unit_test(a_thousand_models_that_go_down_do_not_fill_the_ring),
		cmocka_unit_test(a_storm_that_does_not_end_is_an_event_every_ten_seconds),
		cmocka_unit_test(after_a_while_events_are_recorded_at_once_again),
		cmocka_unit_test(too_many_pairs_of_models_become_one_event),
		cmocka_unit_test(a_clock_that_is_set_back_holds_nothing_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
