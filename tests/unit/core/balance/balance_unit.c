/* SPDX-License-Identifier: Apache-2.0 */
/* Places at replicas, counted by several processes at once. */
#include "core/balance/balance.h"
#include "tests/unit/support/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define T0     (1000 * SECOND) /* the clock of these tests */
#define WARMUP (10 * SECOND)

static struct balance *open_in(void **state)
{
	struct balance *b = balance_open(*state);

	assert_non_null(b);
	return b;
}

/* A group of 4, whose instances begin with this one; no two tests have the same. */
static struct balance_request group_of(struct balance_replica replicas[4], uint64_t first)
{
	for (size_t i = 0; i < 4; i++)
		replicas[i] = (struct balance_replica){.instance = first + i};
	return (struct balance_request){.replicas = replicas, .count = 4, .warmup_ns = WARMUP, .now_ns = T0};
}

static void configure(struct balance *b, uint64_t first, uint32_t capacity)
{
	for (uint64_t i = 0; i < 4; i++)
		balance_configure(b, first + i, capacity, T0);
}

static struct balance_llm describe(struct balance *b, uint64_t instance)
{
	struct balance_llm l;

	assert_true(balance_llm(b, instance, &l));
	assert_int_equal(l.instance, instance);
	return l;
}

static void places_are_counted(void **state)
{
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 100);
	struct balance *b = open_in(state), *other = open_in(state);
	struct balance_place places[40];
	struct balance_copy *copy;
	struct balance_llm l;

	assert_false(balance_llm(b, 100, &l));
	for (size_t i = 0; i < 40; i++)
		assert_in_range(balance_take(i % 2 == 0 ? b : other, &r, &places[i]), 0, 3);
	for (uint64_t i = 100; i < 104; i++)
		assert_int_equal(describe(b, i).in_flight, 10);
	assert_int_equal(describe(b, 100).capacity, 0);
	copy = balance_copy(scratch);
	assert_true(balance_copy_llm(copy, 102, &l));
	assert_int_equal(l.in_flight, 10);
	assert_false(balance_copy_llm(copy, 104, &l));
	balance_copy_free(copy);
	for (size_t i = 0; i < 40; i++) {
		balance_give(i % 2 == 0 ? b : other, &places[i], BALANCE_WITHDRAWN, T0);
		balance_give(i % 2 == 0 ? b : other, &places[i], BALANCE_WITHDRAWN, T0); /* nothing */
	}
	for (uint64_t i = 100; i < 104; i++)
		assert_int_equal(describe(other, i).in_flight, 0);
	assert_int_equal(describe(b, 103).taken, 10);
	balance_close(other);
	balance_close(b);
}

static void without_a_file_each_gets_some(void **state)
{
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 150);
	struct balance_place place;
	struct balance_group g;
	struct balance_llm l;

	configure(NULL, 150, 1);
	(void)state;
	assert_int_equal(balance_take(NULL, &r, &place), 0);
	balance_give(NULL, &place, BALANCE_ANSWERED, T0);
	balance_tick(NULL, T0);
	balance_group(NULL, &r, &g);
	assert_int_equal(g.free, UINT32_MAX);
	assert_false(balance_llm(NULL, 150, &l));
	assert_null(balance_copy("/nonexistent"));
	assert_false(balance_copy_llm(NULL, 150, &l));
	balance_copy_free(NULL);
	assert_int_equal(balance_freed(NULL), 0);
	balance_close(NULL);
}

static void a_full_group_gives_nothing_until_a_place_is_free(void **state)
{
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 200);
	struct balance *b = open_in(state);
	struct balance_place places[9];
	struct balance_group g;
	uint64_t freed;

	configure(b, 200, 2);
	for (size_t i = 0; i < 8; i++)
		assert_in_range(balance_take(b, &r, &places[i]), 0, 3);
	balance_group(b, &r, &g);
	assert_int_equal(g.replicas, 4);
	assert_int_equal(g.capacity, 8);
	assert_int_equal(g.in_flight, 8);
	assert_int_equal(g.free, 0);
	freed = balance_freed(b);
	assert_int_equal(balance_take(b, &r, &places[8]), BALANCE_FULL);
	balance_give(b, &places[8], BALANCE_WITHDRAWN, T0); /* nothing was taken */
	assert_int_equal(balance_freed(b), freed);
	balance_give(b, &places[3], BALANCE_ANSWERED, T0 + 3 * SECOND);
	assert_int_not_equal(balance_freed(b), freed);
	balance_group(b, &r, &g);
	assert_int_equal(g.free, 1);
	assert_int_equal(g.pace_ns, 3 * SECOND);
	assert_in_range(balance_take(b, &r, &places[8]), 0, 3);
	assert_int_equal(places[8].instance, places[3].file == 0 ? places[3].instance : 0);
	r.forced = true;
	assert_in_range(balance_take(b, &r, &places[3]), 0, 3);
	for (size_t i = 0; i < 9; i++)
		balance_give(b, &places[i], BALANCE_WITHDRAWN, T0);
	balance_close(b);
}

static void a_thread_stays_with_the_replica_that_answered_it(void **state)
{
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 300);
	struct balance *b = open_in(state), *other = open_in(state);
	struct balance_place first, place;
	int at;

	r.thread = balance_hash(balance_hash(0, "ann"), "17");
	assert_int_not_equal(r.thread, balance_hash(balance_hash(0, "an"), "n17"));
	at = balance_take(b, &r, &first);
	balance_give(b, &first, BALANCE_ANSWERED, T0);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(balance_take(other, &r, &place), at);
		balance_give(other, &place, BALANCE_ANSWERED, T0);
	}
	/* What it really was: a failed attempt elsewhere changes nothing, an answer from elsewhere does. */
	r.replicas = &replicas[(at + 1) % 4];
	r.count = 1;
	assert_int_equal(balance_take(b, &r, &place), 0);
	balance_give(b, &place, BALANCE_WITHDRAWN, T0);
	r.replicas = replicas;
	r.count = 4;
	assert_int_equal(balance_take(b, &r, &place), at);
	balance_give(b, &place, BALANCE_WITHDRAWN, T0);
	r.replicas = &replicas[(at + 1) % 4];
	r.count = 1;
	balance_take(b, &r, &place);
	balance_give(b, &place, BALANCE_ANSWERED, T0);
	r.replicas = replicas;
	r.count = 4;
	assert_int_equal(balance_take(b, &r, &place), (at + 1) % 4);
	balance_give(b, &place, BALANCE_WITHDRAWN, T0);
	/* An answer that the client stopped is in its cache too. */
	r.replicas = &replicas[at];
	r.count = 1;
	balance_take(b, &r, &place);
	balance_give(b, &place, BALANCE_STOPPED, T0);
	r.replicas = replicas;
	r.count = 4;
	assert_int_equal(balance_take(b, &r, &place), at);
	balance_give(b, &place, BALANCE_WITHDRAWN, T0);
	balance_close(other);
	balance_close(b);
}

static void more_threads_than_there_is_room_for_forget_the_oldest(void **state)
{
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 350);
	struct balance *b = open_in(state);
	struct balance_place place;
	unsigned stayed = 0;
	int at[1000];

	for (unsigned i = 0; i < 100000; i++) {
		r.thread = balance_hash(0, "x") + i * UINT64_C(0x9e3779b97f4a7c15);
		r.now_ns = T0 + i * (SECOND / 100);
		at[i % 1000] = balance_take(b, &r, &place);
		balance_give(b, &place, BALANCE_ANSWERED, r.now_ns);
	}
	for (unsigned i = 99000; i < 100000; i++) {
		r.thread = balance_hash(0, "x") + i * UINT64_C(0x9e3779b97f4a7c15);
		stayed += balance_take(b, &r, &place) == at[i % 1000];
		balance_give(b, &place, BALANCE_WITHDRAWN, r.now_ns);
	}
	assert_int_equal(stayed, 1000);
	balance_close(b);
}

/* Many threads with the same system prompt are many threads. */
static void new_threads_are_spread(void **state)
{
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 380);
	struct balance *b = open_in(state);
	struct balance_place place;
	unsigned counts[4] = {0};
	char name[20];

	for (unsigned i = 0; i < 4000; i++) {
		snprintf(name, sizeof name, "%u", i);
		r.thread = balance_hash(balance_hash(0, ""), name);
		counts[balance_take(b, &r, &place)]++;
		balance_give(b, &place, BALANCE_ANSWERED, T0);
	}
	for (size_t i = 0; i < 4; i++)
		assert_in_range(counts[i], 850, 1150);
	balance_close(b);
}

/* ---- capacity ---------------------------------------------------------------------------------------------------- */

static void a_capacity_is_learned_from_refusals_and_grows_again(void **state)
{
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 400);
	struct balance *b = open_in(state);
	struct balance_place places[12], place;
	struct balance_llm l;

	r.count = 1;
	for (size_t i = 0; i < 12; i++)
		balance_take(b, &r, &places[i]);
	for (size_t i = 8; i < 12; i++) /* it runs 8 */
		balance_give(b, &places[i], BALANCE_BUSY, T0);
	l = describe(b, 400);
	assert_int_equal(l.capacity, 8);
	assert_int_equal(l.source, BALANCE_REFUSED);
	assert_int_equal(l.refused, 4);
	assert_int_equal(balance_take(b, &r, &place), BALANCE_FULL);
	balance_tick(b, T0 + SECOND / 2);
	assert_int_equal(balance_take(b, &r, &place), BALANCE_FULL);
	balance_tick(b, T0 + SECOND);
	balance_tick(b, T0 + SECOND);
	assert_int_equal(describe(b, 400).capacity, 9);
	assert_int_equal(balance_take(b, &r, &place), 0);
	balance_give(b, &place, BALANCE_BUSY, T0 + SECOND);
	assert_int_equal(describe(b, 400).capacity, 8);
	for (size_t i = 0; i < 8; i++)
		balance_give(b, &places[i], BALANCE_ANSWERED, T0 + SECOND);
	balance_tick(b, T0 + 5 * SECOND);
	assert_int_equal(describe(b, 400).capacity, 8); /* it is not the limit now */
	balance_tick(b, T0 + 400 * SECOND);
	assert_int_equal(describe(b, 400).capacity, 0);
	balance_close(b);
}

static void a_configured_capacity_is_never_exceeded_by_what_was_learned(void **state)
{
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 420);
	struct balance *b = open_in(state);
	struct balance_place places[3];

	configure(b, 420, 3);
	r.count = 1;
	for (size_t i = 0; i < 3; i++)
		balance_take(b, &r, &places[i]);
	balance_give(b, &places[2], BALANCE_BUSY, T0);
	assert_int_equal(describe(b, 420).capacity, 2);
	for (int i = 1; i < 10; i++)
		balance_tick(b, T0 + i * SECOND);
	assert_int_equal(describe(b, 420).capacity, 3);
	assert_int_equal(describe(b, 420).source, BALANCE_CONFIGURED);
	balance_give(b, &places[0], BALANCE_WITHDRAWN, T0);
	balance_give(b, &places[1], BALANCE_WITHDRAWN, T0);
	balance_close(b);
}

static void a_capacity_is_learned_from_the_queue_of_the_server(void **state)
{
	const struct balance_report queue = {.running = 6, .waiting = 6}, none = {.running = 10};
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 440);
	struct balance *b = open_in(state);
	struct balance_place places[12];

	r.count = 1;
	for (size_t i = 0; i < 10; i++)
		balance_take(b, &r, &places[i]);
	balance_report(b, 440, &none, T0);
	assert_int_equal(describe(b, 440).capacity, 0);
	assert_int_equal(describe(b, 440).running, 10);
	balance_report(b, 440, &queue, T0); /* 10 of the 12 there are ours: so many of the 6 that run */
	assert_int_equal(describe(b, 440).capacity, 5);
	assert_int_equal(describe(b, 440).source, BALANCE_QUEUED);
	balance_tick(b, T0 + 30 * SECOND); /* nobody says that its queue is empty */
	assert_int_equal(describe(b, 440).capacity, 5);
	balance_report(b, 440, &none, T0 + 30 * SECOND);
	assert_int_equal(describe(b, 440).capacity, 6);
	for (size_t i = 0; i < 10; i++)
		balance_give(b, &places[i], BALANCE_WITHDRAWN, T0);
	balance_close(b);
}

static void a_replica_that_comes_back_gets_its_share_by_degrees(void **state)
{
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 460);
	struct balance *b = open_in(state);
	static struct balance_place places[2000];
	size_t count = 0;

	for (; count < 400; count++)
		balance_take(b, &r, &places[count]);
	assert_int_equal(describe(b, 460).in_flight, 100); /* all are new: none gets less */
	r.replicas = &replicas[1];
	r.count = 3; /* the first is away */
	for (int i = 1; i <= 20; i++) {
		r.now_ns = T0 + i * SECOND;
		balance_take(b, &r, &places[count++]);
	}
	r.replicas = replicas;
	r.count = 4;
	for (size_t i = 0; i < count; i++)
		if (places[i].instance == 460)
			balance_give(b, &places[i], BALANCE_WITHDRAWN, T0);
	for (int i = 0; i < 40; i++)
		balance_take(b, &r, &places[count++]);
	assert_in_range(describe(b, 460).in_flight, 1, 15);
	r.now_ns += WARMUP / 2;
	for (int i = 0; i < 60; i++)
		balance_take(b, &r, &places[count++]);
	assert_in_range(describe(b, 460).in_flight, 40, 75);
	r.now_ns += WARMUP / 2;
	for (int i = 0; i < 100; i++)
		balance_take(b, &r, &places[count++]);
	assert_in_range(describe(b, 460).in_flight, 100, 160);
	for (size_t i = 0; i < count; i++)
		balance_give(b, &places[i], BALANCE_WITHDRAWN, T0);
	balance_close(b);
}

static void llms_that_are_gone_make_room(void **state)
{
	struct balance_replica replica = {.degraded = false};
	struct balance_request r = {.replicas = &replica, .count = 1, .now_ns = T0};
	struct balance *b = open_in(state);
	struct balance_place place;
	struct balance_llm l;

	for (uint64_t i = 0; i < 3 * BALANCE_LLMS_MAX; i++) {
		replica.instance = 100000 + i;
		r.now_ns = T0 + (int64_t)i * SECOND;
		assert_int_equal(balance_take(b, &r, &place), 0);
		balance_give(b, &place, BALANCE_WITHDRAWN, r.now_ns);
	}
	assert_true(balance_llm(b, replica.instance, &l));
	assert_false(balance_llm(b, 100000, &l));
	balance_close(b);
}

/* ---- several processes ---------------------------------------------------------------------------------------- */

#define WORKERS 8
#define EACH    200

static void processes_together_get_exactly_the_capacity(void **state)
{
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 500);
	_Atomic unsigned *counts =
		mmap(NULL, 2 * sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct balance *b = open_in(state);
	int end[2], status;
	char byte;

	configure(b, 500, 77);
	assert_int_equal(pipe(end), 0);
	for (int p = 0; p < WORKERS; p++)
		if (fork() == 0) {
			struct balance *own = open_in(state);
			struct balance_place place;

			close(end[1]);
			for (int i = 0; i < EACH; i++)
				if (balance_take(own, &r, &place) >= 0)
					atomic_fetch_add(&counts[0], 1);
			atomic_fetch_add(&counts[1], 1);
			while (read(end[0], &byte, 1) < 0)
				continue;
			_exit(0); /* as a worker that dies */
		}
	while (counts[1] < WORKERS)
		usleep(1000);
	assert_int_equal(counts[0], 4 * 77);
	for (uint64_t i = 500; i < 504; i++)
		assert_int_equal(describe(b, i).in_flight, 77);
	close(end[1]);
	close(end[0]);
	while (wait(&status) > 0)
		assert_int_equal(status, 0);
	balance_tick(b, T0);
	for (uint64_t i = 500; i < 504; i++)
		assert_int_equal(describe(b, i).in_flight, 0);
	munmap(counts, 2 * sizeof *counts);
	balance_close(b);
}

/* Workers are killed wherever they are, with the lock as well: the others go on, and no place stays taken. */
static void workers_killed_anywhere_leave_nothing_behind(void **state)
{
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 600);
	struct balance *b = open_in(state);
	struct balance_place place;

	configure(b, 600, 100);
	for (int round = 0; round < 40; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			struct balance *own = open_in(state);

			for (uint64_t i = 1;; i++) {
				r.thread = i;
				balance_take(own, &r, &place);
				if (i % 3 != 0)
					balance_give(own, &place, BALANCE_ANSWERED, T0);
			}
		}
		usleep((unsigned)(1000 + round * 137));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		if (balance_take(b, &r, &place) >= 0)
			balance_give(b, &place, BALANCE_ANSWERED, T0);
	}
	balance_tick(b, T0);
	for (uint64_t i = 600; i < 604; i++)
		assert_int_equal(describe(b, i).in_flight, 0);
	balance_close(b);
}

/* ---- the file -------------------------------------------------------------------------------------------- */

static void a_file_that_is_cut_or_foreign_is_made_again(void **state)
{
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 700);
	struct balance *b = open_in(state), *other;
	struct balance_place place, later;
	char path[100];
	int fd;

	configure(b, 700, 1);
	snprintf(path, sizeof path, "%s/%s", (char *)*state, BALANCE_FILE);
	assert_in_range(balance_take(b, &r, &place), 0, 3);
	assert_int_equal(truncate(path, 0), 0);
	assert_in_range(balance_take(b, &r, &later), 0, 3); /* not counted */
	balance_give(b, &place, BALANCE_ANSWERED, T0);
	balance_tick(b, T0);
	configure(b, 700, 1);
	for (int i = 0; i < 4; i++)
		assert_in_range(balance_take(b, &r, &place), 0, 3);
	assert_int_equal(balance_take(b, &r, &later), BALANCE_FULL);

	assert_int_equal(truncate(path, 8192), 0); /* the lock is in what is left */
	balance_take(b, &r, &later);
	balance_tick(b, T0);
	assert_in_range(balance_take(b, &r, &later), 0, 3);
	balance_give(b, &place, BALANCE_ANSWERED, T0); /* of the file before */
	assert_int_equal(describe(b, later.instance).in_flight, 1);

	assert_int_equal(unlink(path), 0);
	balance_tick(b, T0);
	assert_int_equal(access(path, F_OK), 0);

	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "nonsense", 8, 0), 8);
	close(fd);
	other = open_in(state);
	configure(other, 700, 1);
	for (int i = 0; i < 4; i++)
		assert_in_range(balance_take(other, &r, &place), 0, 3);
	balance_tick(b, T0); /* follows */
	assert_int_equal(balance_take(b, &r, &later), BALANCE_FULL);
	balance_close(other);
	balance_close(b);
}

static void a_directory_that_comes_later_is_used_from_then_on(void **state)
{
	struct balance_replica replicas[4];
	struct balance_request r = group_of(replicas, 800);
	struct balance_place place;
	struct balance_llm l;
	struct balance *b;
	char path[100];

	snprintf(path, sizeof path, "%s/later", (char *)*state);
	b = balance_open(path);
	assert_non_null(b);
	assert_in_range(balance_take(b, &r, &place), 0, 3);
	assert_int_equal(place.file, 0);
	balance_give(b, &place, BALANCE_ANSWERED, T0);
	assert_false(balance_llm(b, 800, &l));
	balance_tick(b, T0);
	assert_int_equal(mkdir(path, 0700), 0);
	balance_tick(b, T0);
	assert_in_range(balance_take(b, &r, &place), 0, 3);
	assert_int_equal(describe(b, place.instance).in_flight, 1);
	balance_give(b, &place, BALANCE_ANSWERED, T0);
	balance_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_are_counted),
		cmocka_unit_test(without_a_file_each_gets_some),
		cmocka_unit_test(a_full_group_gives_nothing_until_a_place_is_free),
		cmocka_unit_test(a_thread_stays_with_the_replica_that_answered_it),
		cmocka_unit_test(more_threads_than_there_is_room_for_forget_the_oldest),
		cmocka_unit_test(new_threads_are_spread),
		cmocka_unit_test(a_capacity_is_learned_from_refusals_and_grows_again),
		cmocka_unit_test(a_configured_capacity_is_never_exceeded_by_what_was_learned),
		cmocka_unit_test(a_capacity_is_learned_from_the_queue_of_the_server),
		cmocka_unit_test(a_replica_that_comes_back_gets_its_share_by_degrees),
		cmocka_unit_test(processes_together_get_exactly_the_capacity),
		cmocka_unit_test(workers_killed_anywhere_leave_nothing_behind),
		cmocka_unit_test(a_file_that_is_cut_or_foreign_is_made_again),
		cmocka_unit_test(a_directory_that_comes_later_is_used_from_then_on),
		cmocka_unit_test(llms_that_are_gone_make_room), /* leaves no room at the others' time */
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
