/* SPDX-License-Identifier: Apache-2.0 */
/* Workers' counters: summed over processes, going on over restarts. */
#include "tests/unit/support/scratch.h"
#include "tests/unit/support/settings.h"

#include "core/status/counters.h"

#include "core/base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct counters *open_counters(void)
{
	struct err e = ERR_INIT;
	struct counters *c = counters_open(scratch, &e);

	if (c == NULL)
		fail_msg("%s", e.text);
	return c;
}

static int64_t sum(enum counter id)
{
	struct err e = ERR_INIT;
	int64_t sums[COUNTERS];

	assert_int_equal(counters_sum(scratch, sums, &e), 0);
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
		struct counters *c = counters_open(scratch, NULL);

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
	snprintf(path, sizeof path, "%s/worker.0", scratch);
	counters_add(c, COUNTER_TOKENS, 5);
	assert_int_equal(truncate(path, 0), 0);
	counters_add(c, COUNTER_TOKENS, 5);
	assert_int_equal(sum(COUNTER_TOKENS), 0);
	counters_close(c);
	file = fopen(path, "w");
	for (int i = 0; i < 4096; i++)
		fputc('x', file);
	fclose(file);
	snprintf(path, sizeof path, "%s/worker.9", scratch);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof path, "%s/worker.txt", scratch);
	fclose(fopen(path, "w"));
	assert_int_equal(sum(COUNTER_TOKENS), 0);
	c = open_counters();
	counters_add(c, COUNTER_TOKENS, 2);
	assert_int_equal(sum(COUNTER_TOKENS), 2);
	counters_close(c);
}

static const struct counter_member *member(const struct counters_total *t, enum counter_label label, const char *name)
{
	for (size_t i = 0; i < t->member_count[label]; i++)
		if (strcmp(t->members[label][i].name, name) == 0)
			return &t->members[label][i];
	return NULL;
}

static int64_t value(const char *name, enum counter_series s, size_t which)
{
	const struct counter_series_info *info = counter_series_info(s);
	struct counters_total *t = counters_read(scratch, NULL);
	const struct counter_member *m;
	int64_t result;

	assert_non_null(t);
	m = member(t, info->label, name);
	result = m == NULL ? -1 : m->values[info->at + which];
	counters_total_free(t);
	return result;
}

static void each_member_has_its_values(void **state)
{
	struct counters *a = open_counters(), *b = open_counters();
	unsigned x = counters_member(a, LABEL_MODEL, "X"), y = counters_member(a, LABEL_MODEL, "Y");
	unsigned y_of_b = counters_member(b, LABEL_MODEL, "Y"), tool = counters_member(a, LABEL_TOOL, "X");

	(void)state;
	assert_int_equal(value("X", SERIES_OUTPUT_TOKENS, 0), 0);
	assert_int_equal(value("Z", SERIES_OUTPUT_TOKENS, 0), -1);
	counters_count(a, SERIES_OUTPUT_TOKENS, x, 0, 5);
	counters_count(a, SERIES_OUTPUT_TOKENS, y, 0, 7);
	counters_count(b, SERIES_OUTPUT_TOKENS, y_of_b, 0, 11);
	counters_count(a, SERIES_TOOL_CALLS, tool, TOOL_TIMED_OUT, 1);
	counters_count(NULL, SERIES_TOOL_CALLS, counters_member(NULL, LABEL_TOOL, "X"), TOOL_OK, 1);
	assert_int_equal(value("X", SERIES_OUTPUT_TOKENS, 0), 5);
	assert_int_equal(value("Y", SERIES_OUTPUT_TOKENS, 0), 18);
	assert_int_equal(value("X", SERIES_TOOL_CALLS, TOOL_TIMED_OUT), 1);
	assert_int_equal(value("X", SERIES_TOOL_CALLS, TOOL_OK), 0);
	assert_int_equal(counters_member(a, LABEL_MODEL, "X"), x);
	counters_close(a);
	counters_close(b);
}

static void members_go_on_and_their_gauges_restart(void **state)
{
	struct counters *c = open_counters();
	unsigned y;

	(void)state;
	counters_member(c, LABEL_MODEL, "X");
	y = counters_member(c, LABEL_MODEL, "Y");
	counters_count(c, SERIES_STREAMS, y, 0, 3);
	counters_count(c, SERIES_INPUT_TOKENS, y, 0, 4);
	assert_int_equal(value("Y", SERIES_STREAMS, 0), 3);
	counters_close(c);
	assert_int_equal(value("Y", SERIES_STREAMS, 0), 0);
	assert_int_equal(value("Y", SERIES_INPUT_TOKENS, 0), 4);
	c = open_counters();
	assert_int_equal(value("Y", SERIES_STREAMS, 0), 0);
	assert_int_equal(counters_member(c, LABEL_MODEL, "Y"), y);
	counters_count(c, SERIES_INPUT_TOKENS, y, 0, 1);
	assert_int_equal(value("Y", SERIES_INPUT_TOKENS, 0), 5);
	counters_close(c);
}

static void durations_are_in_the_lowest_bucket_that_holds_them(void **state)
{
	const struct counter_series_info *info = counter_series_info(SERIES_TOOL_DURATION);
	struct counters *c = open_counters();
	unsigned m = counters_member(c, LABEL_TOOL, "t");
	struct counters_total *t;

	(void)state;
	counters_observe(c, SERIES_TOOL_DURATION, m, 0, 1);
	counters_observe(c, SERIES_TOOL_DURATION, m, 10 * 1000 * 1000, 2);        /* just 0.01 s */
	counters_observe(c, SERIES_TOOL_DURATION, m, 10 * 1000 * 1000 + 1000, 1); /* more */
	counters_observe(c, SERIES_TOOL_DURATION, m, INT64_C(301000) * 1000 * 1000, 1);
	counters_observe(c, SERIES_TOOL_DURATION, m, 5, 0);
	assert_int_equal(value("t", SERIES_TOOL_DURATION, 0), 3);
	assert_int_equal(value("t", SERIES_TOOL_DURATION, 1), 1);
	assert_int_equal(value("t", SERIES_TOOL_DURATION, info->count), 1);
	assert_int_equal(value("t", SERIES_TOOL_DURATION, info->count + 1), 20000 + 10001 + 301000000);
	t = counters_read(scratch, NULL);
	assert_int_equal(counters_observations(member(t, LABEL_TOOL, "t"), SERIES_TOOL_DURATION), 5);
	/* The second of three of the first bucket; what is above all bounds is at the highest. */
	assert_true(counters_quantile(member(t, LABEL_TOOL, "t"), SERIES_TOOL_DURATION, 0.3) == 0.005);
	assert_true(counters_quantile(member(t, LABEL_TOOL, "t"), SERIES_TOOL_DURATION, 1) == 300);
	counters_total_free(t);
	counters_member(c, LABEL_TOOL, "new");
	t = counters_read(scratch, NULL);
	assert_true(isnan(counters_quantile(member(t, LABEL_TOOL, "new"), SERIES_TOOL_DURATION, 0.5)));
	counters_total_free(t);
	counters_close(c);
}

static void gaps_between_tokens_are_written_from_time_to_time(void **state)
{
	const size_t sum_at = counter_series_info(SERIES_TOKEN_GAP)->count + 1;
	struct counters *c = open_counters();
	unsigned x = counters_member(c, LABEL_MODEL, "X"), y = counters_member(c, LABEL_MODEL, "Y");
	int64_t now_ns = clock_mono_ns();

	(void)state;
	counters_observe_gap(c, x, 2000000, 3);
	counters_observe_gap(c, y, 4000000, 1);
	counters_observe_gap(c, y, 0, 0);
	assert_int_equal(value("X", SERIES_TOKEN_GAP, 0), 0);
	counters_end_iteration(c, now_ns);
	assert_int_equal(value("X", SERIES_TOKEN_GAP, 0), 3);
	assert_int_equal(value("X", SERIES_TOKEN_GAP, sum_at), 6000);
	assert_int_equal(value("Y", SERIES_TOKEN_GAP, 1), 1);
	counters_observe_gap(c, x, 2000000, 1);
	counters_observe_gap(c, x, INT64_C(100000) * 1000000, 1);
	counters_end_iteration(c, now_ns + 99999999);
	assert_int_equal(value("X", SERIES_TOKEN_GAP, 0), 3);
	counters_flush(c);
	assert_int_equal(value("X", SERIES_TOKEN_GAP, 0), 4);
	assert_int_equal(value("X", SERIES_TOKEN_GAP, sum_at - 1), 1);
	assert_int_equal(value("X", SERIES_TOKEN_GAP, sum_at), 8000 + 100000000);
	counters_flush(c);
	counters_flush(NULL);
	counters_observe_gap(NULL, 0, 1, 1);
	assert_int_equal(value("X", SERIES_TOKEN_GAP, sum_at), 8000 + 100000000);
	counters_observe_gap(c, y, 4000000, 1);
	counters_close(c); /* nothing is lost at the end */
	assert_int_equal(value("Y", SERIES_TOKEN_GAP, 1), 2);
}

static void too_many_names_are_one(void **state)
{
	struct counters *a = open_counters(), *b = open_counters();
	struct counters_total *t;
	int64_t sum = 0;
	char name[300];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "model %d", i);
		counters_count(a, SERIES_INPUT_TOKENS, counters_member(a, LABEL_MODEL, name), 0, 1);
		snprintf(name, sizeof name, "another %d", i);
		counters_count(b, SERIES_INPUT_TOKENS, counters_member(b, LABEL_MODEL, name), 0, 1);
	}
	t = counters_read(scratch, NULL);
	assert_true(t->member_count[LABEL_MODEL] <= COUNTER_MEMBERS_MAX);
	for (size_t i = 0; i < t->member_count[LABEL_MODEL]; i++)
		sum += t->members[LABEL_MODEL][i].values[counter_series_info(SERIES_INPUT_TOKENS)->at];
	assert_int_equal(sum, 2000);
	assert_non_null(member(t, LABEL_MODEL, "model 0"));
	counters_total_free(t);
	assert_true(value("other", SERIES_INPUT_TOKENS, 0) > 1900);
	assert_int_equal(value("model 0", SERIES_INPUT_TOKENS, 0), 1);
	counters_close(a);
	counters_close(b);
}

static void names_are_made_valid(void **state)
{
	struct counters *c = open_counters();
	char name[300];
	struct counters_total *t;

	(void)state;
	memset(name, 'n', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	assert_int_equal(counters_member(c, LABEL_MODEL, name), counters_member(c, LABEL_MODEL, name));
	name[COUNTER_NAME_MAX - 1] = '\xc3'; /* a character that would be cut in two */
	name[COUNTER_NAME_MAX] = '\xa4';
	assert_int_equal(counters_member(c, LABEL_MODEL, name), 1);
	assert_int_equal(counters_member(c, LABEL_MODEL, "a\xff\nb"), 2);
	assert_int_equal(counters_member(c, LABEL_MODEL, "a\xff\nb"), 2);
	t = counters_read(scratch, NULL);
	assert_int_equal(strlen(t->members[LABEL_MODEL][0].name), COUNTER_NAME_MAX);
	assert_int_equal(strlen(t->members[LABEL_MODEL][1].name), COUNTER_NAME_MAX - 1);
	assert_string_equal(t->members[LABEL_MODEL][2].name, "a??b");
	counters_total_free(t);
	counters_close(c);
}

static void the_latest_value_holds(void **state)
{
	struct counters *a = open_counters(), *b = open_counters();

	(void)state;
	counters_set(a, COUNTER_THREADS_STORED, 90);
	assert_int_equal(sum(COUNTER_THREADS_STORED), 90);
	sleep(1); /* its clock has seconds */
	counters_set(b, COUNTER_THREADS_STORED, 80);
	assert_int_equal(sum(COUNTER_THREADS_STORED), 80);
	counters_close(a);
	counters_close(b);
	assert_int_equal(sum(COUNTER_THREADS_STORED), 80);
}

static void a_file_of_another_build_begins_its_series_again(void **state)
{
	struct counters *c = open_counters();
	char path[96];
	FILE *file;

	(void)state;
	counters_add(c, COUNTER_TOKENS, 5);
	counters_count(c, SERIES_INPUT_TOKENS, counters_member(c, LABEL_MODEL, "X"), 0, 1);
	counters_close(c);
	snprintf(path, sizeof path, "%s/worker.0", scratch);
	file = fopen(path, "r+");
	fseek(file, 4088, SEEK_SET); /* what tells its layout */
	fputc('x', file);
	fclose(file);
	assert_int_equal(value("X", SERIES_INPUT_TOKENS, 0), -1);
	assert_int_equal(sum(COUNTER_TOKENS), 5);
	c = open_counters();
	assert_int_equal(value("X", SERIES_INPUT_TOKENS, 0), -1);
	assert_int_equal(sum(COUNTER_TOKENS), 5);
	assert_int_equal(counters_member(c, LABEL_MODEL, "Y"), 0);
	counters_close(c);
}

static void workers_that_live_have_their_pids(void **state)
{
	struct counters *a = open_counters(), *b = open_counters();
	struct counters_total *t;

	(void)state;
	counters_close(a);
	t = counters_read(scratch, NULL);
	assert_int_equal(t->worker_count, 1);
	assert_int_equal(t->workers[0].number, 1);
	assert_int_equal(t->workers[0].pid, getpid());
	counters_total_free(t);
	counters_close(b);
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
	err_clear(&e);
	assert_null(counters_read("/nonexistent/dir", &e));
	assert_non_null(strstr(e.text, "/nonexistent/dir"));
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)
	const struct CMUnitTest tests[] = {
		TEST(counters_go_on_and_gauges_restart),
		TEST(the_longest_iteration_of_all_counts),
		TEST(a_killed_worker_loses_nothing),
		TEST(a_spoiled_file_harms_nobody),
		TEST(each_member_has_its_values),
		TEST(members_go_on_and_their_gauges_restart),
		TEST(durations_are_in_the_lowest_bucket_that_holds_them),
		TEST(gaps_between_tokens_are_written_from_time_to_time),
		TEST(too_many_names_are_one),
		TEST(names_are_made_valid),
		TEST(the_latest_value_holds),
		TEST(a_file_of_another_build_begins_its_series_again),
		TEST(workers_that_live_have_their_pids),
		TEST(an_unusable_directory_is_an_error),
		TEST(each_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
