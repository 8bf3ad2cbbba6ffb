/* SPDX-License-Identifier: Apache-2.0 */
/* How many chat turns may run, in total and per client, over several workers. */
#include "fcgi/admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define WORKERS 2

static int set_up(void **state)
{
	struct err e = ERR_INIT;

	*state = admission_new(WORKERS, &e);
	return *state == NULL;
}

static int tear_down(void **state)
{
	admission_free(*state);
	return 0;
}

static enum admission_verdict enter(struct admission *a, unsigned worker, const char *address, size_t turns,
                                    size_t client_turns, unsigned *entry)
{
	const struct admission_limits limits = {.turns = turns, .client_turns = client_turns};

	return admission_enter(a, worker, address, &limits, entry);
}

static void one_limit_for_all_workers(void **state)
{
	unsigned first, entry;

	assert_int_equal(enter(*state, 0, "192.0.2.1", 3, 0, &first), ADMISSION_GRANTED);
	assert_int_equal(enter(*state, 1, "192.0.2.2", 3, 0, &entry), ADMISSION_GRANTED);
	assert_int_equal(enter(*state, 1, NULL, 3, 0, &entry), ADMISSION_GRANTED);
	assert_int_equal(enter(*state, 0, "192.0.2.1", 3, 0, &entry), ADMISSION_FULL);
	assert_int_equal(enter(*state, 1, "192.0.2.3", 3, 0, &entry), ADMISSION_FULL);
	admission_leave(*state, 0, first);
	assert_int_equal(enter(*state, 1, "192.0.2.3", 3, 0, &entry), ADMISSION_GRANTED);
}

static void a_worker_takes_what_it_has_room_for(void **state)
{
	const struct admission_limits limits = {.worker_turns = 2};
	unsigned first, entry;

	assert_int_equal(admission_enter(*state, 0, NULL, &limits, &first), ADMISSION_GRANTED);
	assert_false(admission_others_have_room(*state, 0, 2));
	assert_int_equal(admission_enter(*state, 0, NULL, &limits, &entry), ADMISSION_GRANTED);
	assert_int_equal(admission_enter(*state, 0, NULL, &limits, &entry), ADMISSION_WORKER_FULL);
	assert_true(admission_others_have_room(*state, 0, 2));
	assert_false(admission_others_have_room(*state, 1, 2)); /* it has some itself */
	assert_int_equal(admission_enter(*state, 1, NULL, &limits, &entry), ADMISSION_GRANTED);
	assert_int_equal(admission_enter(*state, 1, NULL, &limits, &entry), ADMISSION_GRANTED);
	assert_false(admission_others_have_room(*state, 0, 2)); /* no worker has any */
	admission_leave(*state, 0, first);
	assert_true(admission_others_have_room(*state, 1, 2));
	assert_int_equal(admission_enter(*state, 0, NULL, &limits, &entry), ADMISSION_GRANTED);
}

static void one_limit_for_each_client(void **state)
{
	unsigned first, entry;

	assert_int_equal(enter(*state, 0, "192.0.2.1", 0, 2, &first), ADMISSION_GRANTED);
	assert_int_equal(enter(*state, 1, "192.0.2.1", 0, 2, &entry), ADMISSION_GRANTED);
	assert_int_equal(enter(*state, 1, "192.0.2.1", 0, 2, &entry), ADMISSION_CLIENT_FULL);
	assert_int_equal(enter(*state, 1, "::ffff:192.0.2.1", 0, 2, &entry), ADMISSION_CLIENT_FULL);
	assert_int_equal(enter(*state, 1, "192.0.2.2", 0, 2, &entry), ADMISSION_GRANTED);
	admission_leave(*state, 0, first);
	assert_int_equal(enter(*state, 1, "192.0.2.1", 0, 2, &entry), ADMISSION_GRANTED);
}

static void an_ipv6_network_is_one_client(void **state)
{
	unsigned entry;

	assert_int_equal(enter(*state, 0, "2001:db8:1:2::1", 0, 1, &entry), ADMISSION_GRANTED);
	assert_int_equal(enter(*state, 0, "2001:db8:1:2:ffff::2", 0, 1, &entry), ADMISSION_CLIENT_FULL);
	assert_int_equal(enter(*state, 0, "2001:db8:1:3::1", 0, 1, &entry), ADMISSION_GRANTED);
	assert_int_equal(enter(*state, 0, "::1", 0, 1, &entry), ADMISSION_GRANTED);
	assert_int_equal(enter(*state, 1, "::1", 0, 1, &entry), ADMISSION_CLIENT_FULL);
}

static void a_client_without_an_address_has_no_limit_of_its_own(void **state)
{
	unsigned entry;

	for (int i = 0; i < 5; i++) {
		assert_int_equal(enter(*state, 0, "unix:", 0, 1, &entry), ADMISSION_GRANTED);
		assert_int_equal(enter(*state, 0, NULL, 0, 1, &entry), ADMISSION_GRANTED);
	}
}

static void a_dead_worker_gives_up_its_entries(void **state)
{
	unsigned entry;

	for (int i = 0; i < 10; i++)
		assert_int_equal(enter(*state, 1, "192.0.2.1", 10, 10, &entry), ADMISSION_GRANTED);
	assert_int_equal(enter(*state, 0, "192.0.2.1", 10, 0, &entry), ADMISSION_FULL);
	admission_clear(*state, 1);
	assert_int_equal(enter(*state, 0, "192.0.2.1", 10, 10, &entry), ADMISSION_GRANTED);
}

static void places_are_used_again(void **state)
{
	unsigned entries[100], again;

	for (int round = 0; round < 1000; round++) {
		for (int i = 0; i < 100; i++)
			assert_int_equal(enter(*state, 0, "192.0.2.1", 100, 100, &entries[i]), ADMISSION_GRANTED);
		assert_int_equal(enter(*state, 0, "192.0.2.9", 100, 100, &again), ADMISSION_FULL);
		for (int i = 0; i < 100; i++)
			admission_leave(*state, 0, entries[(i * 7 + round) % 100]);
	}
}

/* A worker enters and leaves turns and counts those that run concurrently. */
static void storm(struct admission *a, unsigned worker, int *seen)
{
	for (int i = 0; i < 20000; i++) {
		unsigned entry;

		if (enter(a, worker, "192.0.2.1", 0, 1, &entry) != ADMISSION_GRANTED)
			continue;
		if (__atomic_add_fetch(seen, 1, __ATOMIC_SEQ_CST) > 1)
			seen[1] = 1;
		__atomic_sub_fetch(seen, 1, __ATOMIC_SEQ_CST);
		admission_leave(a, worker, entry);
	}
}

static void two_workers_never_exceed_it(void **state)
{
	/* How many run concurrently, and whether it was ever more than one. */
	int *seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 1;
	pid_t child;

	assert_ptr_not_equal(seen, MAP_FAILED);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		storm(*state, 1, seen);
		_exit(0);
	}
	storm(*state, 0, seen);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(seen[1], 0);
	munmap(seen, 4096);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(one_limit_for_all_workers),
		TEST(a_worker_takes_what_it_has_room_for),
		TEST(one_limit_for_each_client),
		TEST(an_ipv6_network_is_one_client),
		TEST(a_client_without_an_address_has_no_limit_of_its_own),
		TEST(a_dead_worker_gives_up_its_entries),
		TEST(places_are_used_again),
		TEST(two_workers_never_exceed_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
