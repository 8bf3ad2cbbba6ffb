/* SPDX-License-Identifier: Apache-2.0 */
/* What probes mean, and what they make of an LLM's health. */
#include "tests/unit/support/settings.h"

#include "core/llm/verdict.h"

#include <string.h>

static void answers_of_health(void **state)
{
	static const struct {
		long status;
		const char *body;
		enum probe_outcome outcome;
		const char *text;
	} cases[] = {
		{200, "", PROBE_OK, ""},
		{200, "{}", PROBE_OK, ""},
		{200, "not json", PROBE_OK, ""},
		{200, "{\"status\":\"healthy\"}", PROBE_OK, ""},
		{200, "{\"status\":\"unhealthy\"}", PROBE_BROKEN, "unhealthy"},
		{200, "{\"status\":7}", PROBE_OK, ""},
		{200, "[\"unhealthy\"]", PROBE_OK, ""},
		{204, "", PROBE_STATUS, "HTTP 204"},
		{301, "", PROBE_STATUS, "HTTP 301"},
		{404, "loading", PROBE_STATUS, "HTTP 404"},
		{500, "", PROBE_STATUS, "HTTP 500"},
		{503, "", PROBE_STATUS, "HTTP 503"},
		{503, "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}",
	         PROBE_LOADING, "loading"},
		{405, "{\"detail\":\"Model is not ready\"}", PROBE_LOADING, "loading"},
		{401, "", PROBE_UNAUTHORIZED, "HTTP 401"},
		{403, "", PROBE_UNAUTHORIZED, "HTTP 403"},
		{0, "", PROBE_BROKEN, "no HTTP"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char text[160];

		assert_int_equal(probe_judge(cases[i].status, cases[i].body, strlen(cases[i].body), text, sizeof text),
		                 cases[i].outcome);
		assert_non_null(strstr(text, cases[i].text));
		if (cases[i].outcome == PROBE_OK)
			assert_string_equal(text, "");
	}
}

struct step {
	enum probe_outcome outcome;
	int64_t latency_ms;
	enum llm_health health;
	unsigned failures;
	bool changed;
};

static void run(enum llm_health begin, const struct step *steps, size_t count)
{
	struct config *c = SETTINGS("health.max_failures=3", "health.degraded_after=2", "health.rise=2");
	struct llm l = {.health = begin, .latency_ms = -1};

	for (size_t i = 0; i < count; i++) {
		struct probe_result r = {
			.outcome = steps[i].outcome, .latency_ms = steps[i].latency_ms, .at_ms = 1000 + (int64_t)i};

		assert_int_equal(verdict_apply(&l, &r, c), steps[i].changed);
		assert_int_equal(l.health, steps[i].health);
		assert_int_equal(l.failures, steps[i].failures);
		assert_int_equal(l.checked_ms, 1000 + (int64_t)i);
		if (l.health == LLM_HEALTHY)
			assert_null(l.reason);
		else
			assert_non_null(l.reason);
		if (steps[i].outcome == PROBE_OK)
			assert_int_equal(l.latency_ms, steps[i].latency_ms);
	}
	llm_clear(&l);
	config_unref(c);
}

#define RUN(begin, ...)                                                                                                \
	do {                                                                                                           \
		static const struct step steps_[] = {__VA_ARGS__};                                                     \
		run(begin, steps_, sizeof steps_ / sizeof steps_[0]);                                                  \
	} while (0)

static void health_follows_probes(void **state)
{
	(void)state;
	/* the first answers count fully, in both directions */
	RUN(LLM_UNKNOWN, {PROBE_OK, 5, LLM_HEALTHY, 0, true}, {PROBE_OK, 5, LLM_HEALTHY, 0, false});
	RUN(LLM_UNKNOWN, {PROBE_STATUS, 5, LLM_UNHEALTHY, 1, true}, {PROBE_REFUSED, 0, LLM_UNHEALTHY, 2, false},
	    {PROBE_OK, 5, LLM_UNHEALTHY, 0, false}, {PROBE_OK, 5, LLM_HEALTHY, 0, true});
	/* slow */
	RUN(LLM_HEALTHY, {PROBE_OK, 1999, LLM_HEALTHY, 0, false}, {PROBE_OK, 2000, LLM_DEGRADED, 0, true},
	    {PROBE_OK, 10, LLM_HEALTHY, 0, true});
	RUN(LLM_UNKNOWN, {PROBE_OK, 2300, LLM_DEGRADED, 0, true});
	/* three failures in a row */
	RUN(LLM_HEALTHY, {PROBE_TIMEOUT, 0, LLM_DEGRADED, 1, true}, {PROBE_BROKEN, 0, LLM_DEGRADED, 2, false},
	    {PROBE_STATUS, 0, LLM_UNHEALTHY, 3, true}, {PROBE_STATUS, 0, LLM_UNHEALTHY, 4, false},
	    {PROBE_OK, 3, LLM_UNHEALTHY, 0, false}, {PROBE_STATUS, 0, LLM_UNHEALTHY, 1, false},
	    {PROBE_OK, 3, LLM_UNHEALTHY, 0, false}, {PROBE_OK, 3, LLM_HEALTHY, 0, true});
	RUN(LLM_HEALTHY, {PROBE_TIMEOUT, 0, LLM_DEGRADED, 1, true}, {PROBE_OK, 1, LLM_HEALTHY, 0, true},
	    {PROBE_TIMEOUT, 0, LLM_DEGRADED, 1, true});
	/* nobody may ask it; it is being loaded */
	RUN(LLM_HEALTHY, {PROBE_UNAUTHORIZED, 0, LLM_UNHEALTHY, 1, true});
	RUN(LLM_HEALTHY, {PROBE_LOADING, 0, LLM_UNHEALTHY, 0, true}, {PROBE_LOADING, 0, LLM_UNHEALTHY, 0, false},
	    {PROBE_OK, 3, LLM_HEALTHY, 0, true});
}

static void the_reason_is_kept(void **state)
{
	struct config *c = SETTINGS("health.max_failures=3");
	struct llm l = {.health = LLM_HEALTHY};
	struct probe_result r = {.outcome = PROBE_STATUS, .text = "HTTP 500"};

	(void)state;
	verdict_apply(&l, &r, c);
	assert_string_equal(l.reason, "HTTP 500");
	r = (struct probe_result){.outcome = PROBE_TIMEOUT};
	verdict_apply(&l, &r, c);
	assert_string_equal(l.reason, "timeout");
	llm_clear(&l);
	config_unref(c);
}

static bool apply(struct llm *l, const struct config *c, struct probe_result r)
{
	return verdict_apply(l, &r, c);
}

static void one_answer_is_enough_where_it_is_expected(void **state)
{
	struct config *c = SETTINGS("health.rise=5");
	struct llm l = {.health = LLM_UNHEALTHY};

	(void)state;
	verdict_expect(&l, c);
	assert_true(apply(&l, c, (struct probe_result){.outcome = PROBE_OK}));
	assert_int_equal(l.health, LLM_HEALTHY);
	/* expected, but it failed: the next one does not count more */
	l.health = LLM_UNHEALTHY;
	verdict_expect(&l, c);
	apply(&l, c, (struct probe_result){.outcome = PROBE_STATUS});
	assert_false(apply(&l, c, (struct probe_result){.outcome = PROBE_OK}));
	assert_non_null(strstr(l.reason, "1 of 5"));
	llm_clear(&l);
	config_unref(c);
}

static void a_busy_one_is_never_given_up_for_timeouts(void **state)
{
	struct config *c = SETTINGS("health.max_failures=3");
	struct llm l = {.health = LLM_HEALTHY};

	(void)state;
	for (int i = 0; i < 20; i++)
		apply(&l, c, (struct probe_result){.outcome = PROBE_TIMEOUT, .busy = true});
	assert_int_equal(l.health, LLM_DEGRADED);
	assert_int_equal(l.failures, 2);
	/* what refuses connections is not busy */
	apply(&l, c, (struct probe_result){.outcome = PROBE_REFUSED, .busy = true});
	assert_int_equal(l.health, LLM_UNHEALTHY);
	llm_clear(&l);
	config_unref(c);
}

static void one_that_hangs_is_unhealthy_until_it_serves(void **state)
{
	struct config *c = SETTINGS("health.max_failures=3", "health.rise=1");
	struct probe_result hang = {.outcome = PROBE_TIMEOUT, .real = true, .text = "it hangs"};
	struct llm l = {.health = LLM_HEALTHY};

	(void)state;
	apply(&l, c, hang);
	assert_int_equal(l.health, LLM_DEGRADED);
	apply(&l, c, (struct probe_result){.outcome = PROBE_OK});
	assert_int_equal(l.health, LLM_HEALTHY);
	apply(&l, c, hang);
	assert_int_equal(l.health, LLM_UNHEALTHY);
	for (int i = 0; i < 20; i++)
		apply(&l, c, (struct probe_result){.outcome = PROBE_OK});
	assert_int_equal(l.health, LLM_UNHEALTHY);
	assert_int_equal(l.failures, 3);
	assert_string_equal(l.reason, "it hangs");
	assert_true(apply(&l, c, (struct probe_result){.outcome = PROBE_OK, .real = true}));
	assert_int_equal(l.health, LLM_HEALTHY);
	assert_int_equal(l.failures, 0);
	assert_null(l.reason);
	/* a success in between: it does not hang */
	apply(&l, c, hang);
	apply(&l, c, (struct probe_result){.outcome = PROBE_OK});
	apply(&l, c, (struct probe_result){.outcome = PROBE_OK, .real = true});
	apply(&l, c, hang);
	assert_int_equal(l.health, LLM_DEGRADED);
	llm_clear(&l);
	config_unref(c);
}

static void one_that_hung_and_was_restarted_is_probed_like_any(void **state)
{
	struct config *c = SETTINGS("health.rise=1");
	struct llm l = {.health = LLM_UNHEALTHY, .hung = true, .hangs = 2};

	(void)state;
	apply(&l, c, (struct probe_result){.outcome = PROBE_REFUSED});
	assert_true(apply(&l, c, (struct probe_result){.outcome = PROBE_OK}));
	assert_int_equal(l.health, LLM_HEALTHY);
	llm_clear(&l);
	config_unref(c);
}

static void a_probe_that_was_not_made_says_nothing(void **state)
{
	struct config *c = SETTINGS("health.max_failures=1", "health.rise=2");
	static const enum llm_health each[] = {LLM_UNKNOWN, LLM_HEALTHY, LLM_DEGRADED, LLM_UNHEALTHY};

	(void)state;
	for (size_t i = 0; i < sizeof each / sizeof each[0]; i++) {
		struct llm l = {.health = each[i], .failures = 2, .successes = 1, .checked_ms = 7};

		for (int real = 0; real < 2; real++)
			assert_false(apply(&l, c,
			                   (struct probe_result){.outcome = PROBE_NOT_MADE, .real = real, .at_ms = 9}));
		assert_int_equal(l.health, each[i]);
		assert_int_equal(l.failures, 2);
		assert_int_equal(l.successes, 1);
		assert_int_equal(l.checked_ms, 7);
		assert_null(l.reason);
	}
	config_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_of_health),
		cmocka_unit_test(health_follows_probes),
		cmocka_unit_test(the_reason_is_kept),
		cmocka_unit_test(one_answer_is_enough_where_it_is_expected),
		cmocka_unit_test(a_busy_one_is_never_given_up_for_timeouts),
		cmocka_unit_test(one_that_hangs_is_unhealthy_until_it_serves),
		cmocka_unit_test(one_that_hung_and_was_restarted_is_probed_like_any),
		cmocka_unit_test(a_probe_that_was_not_made_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
