/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs beside the loop: in order, cancelled before, while and after they run. */
#include "core/base/background.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct job {
	struct background_job *handle;
	atomic_bool began, may_end;
	unsigned number;
};

static unsigned run_count, done_count, drop_count, last_done;

static void run_now(void *arg)
{
	struct job *j = arg;

	atomic_store(&j->began, true);
	while (!atomic_load(&j->may_end))
		usleep(100);
	run_count++;
}

static void on_done(void *arg)
{
	struct job *j = arg;

	assert_int_equal(j->number, last_done + 1);
	last_done = j->number;
	done_count++;
}

static void on_drop(void *arg)
{
	(void)arg;
	drop_count++;
}

static const struct background_work work = {.run = run_now, .done = on_done, .drop = on_drop};

static struct background *new_background(struct event_base **base)
{
	struct background *b;
	struct err e = ERR_INIT;

	run_count = done_count = drop_count = last_done = 0;
	*base = event_base_new();
	b = background_new(*base, &e);
	assert_non_null(b);
	return b;
}

static void start(struct background *b, struct job *j, unsigned number, bool may_end)
{
	j->number = number;
	atomic_init(&j->began, false);
	atomic_init(&j->may_end, may_end);
	j->handle = background_start(b, &work, j);
	assert_non_null(j->handle);
}

static void await(const struct job *j)
{
	while (!atomic_load(&j->began))
		usleep(100);
}

static void jobs_end_in_their_order(void **state)
{
	static struct job jobs[200];
	struct event_base *base;
	struct background *b = new_background(&base);

	(void)state;
	for (unsigned i = 0; i < 200; i++)
		start(b, &jobs[i], i + 1, true);
	assert_int_equal(done_count, 0);
	while (done_count < 200)
		assert_true(event_base_loop(base, EVLOOP_ONCE) >= 0);
	assert_int_equal(drop_count, 0);
	background_free(b);
	event_base_free(base);
	assert_int_equal(run_count, 200);
}

static void a_cancelled_job_is_dropped(void **state)
{
	static struct job runs, waits, ended, last;
	struct event_base *base;
	struct background *b = new_background(&base);

	(void)state;
	start(b, &ended, 0, true);
	start(b, &runs, 0, false);
	start(b, &waits, 0, true);
	start(b, &last, 1, true);
	await(&runs);
	background_cancel(ended.handle); /* it has ended, but that was not told yet */
	background_cancel(waits.handle);
	assert_int_equal(drop_count, 1);
	assert_false(atomic_load(&waits.began));
	background_cancel(runs.handle);
	assert_int_equal(drop_count, 1);
	atomic_store(&runs.may_end, true);
	while (done_count == 0)
		assert_true(event_base_loop(base, EVLOOP_ONCE) >= 0);
	assert_int_equal(drop_count, 3);
	background_free(b);
	event_base_free(base);
	assert_int_equal(run_count, 3);
}

static void what_did_not_end_is_dropped(void **state)
{
	static struct job jobs[3];
	struct event_base *base;
	struct background *b = new_background(&base);

	(void)state;
	start(b, &jobs[0], 1, false);
	start(b, &jobs[1], 2, true);
	start(b, &jobs[2], 3, true);
	await(&jobs[0]);
	background_cancel(jobs[2].handle);
	assert_int_equal(drop_count, 1);
	atomic_store(&jobs[0].may_end, true);
	background_free(b);
	event_base_free(base);
	assert_int_equal(done_count, 0);
	assert_int_equal(drop_count, 3);
}

static void nothing_runs_without_a_job(void **state)
{
	struct event_base *base;

	(void)state;
	background_free(new_background(&base));
	event_base_free(base);
	background_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jobs_end_in_their_order),
		cmocka_unit_test(a_cancelled_job_is_dropped),
		cmocka_unit_test(what_did_not_end_is_dropped),
		cmocka_unit_test(nothing_runs_without_a_job),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
