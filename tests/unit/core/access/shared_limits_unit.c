/* SPDX-License-Identifier: Apache-2.0 */
/* Limits that several hosts count together: two clients of one Redis stand for two hosts. */
#include "core/access/shared_limits.h"

#include "core/base/clock.h"
#include "core/redis/redis.h"
#include "tests/unit/support/redis_server.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define HOSTS 2

struct world {
	struct event_base *base;
	struct redis_server server;
	struct redis *redis[HOSTS];
	struct shared_limits *limits[HOSTS];
};

/* What was decided. */
struct decision {
	struct world *world;
	bool done, answered;
	enum limits_verdict verdict;
	struct limits_answer answer;
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	struct err e = ERR_INIT;

	*state = w;
	if (!redis_server_exists())
		return 0;
	w->base = event_base_new();
	redis_server_start(&w->server, NULL);
	for (size_t i = 0; i < HOSTS; i++) {
		const struct redis_options o = {.url = w->server.url, .timeout_ms = 10000};

		w->redis[i] = redis_new(w->base, &o, &e);
		w->limits[i] = w->redis[i] != NULL ? shared_limits_new(w->base, w->redis[i]) : NULL;
		if (w->limits[i] == NULL)
			return -1;
	}
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	if (w->base != NULL) {
		for (size_t i = 0; i < HOSTS; i++) {
			redis_free(w->redis[i]);
			shared_limits_free(w->limits[i]);
		}
		redis_server_remove(&w->server);
		event_base_free(w->base);
	}
	free(w);
	return 0;
}

static void on_taken(void *arg, enum limits_verdict verdict, const struct limits_answer *answer)
{
	struct decision *d = arg;

	d->done = true;
	d->answered = answer != NULL;
	d->verdict = verdict;
	if (answer != NULL)
		d->answer = *answer;
	event_base_loopbreak(d->world->base);
}

static struct shared_share *take(struct world *w, size_t host, const struct limits_request *r, struct decision *d)
{
	struct shared_share *share;

	*d = (struct decision){.world = w};
	share = shared_limits_take(w->limits[host], r, on_taken, d);
	assert_non_null(share);
	assert_false(d->done);
	while (!d->done)
		event_base_loop(w->base, EVLOOP_ONCE);
	return d->answered && d->verdict == LIMITS_GRANTED ? share : NULL;
}

/* What was sent before has been done then. */
static void settle(struct world *w)
{
	const struct limits_request nothing = {.client = 1, .own = {.requests = 1000000}};
	struct decision d;

	for (size_t i = 0; i < HOSTS; i++)
		shared_limits_give(take(w, i, &nothing, &d), -1);
}

static struct world *world_of(void **state)
{
	struct world *w = *state;

	if (w->base == NULL)
		skip(); /* there is no redis-server */
	return w;
}

static void requests_are_counted_together(void **state)
{
	struct world *w = world_of(state);
	const struct limits_request r = {.client = 7, .own = {.requests = 3}};
	struct decision d;

	for (int64_t n = 0; n < 3; n++) {
		shared_limits_give(take(w, (size_t)n % HOSTS, &r, &d), -1);
		assert_int_equal(d.verdict, LIMITS_GRANTED);
		assert_int_equal(d.answer.requests.limit, 3);
		assert_int_equal(d.answer.requests.remaining, 2 - n);
	}
	for (size_t host = 0; host < HOSTS; host++) {
		assert_null(take(w, host, &r, &d));
		assert_int_equal(d.verdict, LIMITS_REQUESTS);
		assert_in_range(d.answer.retry_ns, 1, INT64_C(20000000000));
		assert_int_equal(d.answer.requests.remaining, 0);
	}
}

static void a_turn_that_is_forced_is_counted(void **state)
{
	struct world *w = world_of(state);
	struct limits_request r = {.client = 8, .own = {.requests = 1}, .forced = true};
	struct decision d;

	for (size_t n = 0; n < 2; n++)
		shared_limits_give(take(w, n, &r, &d), -1);
	assert_int_equal(d.verdict, LIMITS_GRANTED);
	r.forced = false;
	assert_null(take(w, 0, &r, &d));
	assert_in_range(d.answer.retry_ns, INT64_C(60000000001), INT64_C(120000000000));
}

static void tokens_are_corrected_at_the_end(void **state)
{
	struct world *w = world_of(state);
	const struct limits_request r = {.client = 9, .own = {.tokens = 1000}, .tokens = 900};
	struct decision d;

	for (size_t n = 0; n < 6; n++) { /* each takes 10 in fact */
		shared_limits_give(take(w, n % HOSTS, &r, &d), 10);
		assert_int_equal(d.verdict, LIMITS_GRANTED);
		settle(w);
	}
	shared_limits_give(take(w, 0, &r, &d), 5000); /* far more than reserved */
	settle(w);
	assert_null(take(w, 1, &r, &d));
	assert_int_equal(d.verdict, LIMITS_TOKENS);
	assert_int_equal(d.answer.tokens.remaining, 0);
	assert_in_range(d.answer.retry_ns, INT64_C(60000000001), INT64_C(360000000000));
}

static void turns_at_once_are_given_back(void **state)
{
	struct world *w = world_of(state);
	const struct limits_request r = {.client = 10, .own = {.turns = 2}};
	struct shared_share *running[2];
	struct decision d;

	for (size_t n = 0; n < 2; n++)
		running[n] = take(w, n, &r, &d);
	assert_null(take(w, 0, &r, &d));
	assert_int_equal(d.verdict, LIMITS_TURNS);
	shared_limits_give(running[1], -1);
	settle(w);
	running[1] = take(w, 0, &r, &d);
	assert_non_null(running[1]);
	for (size_t n = 0; n < 2; n++)
		shared_limits_give(running[n], -1);
}

static void all_clients_together_have_a_limit(void **state)
{
	struct world *w = world_of(state);
	struct limits_request r = {.own = {.requests = 100}, .all_requests = 4};
	struct decision d;

	for (uint64_t n = 0; n < 4; n++) {
		r.client = 20 + n;
		shared_limits_give(take(w, n % HOSTS, &r, &d), -1);
		assert_int_equal(d.verdict, LIMITS_GRANTED);
		assert_int_equal(d.answer.requests.remaining, 99); /* of its own */
	}
	assert_null(take(w, 0, &r, &d));
	assert_int_equal(d.verdict, LIMITS_ALL_REQUESTS);
}

static void never_taken(void *arg, enum limits_verdict verdict, const struct limits_answer *answer)
{
	(void)arg, (void)verdict, (void)answer;
	fail();
}

/* Its client left: what was granted in vain is given back, and what was refused is not. */
static void a_turn_may_leave_before_it_is_decided(void **state)
{
	struct world *w = world_of(state);
	const struct limits_request turn = {.client = 11, .own = {.turns = 1}};
	const struct limits_request tokens = {.client = 12, .own = {.tokens = 1000}, .tokens = 1000};
	struct decision d;

	for (size_t n = 0; n < 5; n++)
		shared_limits_give(shared_limits_take(w->limits[0], &turn, never_taken, NULL), -1);
	settle(w);
	shared_limits_give(take(w, 1, &turn, &d), -1);
	assert_int_equal(d.verdict, LIMITS_GRANTED);
	shared_limits_give(take(w, 0, &tokens, &d), -1);
	for (size_t n = 0; n < 5; n++)
		shared_limits_give(shared_limits_take(w->limits[1], &tokens, never_taken, NULL), 0);
	settle(w);
	assert_null(take(w, 0, &tokens, &d));
	assert_int_equal(d.verdict, LIMITS_TOKENS);
}

static void without_redis_nothing_is_decided(void **state)
{
	struct world *w = world_of(state);
	const struct limits_request r = {.client = 13, .own = {.requests = 1, .turns = 1}};
	struct shared_share *running;
	struct decision d;

	running = take(w, 0, &r, &d);
	redis_server_kill(&w->server);
	assert_null(take(w, 0, &r, &d));
	assert_false(d.answered);
	shared_limits_give(running, -1);
}

/* As another program may have left it. */
static void a_key_of_another_kind_decides_nothing(void **state)
{
	struct world *w = world_of(state);
	static const char *const set[] = {"HSET", "tt:limits:{000000000000000e}:000000000000000e:requests", "a", "b"};
	const struct redis_command c = {.args = set, .count = 4};
	const struct limits_request r = {.client = 14, .own = {.requests = 1}};
	struct decision d;

	assert_non_null(redis_send(w->redis[0], &c, NULL, NULL));
	assert_null(take(w, 0, &r, &d));
	assert_false(d.answered);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests_are_counted_together, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_turn_that_is_forced_is_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(tokens_are_corrected_at_the_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(turns_at_once_are_given_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(all_clients_together_have_a_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_turn_may_leave_before_it_is_decided, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_redis_nothing_is_decided, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_key_of_another_kind_decides_nothing, set_up, tear_down),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
