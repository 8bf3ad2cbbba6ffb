/* SPDX-License-Identifier: Apache-2.0 */
/* A model's health as a row of marks, with a clock of the test's own. */
#include "agentctl/top/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define T0 (INT64_C(1000000) * TOP_HISTORY_MS)

static int64_t slot(int n)
{
	return T0 + (int64_t)n * TOP_HISTORY_MS;
}

/* The last marks as letters. */
static void expect(struct top_history *h, int64_t now_ms, const char *letters)
{
	unsigned char marks[TOP_HISTORY];
	char text[TOP_HISTORY + 1];

	top_history_get(h, now_ms, marks);
	for (int i = 0; i < TOP_HISTORY; i++)
		text[i] = " H?DEU"[marks[i]];
	text[TOP_HISTORY] = '\0';
	assert_string_equal(text + TOP_HISTORY - strlen(letters), letters);
}

static void a_slot_has_the_worst(void **state)
{
	struct top_history h = {0};

	(void)state;
	top_history_set(&h, slot(0), TOP_UP);
	expect(&h, slot(0), " H");
	top_history_set(&h, slot(1), TOP_DOWN);
	top_history_set(&h, slot(1) + 100, TOP_UP);
	top_history_set(&h, slot(2), TOP_UP);
	expect(&h, slot(2), " HUH");
}

static void what_was_goes_on(void **state)
{
	struct top_history h = {0};

	(void)state;
	top_history_set(&h, slot(0), TOP_UP);
	top_history_set(&h, slot(3), TOP_DEGRADED);
	expect(&h, slot(5), " HHHDDD");
	top_history_set(&h, slot(500), TOP_DOWN);
	expect(&h, slot(500), "DDDDU");
	expect(&h, slot(5000), "UUUUU");
}

static void recorded_events(void **state)
{
	struct top_history h = {0};
	static const struct {
		int slot;
		enum event_kind kind;
	} events[] = {{0, EVENT_MODEL_UP},   {2, EVENT_EJECTED},        {3, EVENT_FAILOVER}, {4, EVENT_RETURNED},
	              {5, EVENT_MODEL_DOWN}, {7, EVENT_MODEL_DEGRADED}, {8, EVENT_MODEL_UP}};

	(void)state;
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
		struct event_record r = event_record_of(events[i].kind, "A", NULL, NULL, NULL);

		r.at_ms = slot(events[i].slot);
		top_history_event(&h, &r);
	}
	expect(&h, slot(9), " HHEEEUUUDH");
}

static void a_clock_that_is_set_back(void **state)
{
	struct top_history h = {0};

	(void)state;
	top_history_set(&h, slot(10), TOP_UP);
	top_history_set(&h, slot(2), TOP_DOWN);
	expect(&h, slot(2), " U");
	top_history_set(&h, 0, TOP_UP); /* no time at all */
	expect(&h, slot(11), " UU");
}

static void the_mark_of_a_model(void **state)
{
	(void)state;
	assert_int_equal(top_mark_of(LLM_HEALTHY, false), TOP_UP);
	assert_int_equal(top_mark_of(LLM_HEALTHY, true), TOP_EJECTED);
	assert_int_equal(top_mark_of(LLM_UNHEALTHY, true), TOP_DOWN);
	assert_int_equal(top_mark_of(LLM_UNKNOWN, false), TOP_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_slot_has_the_worst), cmocka_unit_test(what_was_goes_on),
		cmocka_unit_test(recorded_events),      cmocka_unit_test(a_clock_that_is_set_back),
		cmocka_unit_test(the_mark_of_a_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
