/* SPDX-License-Identifier: Apache-2.0 */
/* How much clients take, counted by several processes at once. */
#include "core/access/limits.h"

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
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define SECOND INT64_C(1000000000)
#define T0     (1000 * SECOND) /* where the clock of these tests begins */

static int64_t now;

static int64_t get_now(void)
{
	return now;
}

static int make_directory(void **state)
{
	char *directory = strdup("/tmp/limits-XXXXXX");

	*state = mkdtemp(directory);
	return *state == NULL ? -1 : 0;
}

static int remove_directory(void **state)
{
	char command[200];

	snprintf(command, sizeof command, "rm -rf %s", (char *)*state);
	free(*state);
	return system(command) == 0 ? 0 : -1;
}

static struct limits *open_in(void **state)
{
	struct err e = ERR_INIT;
	struct limits *l = limits_open(*state, get_now, &e);

	now = T0;
	if (l == NULL)
		fail_msg("%s", e.text);
	return l;
}

static const struct limits_request by_requests = {.client = 7, .own = {.requests = 6}};
static const struct limits_request by_tokens = {.client = 8, .own = {.tokens = 600}, .tokens = 100};
static const struct limits_request by_turns = {.client = 9, .own = {.turns = 3}};

static enum limits_verdict take_at(struct limits *l, const struct limits_request *r, int64_t now_ns,
                                   struct limits_answer *a)
{
	now = now_ns;
	return limits_take(l, r, a);
}

static void as_many_requests_as_the_limit_says(void **state)
{
	struct limits *l = open_in(state);
	struct limits_answer a;

	for (int i = 0; i < 6; i++) {
		assert_int_equal(limits_take(l, &by_requests, &a), LIMITS_GRANTED);
		assert_int_equal(a.requests.limit, 6);
		assert_int_equal(a.requests.remaining, 5 - i);
		assert_int_equal(a.requests.reset_ms, 10000 * (i + 1));
		assert_int_equal(a.tokens.limit, 0);
		limits_give(l, &a.share, -1);
	}
	assert_int_equal(limits_take(l, &by_requests, &a), LIMITS_REQUESTS);
	assert_int_equal(a.requests.remaining, 0);
	assert_int_equal(a.retry_ns, 10 * SECOND);
	assert_int_equal(take_at(l, &by_requests, T0 + 10 * SECOND - 1, &a), LIMITS_REQUESTS);
	assert_int_equal(a.retry_ns, 1);
	assert_int_equal(take_at(l, &by_requests, T0 + 10 * SECOND, &a), LIMITS_GRANTED);
	assert_int_equal(take_at(l, &by_requests, T0 + 10 * SECOND, &a), LIMITS_REQUESTS);
	for (int i = 0; i < 6; i++) /* a minute later it is full again, and not fuller */
		assert_int_equal(take_at(l, &by_requests, T0 + 100 * SECOND, &a), LIMITS_GRANTED);
	assert_int_equal(take_at(l, &by_requests, T0 + 100 * SECOND, &a), LIMITS_REQUESTS);
	limits_close(l);
}

static void any_limit_is_reached_exactly(void **state)
{
	static const int64_t limits[] = {1, 2, 3, 7, 11, 13, 59, 61, 97, 999, 1001, 65536, 1000003};
	struct limits *l = open_in(state);
	struct limits_answer a;

	now = T0 + 1;
	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		struct limits_request r = {.client = 100 + i, .own = {.requests = limits[i]}};
		int64_t granted = 0;

		while (limits_take(l, &r, &a) == LIMITS_GRANTED) {
			granted++;
			limits_give(l, &a.share, -1);
		}
		assert_int_equal(granted, limits[i]);
	}
	limits_close(l);
}

static void tokens_are_charged_as_they_were_used(void **state)
{
	struct limits *l = open_in(state);
	struct limits_answer a, b;

	assert_int_equal(limits_take(l, &by_tokens, &a), LIMITS_GRANTED);
	assert_int_equal(a.tokens.remaining, 500);
	limits_give(l, &a.share, 20); /* 80 less than reserved */
	assert_int_equal(limits_take(l, &by_tokens, &a), LIMITS_GRANTED);
	assert_int_equal(a.tokens.remaining, 480);
	limits_give(l, &a.share, 880); /* 780 more: in debt */
	assert_int_equal(limits_take(l, &by_tokens, &b), LIMITS_TOKENS);
	assert_int_equal(b.tokens.remaining, 0);
	assert_int_equal(b.retry_ns, 40 * SECOND); /* of 900 used, 500 must be paid, at 10 a second */
	assert_int_equal(take_at(l, &by_tokens, T0 + 40 * SECOND, &b), LIMITS_GRANTED);
	limits_give(l, &b.share, 0);
	limits_close(l);
}

static void a_turn_larger_than_the_limit_runs_when_nothing_else_was_taken(void **state)
{
	struct limits_request large = {.client = 10, .own = {.tokens = 600}, .tokens = 5000};
	struct limits *l = open_in(state);
	struct limits_answer a, b;

	assert_int_equal(limits_take(l, &large, &a), LIMITS_GRANTED);
	assert_int_equal(limits_take(l, &large, &b), LIMITS_TOKENS);
	assert_int_equal(b.retry_ns, 60 * SECOND);
	limits_give(l, &a.share, 0);
	assert_int_equal(limits_take(l, &large, &a), LIMITS_GRANTED);
	limits_give(l, &a.share, 0);
	limits_close(l);
}

static void so_many_turns_run_at_once(void **state)
{
	struct limits *l = open_in(state);
	struct limits_request forced = by_turns;
	struct limits_answer a[5];

	for (int i = 0; i < 3; i++)
		assert_int_equal(limits_take(l, &by_turns, &a[i]), LIMITS_GRANTED);
	assert_int_equal(limits_take(l, &by_turns, &a[3]), LIMITS_TURNS);
	assert_int_equal(a[3].share.file, 0);
	limits_give(l, &a[3].share, 0); /* of what was not taken nothing is given back */
	forced.forced = true;
	assert_int_equal(limits_take(l, &forced, &a[3]), LIMITS_GRANTED);
	limits_give(l, &a[0].share, 0);
	assert_int_equal(limits_take(l, &by_turns, &a[4]), LIMITS_TURNS);
	limits_give(l, &a[3].share, 0);
	assert_int_equal(limits_take(l, &by_turns, &a[4]), LIMITS_GRANTED);
	limits_give(l, &a[1].share, 0);
	limits_give(l, &a[2].share, 0);
	limits_give(l, &a[4].share, 0);
	limits_close(l);
}

static void all_clients_together_have_limits_too(void **state)
{
	struct limits *l = open_in(state);
	struct limits_answer a;
	int granted = 0;

	for (uint64_t client = 1000; client < 1100; client++) {
		struct limits_request r = {.client = client, .all_requests = 40, .all_tokens = 6000, .tokens = 100};
		enum limits_verdict v = limits_take(l, &r, &a);

		granted += v == LIMITS_GRANTED;
		if (granted == 40 && v != LIMITS_GRANTED)
			assert_int_equal(v, LIMITS_ALL_REQUESTS);
		if (v == LIMITS_GRANTED)
			assert_int_equal(a.requests.limit, 40);
	}
	assert_int_equal(granted, 40);
	limits_close(l);
}

/* What one limit refuses is not taken from another. */
static void what_is_refused_takes_nothing(void **state)
{
	struct limits *l = open_in(state);
	struct limits_request small = {.client = 20, .own = {.requests = 2, .tokens = 100, .turns = 1}, .tokens = 60};
	struct limits_answer a, b;

	assert_int_equal(limits_take(l, &small, &a), LIMITS_GRANTED);
	for (int i = 0; i < 10; i++)
		assert_int_not_equal(limits_take(l, &small, &b), LIMITS_GRANTED);
	assert_int_equal(b.requests.remaining, 1);
	assert_int_equal(b.tokens.remaining, 40);
	limits_give(l, &a.share, 0);
	assert_int_equal(limits_take(l, &small, &a), LIMITS_GRANTED);
	limits_give(l, &a.share, 0);
	limits_close(l);
}

static void clients_that_owe_nothing_make_room(void **state)
{
	struct limits *l = open_in(state);
	struct limits_answer a;
	int refused = 0;

	now = T0 + 2000 * SECOND;
	for (uint64_t round = 0; round < 4; round++, now += 61 * SECOND)
		for (uint64_t i = 1; i <= 12000; i++) {
			struct limits_request r = {.client = (round * 12000 + i) * UINT64_C(0x9e3779b97f4a7c15),
			                           .own = {.requests = 10}};

			refused += limits_take(l, &r, &a) != LIMITS_GRANTED;
			limits_give(l, &a.share, -1);
		}
	assert_int_equal(refused, 0);
	/* While all of them owe, a further client finds no room: it is refused instead of forgetting another one. */
	for (uint64_t i = 1; i <= 40000; i++) {
		struct limits_request r = {.client = i * UINT64_C(0xd1342543de82ef95), .own = {.requests = 1}};

		refused += limits_take(l, &r, &a) == LIMITS_NO_ROOM;
		limits_give(l, &a.share, -1);
	}
	assert_in_range(refused, 40000 - 16384 - 1, 40000 - 16000);
	limits_close(l);
	unlink(strcat(strcpy((char[100]){0}, *state), "/" LIMITS_FILE));
}

/* ---- several processes --------------------------------------------------------------------------------- */

enum { WORKERS = 4, TRIES = 3000 };

static void take_many(void **state, const struct limits_request *r, _Atomic unsigned counts[2], int end)
{
	struct limits *l = open_in(state);
	struct limits_answer a;
	char byte;

	for (int i = 0; i < TRIES; i++)
		if (limits_take(l, r, &a) == LIMITS_GRANTED)
			atomic_fetch_add(&counts[0], 1);
	atomic_fetch_add(&counts[1], 1);
	while (read(end, &byte, 1) < 0) /* until all have done so: what the dead held is free */
		continue;
}

static unsigned take_in_processes(void **state, const struct limits_request *r)
{
	_Atomic unsigned *counts =
		mmap(NULL, 2 * sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned granted;
	int end[2], status;

	assert_int_equal(pipe(end), 0);
	for (int p = 0; p < WORKERS; p++)
		if (fork() == 0) {
			close(end[1]);
			take_many(state, r, counts, end[0]);
			_exit(0); /* as a worker that dies */
		}
	while (counts[1] < WORKERS)
		usleep(1000);
	close(end[1]);
	close(end[0]);
	while (wait(&status) > 0)
		assert_int_equal(status, 0);
	granted = counts[0];
	munmap(counts, 2 * sizeof *counts);
	return granted;
}

static void processes_together_get_exactly_the_limit(void **state)
{
	const struct limits_request requests = {.client = 30, .own = {.requests = 1000}};
	const struct limits_request turns = {.client = 31, .own = {.turns = 777}};
	const struct limits_request tokens = {.client = 32, .own = {.tokens = 5000}, .tokens = 10};

	assert_int_equal(take_in_processes(state, &requests), 1000);
	assert_int_equal(take_in_processes(state, &tokens), 500);
	assert_int_equal(take_in_processes(state, &turns), 777);
	/* They are dead, so what they held is free. */
	assert_int_equal(take_in_processes(state, &turns), 777);
}

/* A clock of all processes, which goes on by a minute whenever one of them reads it. */
static struct {
	_Atomic int64_t minutes;
	_Atomic int ready; /* processes */
} * common;

static int64_t get_minute(void)
{
	return T0 + atomic_fetch_add(&common->minutes, 1) * 60 * SECOND;
}

/* One who reads the clock before the others and decides after them would take their requests for later ones. */
static void decisions_are_made_in_the_order_of_their_times(void **state)
{
	const struct limits_request r = {.client = 40, .own = {.requests = 1}};
	int status;

	common = mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int p = 0; p < WORKERS; p++)
		if (fork() == 0) {
			struct err e = ERR_INIT;
			struct limits *l = limits_open(*state, get_minute, &e);
			struct limits_answer a;
			int granted = 0;

			atomic_fetch_add(&common->ready, 1);
			while (common->ready < WORKERS)
				usleep(10);
			for (int i = 0; i < 10 * TRIES; i++)
				granted += limits_take(l, &r, &a) == LIMITS_GRANTED;
			_exit(granted != 10 * TRIES);
		}
	while (wait(&status) > 0)
		assert_int_equal(status, 0);
	munmap(common, sizeof *common);
}

static void what_a_dead_worker_held_is_given_back_by_the_others(void **state)
{
	struct limits *l = open_in(state);
	struct limits_answer a;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct limits *own = open_in(state);

		for (int i = 0; i < 3; i++)
			if (limits_take(own, &by_turns, &a) != LIMITS_GRANTED)
				_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(limits_take(l, &by_turns, &a), LIMITS_TURNS);
	limits_tick(l);
	assert_int_equal(limits_take(l, &by_turns, &a), LIMITS_GRANTED);
	limits_give(l, &a.share, 0);
	limits_close(l);
}

/* Workers are killed wherever they are, with the lock as well: the others go on, and no turn stays counted. */
static void workers_killed_anywhere_leave_nothing_behind(void **state)
{
	struct limits *l = open_in(state);
	struct limits_answer a;

	for (int round = 0; round < 40; round++) {
		pid_t pid = fork();

		if (pid == 0) {
			struct limits *own = open_in(state);

			for (;;) {
				limits_take(own, &by_turns, &a);
				limits_give(own, &a.share, 0);
			}
		}
		usleep((unsigned)(1000 + round * 137));
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	limits_tick(l);
	for (int i = 0; i < 3; i++)
		assert_int_equal(limits_take(l, &by_turns, &a), LIMITS_GRANTED);
	assert_int_equal(limits_take(l, &by_turns, &a), LIMITS_TURNS);
	limits_close(l);
}

/* ---- the file -------------------------------------------------------------------------------------------- */

static void a_file_that_is_cut_or_foreign_is_made_again(void **state)
{
	struct limits *l = open_in(state), *other;
	struct limits_answer a;
	char path[100];
	int fd;

	snprintf(path, sizeof path, "%s/%s", (char *)*state, LIMITS_FILE);
	assert_int_equal(limits_take(l, &by_turns, &a), LIMITS_GRANTED);
	assert_int_equal(truncate(path, 0), 0);
	assert_int_equal(limits_take(l, &by_turns, &a), LIMITS_GRANTED); /* it refuses nobody */
	limits_give(l, &a.share, 10);
	limits_tick(l);
	for (int i = 0; i < 3; i++)
		assert_int_equal(limits_take(l, &by_turns, &a), LIMITS_GRANTED);
	assert_int_equal(limits_take(l, &by_turns, &a), LIMITS_TURNS);

	assert_int_equal(truncate(path, 4096), 0); /* the lock is in what is left */
	limits_take(l, &by_turns, &a);
	limits_tick(l);
	assert_int_equal(limits_take(l, &by_turns, &a), LIMITS_GRANTED);

	assert_int_equal(unlink(path), 0);
	limits_tick(l);
	assert_int_equal(access(path, F_OK), 0);

	fd = open(path, O_WRONLY);
	assert_int_equal(pwrite(fd, "nonsense", 8, 0), 8);
	close(fd);
	other = open_in(state);
	for (int i = 0; i < 3; i++)
		assert_int_equal(limits_take(other, &by_turns, &a), LIMITS_GRANTED);
	limits_tick(l); /* follows */
	assert_int_equal(limits_take(l, &by_turns, &a), LIMITS_TURNS);
	limits_close(other);
	limits_close(l);
}

static void a_directory_that_is_gone_is_an_error(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	assert_null(limits_open("/nonexistent", get_now, &e));
	assert_non_null(strstr(e.text, "/nonexistent"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_many_requests_as_the_limit_says),
		cmocka_unit_test(any_limit_is_reached_exactly),
		cmocka_unit_test(tokens_are_charged_as_they_were_used),
		cmocka_unit_test(a_turn_larger_than_the_limit_runs_when_nothing_else_was_taken),
		cmocka_unit_test(so_many_turns_run_at_once),
		cmocka_unit_test(all_clients_together_have_limits_too),
		cmocka_unit_test(what_is_refused_takes_nothing),
		cmocka_unit_test(clients_that_owe_nothing_make_room),
		cmocka_unit_test(processes_together_get_exactly_the_limit),
		cmocka_unit_test(decisions_are_made_in_the_order_of_their_times),
		cmocka_unit_test(what_a_dead_worker_held_is_given_back_by_the_others),
		cmocka_unit_test(workers_killed_anywhere_leave_nothing_behind),
		cmocka_unit_test(a_file_that_is_cut_or_foreign_is_made_again),
		cmocka_unit_test(a_directory_that_is_gone_is_an_error),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
