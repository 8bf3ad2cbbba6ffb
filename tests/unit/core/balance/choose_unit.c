/* SPDX-License-Identifier: Apache-2.0 */
/* The choice among replicas, with simulated load: a fake clock, no processes. */
#include "core/balance/balance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define REPLICAS 4
#define THREADS  400

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static int choose(const struct balance_load *loads, size_t count, size_t last)
{
	return balance_choose(loads, count, last, next_random(), false);
}

static void the_least_loaded_is_chosen(void **state)
{
	const struct balance_load loads[] = {{3, 0, 1, 1}, {2, 0, 1, 1}, {1, 0, 1, 1}, {2, 0, 1, 1}};

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(choose(loads, 4, BALANCE_NONE), 2);
}

static void load_is_weighed_by_capacity(void **state)
{
	const struct balance_load loads[] = {{8, 32, 1, 1}, {4, 8, 1, 1}};
	const struct balance_load idle[] = {{0, 8, 1, 1}, {0, 32, 1, 1}};

	(void)state;
	assert_int_equal(choose(loads, 2, BALANCE_NONE), 0);
	assert_int_equal(choose(idle, 2, BALANCE_NONE), 1);
}

static void one_of_unknown_capacity_counts_as_the_mean_of_the_others(void **state)
{
	const struct balance_load more[] = {{4, 8, 1, 1}, {5, 24, 1, 1}, {5, 0, 1, 1}};
	const struct balance_load fewer[] = {{4, 8, 1, 1}, {8, 24, 1, 1}, {4, 0, 1, 1}};

	(void)state;
	assert_int_equal(choose(more, 3, BALANCE_NONE), 1);
	assert_int_equal(choose(fewer, 3, BALANCE_NONE), 2);
}

static void equal_ones_are_chosen_equally_often(void **state)
{
	const struct balance_load loads[REPLICAS] = {{5, 0, 1, 1}, {5, 0, 1, 1}, {5, 0, 1, 1}, {5, 0, 1, 1}};
	unsigned counts[REPLICAS] = {0};

	(void)state;
	for (int i = 0; i < 40000; i++)
		counts[choose(loads, REPLICAS, BALANCE_NONE)]++;
	for (size_t i = 0; i < REPLICAS; i++)
		assert_in_range(counts[i], 9000, 11000);
}

static void a_full_one_is_never_chosen_while_another_has_room(void **state)
{
	const struct balance_load loads[] = {{2, 2, 1, 1}, {63, 64, 1, 1}, {4, 4, 1, 1}};

	(void)state;
	for (size_t last = 0; last < 4; last++)
		assert_int_equal(choose(loads, 3, last), 1);
	assert_int_equal(balance_choose(loads, 3, 0, 1, true), 1);
}

static void all_are_full(void **state)
{
	const struct balance_load loads[] = {{2, 2, 1, 1}, {64, 64, 1, 1}, {5, 4, 1, 1}};

	(void)state;
	assert_int_equal(choose(loads, 3, 1), BALANCE_FULL);
	assert_int_equal(choose(loads, 1, BALANCE_NONE), BALANCE_FULL);
	assert_int_equal(balance_choose(loads, 3, BALANCE_NONE, 1, true), 1);
	assert_int_equal(balance_choose(loads, 1, BALANCE_NONE, 1, true), 0);
}

static void a_thread_stays_up_to_the_bound_and_no_longer(void **state)
{
	struct balance_load loads[] = {{10, 0, 1, 1}, {8, 0, 1, 1}, {8, 0, 1, 1}, {8, 0, 1, 1}};

	(void)state;
	assert_int_equal(choose(loads, 4, 0), 0); /* 1.25 * 8.5 + 1 = 11.6 */
	loads[0].in_flight = 14;
	assert_int_not_equal(choose(loads, 4, 0), 0);   /* 1.25 * 9.5 + 1 = 12.9 */
	loads[0] = (struct balance_load){28, 32, 1, 1}; /* of its four times the capacity little is used */
	loads[1].capacity = loads[2].capacity = loads[3].capacity = 8;
	loads[1].in_flight = loads[2].in_flight = loads[3].in_flight = 7;
	assert_int_equal(choose(loads, 4, 0), 0);
	assert_int_equal(choose(loads, 4, 17), 0);
}

static void a_degraded_one_gets_less(void **state)
{
	struct balance_load loads[] = {{0, 0, 0.5, 1}, {0, 0, 1, 1}};

	(void)state;
	assert_int_equal(choose(loads, 2, BALANCE_NONE), 1);
	for (int i = 0; i < 300; i++)
		loads[choose(loads, 2, BALANCE_NONE)].in_flight++;
	assert_in_range(loads[0].in_flight, 98, 102);
}

static void a_new_one_that_is_idle_is_like_any_other(void **state)
{
	const struct balance_load loads[] = {{0, 0, 1, 0.1}, {0, 0, 1, 1}};
	unsigned count = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		count += choose(loads, 2, BALANCE_NONE) == 0;
	assert_in_range(count, 400, 600);
}

static void a_share_of_a_replica_is_a_share_of_the_load(void **state)
{
	struct balance_load loads[] = {{0, 0, 1, 0.1}, {0, 0, 1, 1}, {0, 0, 1, 1}, {0, 0, 1, 1}};

	(void)state;
	for (int i = 0; i < 310; i++)
		loads[choose(loads, 4, BALANCE_NONE)].in_flight++;
	assert_in_range(loads[0].in_flight, 8, 12);
}

/* ---- simulations ------------------------------------------------------------------------------------------ */

/* Each thread sends a turn, waits for its answer, pauses, and sends the next one. One slot of time is the duration
 * of the smallest event. */
struct simulation {
	struct balance_load loads[REPLICAS];
	unsigned took[REPLICAS]; /* time slots that a turn takes there */
	unsigned pause;          /* of a thread, on average */
	struct {
		size_t last, at; /* BALANCE_NONE: none yet; it pauses */
		unsigned due;
	} threads[THREADS];
	unsigned long turns[REPLICAS], in_flight[REPLICAS], follow_ups, stayed, slots;
	unsigned most; /* in flight at one */
};

static void run(struct simulation *s, unsigned slots)
{
	for (unsigned t = 0; t < THREADS; t++) {
		s->threads[t].last = s->threads[t].at = BALANCE_NONE;
		s->threads[t].due = (unsigned)(next_random() % (s->pause + 1));
	}
	for (unsigned now = 0; now < slots; now++) {
		for (unsigned t = 0; t < THREADS; t++) {
			size_t at = s->threads[t].at;

			if (s->threads[t].due > now)
				continue;
			if (at != BALANCE_NONE) {
				s->loads[at].in_flight--;
				s->threads[t].last = at;
				s->threads[t].at = BALANCE_NONE;
				s->threads[t].due = now + (unsigned)(next_random() % (2 * s->pause + 1));
				continue;
			}
			at = (size_t)choose(s->loads, REPLICAS, s->threads[t].last);
			if (at == (size_t)BALANCE_FULL)
				continue;
			if (s->threads[t].last != BALANCE_NONE && now > slots / 4) {
				s->follow_ups++;
				s->stayed += at == s->threads[t].last;
			}
			s->loads[at].in_flight++;
			if (s->loads[at].in_flight > s->most)
				s->most = s->loads[at].in_flight;
			s->turns[at]++;
			s->threads[t].at = at;
			s->threads[t].due = now + s->took[at] / 2 + (unsigned)(next_random() % s->took[at]);
		}
		for (size_t i = 0; i < REPLICAS && now > slots / 4; i++)
			s->in_flight[i] += s->loads[i].in_flight;
		s->slots += now > slots / 4;
	}
}

/* The share of all turns in flight, over time, of the replica that has most, compared with its fair share. */
static double worst_share(const struct simulation *s)
{
	double sum = 0, weights = 0, worst = 0;

	for (size_t i = 0; i < REPLICAS; i++) {
		sum += (double)s->in_flight[i];
		weights += s->loads[i].capacity != 0 ? s->loads[i].capacity : 1;
	}
	for (size_t i = 0; i < REPLICAS; i++) {
		double weight = (s->loads[i].capacity != 0 ? s->loads[i].capacity : 1) / weights;
		double share = (double)s->in_flight[i] / sum / weight;

		if (share > worst)
			worst = share;
	}
	return worst;
}

static void threads_stay_while_the_load_is_balanced(void **state)
{
	static struct simulation s;

	(void)state;
	s = (struct simulation){.pause = 100};
	for (size_t i = 0; i < REPLICAS; i++) {
		s.loads[i].weight = s.loads[i].share = 1;
		s.took[i] = 100;
	}
	run(&s, 5000);
	assert_true(worst_share(&s) < 1.1);
	assert_true((double)s.stayed >= 0.95 * (double)s.follow_ups);
}

static void a_slow_replica_gets_fewer_turns(void **state)
{
	static struct simulation s;
	unsigned long all = 0;

	(void)state;
	s = (struct simulation){.pause = 50};
	for (size_t i = 0; i < REPLICAS; i++) {
		s.loads[i].weight = s.loads[i].share = 1;
		s.took[i] = i == 0 ? 400 : 100;
	}
	run(&s, 10000);
	for (size_t i = 0; i < REPLICAS; i++)
		all += s.turns[i];
	assert_true(worst_share(&s) < 1.3);
	assert_true((double)s.turns[0] < 1.3 * (double)all / 13); /* 0.25 of 3.25 */
	assert_true((double)s.stayed >= 0.95 * (double)s.follow_ups);
}

static void a_small_replica_gets_fewer_turns(void **state)
{
	static struct simulation s;

	(void)state;
	s = (struct simulation){.pause = 100};
	for (size_t i = 0; i < REPLICAS; i++) {
		s.loads[i] = (struct balance_load){.weight = 1, .share = 1, .capacity = i == 0 ? 16 : 64};
		s.took[i] = 50;
	}
	run(&s, 5000);
	assert_true(worst_share(&s) < 1.3);
	assert_true(s.loads[0].in_flight <= 16);
}

static void no_capacity_is_exceeded(void **state)
{
	static struct simulation s;

	(void)state;
	s = (struct simulation){.pause = 10};
	for (size_t i = 0; i < REPLICAS; i++) {
		s.loads[i] = (struct balance_load){.weight = 1, .share = 1, .capacity = 32};
		s.took[i] = 100;
	}
	run(&s, 2000);
	assert_int_equal(s.most, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_least_loaded_is_chosen),
		cmocka_unit_test(load_is_weighed_by_capacity),
		cmocka_unit_test(one_of_unknown_capacity_counts_as_the_mean_of_the_others),
		cmocka_unit_test(equal_ones_are_chosen_equally_often),
		cmocka_unit_test(a_full_one_is_never_chosen_while_another_has_room),
		cmocka_unit_test(all_are_full),
		cmocka_unit_test(a_thread_stays_up_to_the_bound_and_no_longer),
		cmocka_unit_test(a_degraded_one_gets_less),
		cmocka_unit_test(a_new_one_that_is_idle_is_like_any_other),
		cmocka_unit_test(a_share_of_a_replica_is_a_share_of_the_load),
		cmocka_unit_test(threads_stay_while_the_load_is_balanced),
		cmocka_unit_test(a_slow_replica_gets_fewer_turns),
		cmocka_unit_test(a_small_replica_gets_fewer_turns),
		cmocka_unit_test(no_capacity_is_exceeded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
