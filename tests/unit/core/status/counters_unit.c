/* SPDX-License-Identifier: Apache-2.0 */
/* Workers' counters: summed over processes, going on over restarts. */
#include "tests/unit/support/settings.h"

#include "core/status/counters.h"

#include "core/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "/tmp/counters_unit.XXXXXX");
	assert_non_null(mkdtemp(dir));
	return 0;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

static struct counters *open_counters(void)
{
	struct err e = ERR_INIT;
	struct counters *c = counters_open(dir, &e);

	if (c == NULL)
		fail_msg("%s", e.text);
	return c;
}

static int64_t sum(enum counter id)
{
	struct err e = ERR_INIT;
	int64_t sums[COUNTERS];

	assert_int_equal(counters_sum(dir, sums, &e), 0);
	return sums[id];
}

static void the_longest_iteration_of_all_counts(void **state)
{
	struct counters *a = open_counters(), *b = open_counters();
	int64_t longest;

	(void)state;
	counters_end_iteration(a, clock_mono_ns()); /* without work */
	assert_int_equal(sum(COUNTER_LONGEST_ITERATION), 0);
	counters_begin_work(a);
	usleep(3000);
	counters_begin_work(a);
	counters_end_iteration(a, clock_mono_ns());
	longest = sum(COUNTER_LONGEST_ITERATION);
	assert_true(longest >= 3000);
	counters_begin_work(b);
	usleep(1000);
	counters_end_iteration(b, clock_mono_ns());
	assert_true(sum(COUNTER_LONGEST_ITERATION) >= longest);
	counters_close(a);
	assert_true(sum(COUNTER_LONGEST_ITERATION) >= 1000);
	counters_begin_work(NULL);
	counters_end_iteration(NULL, clock_mono_ns());
	counters_close(b);
	assert_int_equal(sum(COUNTER_LONGEST_ITERATION), 0);
}

static void counters_go_on_and_gauges_restart(void **state)
{
	struct counters *a = open_counters(), *b = open_counters();

	(void)state;
	counters_add(a, COUNTER_TOKENS, 5);
	counters_add(b, COUNTER_TOKENS, 7);
	counters_add(a, COUNTER_ACTIVE_TURNS, 2);
	counters_add(b, COUNTER_ACTIVE_TURNS, 3);
	counters_add(b, COUNTER_ACTIVE_TURNS, -1);
	counters_add(NULL, COUNTER_TOKENS, 1);
	assert_int_equal(sum(COUNTER_TOKENS), 12);
	assert_int_equal(sum(COUNTER_ACTIVE_TURNS), 4);
	counters_close(a);
	assert_int_equal(sum(COUNTER_TOKENS), 12);
	assert_int_equal(sum(COUNTER_ACTIVE_TURNS), 2); /* nothing runs in a worker that is gone */
	a = open_counters();
	assert_int_equal(sum(COUNTER_ACTIVE_TURNS), 2);
	counters_add(a, COUNTER_TOKENS, 1);
	assert_int_equal(sum(COUNTER_TOKENS), 13);
	counters_close(a);
	counters_close(b);
}

static void a_killed_worker_loses_nothing(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (pid == 0) {
		struct counters *c = counters_open(dir, NULL);

		counters_add(c, COUNTER_TURNS, 3);
		counters_add(c, COUNTER_ACTIVE_TURNS, 1);
		abort();
	}
	waitpid(pid, &status, 0);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(sum(COUNTER_TURNS), 3);
	assert_int_equal(sum(COUNTER_ACTIVE_TURNS), 0);
	counters_close(open_counters());
	assert_int_equal(sum(COUNTER_TURNS), 3);
}

static void a_spoiled_file_harms_nobody(void **state)
{
	struct counters *c = open_counters();
	char path[96];
	FILE *file;

	(void)state;
	snprintf(path, sizeof path, "%s/worker.0", dir);
	counters_add(c, COUNTER_TOKENS, 5);
	assert_int_equal(truncate(path, 0), 0);
	counters_add(c, COUNTER_TOKENS, 5);
	assert_int_equal(sum(COUNTER_TOKENS), 0);
	counters_close(c);
	file = fopen(path, "w");
	for (int i = 0; i < 4096; i++)
		fputc('x', file);
	fclose(file);
	snprintf(path, sizeof path, "%s/worker.9", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof path, "%s/worker.txt", dir);
	fclose(fopen(path, "w"));
	assert_int_equal(sum(COUNTER_TOKENS), 0);
	c = open_counters();
	counters_add(c, COUNTER_TOKENS, 2);
	assert_int_equal(sum(COUNTER_TOKENS), 2);
	counters_close(c);
}

static void an_unusable_directory_is_an_error(void **state)
{
	struct err e = ERR_INIT;
	int64_t sums[COUNTERS];

	(void)state;
	assert_null(counters_open("/nonexistent/dir", &e));
	assert_non_null(strstr(e.text, "/nonexistent/dir"));
	err_clear(&e);
	assert_int_equal(counters_sum("/nonexistent/dir", sums, &e), -1);
	assert_non_null(strstr(e.text, "/nonexistent/dir"));
	assert_int_equal(sums[0], 0);
}

static void each_has_a_name(void **state)
{
	(void)state;
	for (int i = 0; i < COUNTERS; i++) {
		assert_true(strlen(counter_name((enum counter)i)) > 0);
		assert_true(strlen(counter_help((enum counter)i)) > 0);
	}
	assert_string_equal(counter_name(COUNTER_TOKENS), "tokens");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(counters_go_on_and_gauges_restart), TEST(the_longest_iteration_of_all_counts),
		TEST(a_killed_worker_loses_nothing),     TEST(a_spoiled_file_harms_nobody),
		TEST(an_unusable_directory_is_an_error), TEST(each_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
