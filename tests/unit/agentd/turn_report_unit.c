/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/support/settings.h"

#include "core/turn/candidates.h"
#include "agentd/ejection.h"
#include "agentd/turn_report.h"

#include <string.h>

static struct turn_report failure(int64_t began, enum http_outcome outcome, long status)
{
	return (struct turn_report){.instance = 1, .began_boot_ms = began, .outcome = outcome, .status = status};
}

static enum turn_report_verdict judge(struct turn_report r, struct track *t, int64_t now)
{
	return turn_report_judge(&r, t, now);
}

static void an_outage_counts_once(void **state)
{
	struct track t = {.seen_healthy = true};
	int counted = 0;

	(void)state;
	for (int i = 0; i < 200; i++) /* streams begun over a minute, all cut within 50 ms */
		counted += judge(failure(1000 + i * 300, HTTP_RESET, 0), &t, 61000 + i / 4) == REPORT_COUNTS;
	assert_int_equal(counted, 1);
	/* begun after it: another failure */
	assert_int_equal(judge(failure(61200, HTTP_REFUSED, 0), &t, 61201), REPORT_COUNTS);
	/* a late report of the first outage */
	assert_int_equal(judge(failure(60900, HTTP_TIMEOUT, 0), &t, 90000), REPORT_SAME_EPISODE);
}

static void failures_close_together_are_one(void **state)
{
	struct track t = {.seen_healthy = true};

	(void)state;
	assert_int_equal(judge(failure(1000, HTTP_REFUSED, 0), &t, 1001), REPORT_COUNTS);
	assert_int_equal(judge(failure(1050, HTTP_REFUSED, 0), &t, 1051), REPORT_SAME_EPISODE);
	assert_int_equal(judge(failure(1102, HTTP_REFUSED, 0), &t, 1103), REPORT_COUNTS);
}

static void what_the_client_caused_never_counts(void **state)
{
	static const long statuses[] = {400, 404, 408, 413, 422, 429};

	(void)state;
	for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
		struct track t = {.seen_healthy = true};

		assert_int_equal(judge(failure(1000, HTTP_DONE, statuses[i]), &t, 1001), REPORT_IGNORED);
		assert_int_equal(t.episode_boot_ms, 0);
	}
	for (long status = 500; status < 505; status++) {
		struct track t = {.seen_healthy = true};

		assert_int_equal(judge(failure(1000, HTTP_DONE, status), &t, 1001), REPORT_COUNTS);
	}
}

static void exhaustion_of_our_own_resources_never_counts(void **state)
{
	struct track t = {.seen_healthy = true};

	(void)state;
	assert_int_equal(judge(failure(1000, HTTP_NO_RESOURCES, 0), &t, 1001), REPORT_IGNORED);
	assert_int_equal(t.episode_boot_ms, 0);
}

/* No probe would ever find it healthy again. */
static void the_cloud_is_ejected_but_never_unhealthy(void **state)
{
	static const struct {
		enum http_outcome outcome;
		long status;
		const char *reason, *text;
	} rows[] = {
		{HTTP_REFUSED, 0, "a chat turn failed: refused", ""},
		{HTTP_CUT, 200, "a chat turn failed: out of memory", "out of memory"},
		{HTTP_DONE, 502, "a chat turn got HTTP 502: no upstream", "no upstream"},
		{HTTP_DONE, 402, "a chat turn got HTTP 402: Insufficient Balance", "Insufficient Balance"},
		{HTTP_DONE, 402, "a chat turn got HTTP 402: the account is used up", ""},
		{HTTP_DONE, 403, "a chat turn got HTTP 403: the token is not accepted", "no"},
		{HTTP_DONE, 503, "a chat turn got HTTP 503", ""},
		{HTTP_DONE, 401, "a chat turn got HTTP 401: the token is not accepted", ""},
	};
	struct config *c = SETTINGS("health.max_failures=1", "health.eject_time=10");
	struct llm l = {.kind = LLM_CLOUD, .latency_ms = -1};
	struct track t = {.seen_healthy = false};
	struct probe_result result;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct turn_report r = failure(1000 * (int64_t)(i + 1), rows[i].outcome, rows[i].status);

		strcpy(r.text, rows[i].text);
		assert_int_equal(judge(r, &t, r.began_boot_ms + 1), REPORT_COUNTS);
		turn_report_result(&r, 5000, &result);
		turn_report_apply(&l, &result, c);
		ejection_begin(&l, &t, c, result.text, 5000);
		assert_int_equal(l.health, LLM_UNKNOWN);
		assert_int_equal(l.failures, 0);
		assert_int_equal(l.ejected_until_ms, 15000);
		assert_string_equal(l.reason, rows[i].reason); /* the last one */
	}
	ejection_end(&l, &t);
	assert_int_equal(l.ejected_until_ms, 0);
	assert_null(l.reason);
	config_unref(c);
}

static void what_is_probed_gets_a_verdict(void **state)
{
	struct config *c = SETTINGS("health.max_failures=2");
	struct llm l = {
		.kind = LLM_DISCOVERED, .probe_url = strdup("http://127.0.0.1:1/health"), .health = LLM_HEALTHY};
	struct probe_result result;
	struct turn_report r = failure(1000, HTTP_REFUSED, 0);

	(void)state;
	turn_report_result(&r, 5000, &result);
	turn_report_apply(&l, &result, c);
	assert_int_equal(l.health, LLM_DEGRADED);
	turn_report_apply(&l, &result, c);
	assert_int_equal(l.health, LLM_UNHEALTHY);
	llm_clear(&l);
	config_unref(c);
}

static void a_time_in_the_future_is_ignored(void **state)
{
	struct track t = {.seen_healthy = true};

	(void)state;
	assert_int_equal(judge(failure(999999, HTTP_REFUSED, 0), &t, 1000), REPORT_SAME_EPISODE);
}

static void parses_what_workers_send(void **state)
{
	struct turn_report r;
	struct err e = ERR_INIT;
	json_t *j = json_pack("{s:i,s:i,s:s,s:i,s:s}", "instance", 7, "began_boot_ms", 12, "outcome",
	                      http_outcome_text(HTTP_CUT), "status", 200, "epoch", "1");

	(void)state;
	assert_int_equal(turn_report_parse(j, &r, &e), 0);
	assert_int_equal(r.instance, 7);
	assert_int_equal(r.outcome, HTTP_CUT);
	json_object_set_new(j, "outcome", json_string("no such"));
	assert_int_equal(turn_report_parse(j, &r, &e), -1);
	assert_non_null(strstr(e.text, "outcome"));
	err_clear(&e);
	assert_int_equal(turn_report_parse(NULL, &r, &e), -1);
	json_object_set_new(j, "instance", json_string("7"));
	err_clear(&e);
	assert_int_equal(turn_report_parse(j, &r, &e), -1);
	assert_non_null(strstr(e.text, "instance"));
	json_decref(j);
}

static void a_working_llm_is_reported(void **state)
{
	struct track t = {.seen_healthy = true};

	(void)state;
	assert_int_equal(judge(failure(1000, HTTP_DONE, 200), &t, 1500), REPORT_SERVED);
	assert_int_equal(judge(failure(1000, HTTP_DONE, 100), &t, 1500), REPORT_SERVING);
	assert_int_equal(judge(failure(2000, HTTP_REFUSED, 0), &t, 2001), REPORT_COUNTS);
	/* begun before it failed: no proof that it is healthy again */
	assert_int_equal(judge(failure(1999, HTTP_DONE, 200), &t, 2500), REPORT_SAME_EPISODE);
	assert_int_equal(judge(failure(2600, HTTP_DONE, 200), &t, 2700), REPORT_SERVED);
}

static void ejections_grow_and_end(void **state)
{
	struct config *c = SETTINGS("health.eject_time=10", "health.eject_max=300");
	static const int64_t lengths[] = {10000, 20000, 40000, 80000, 160000, 300000, 300000};
	struct llm l = {.kind = LLM_DISCOVERED};
	struct track t = {.seen_healthy = true};
	int64_t now = 1000000;

	(void)state;
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		ejection_begin(&l, &t, c, "why", now);
		assert_int_equal(l.ejected_since_ms, now);
		assert_int_equal(l.ejected_until_ms, now + lengths[i]);
		ejection_begin(&l, &t, c, "again", now + 1); /* it is out already */
		assert_int_equal(l.ejected_until_ms, now + lengths[i]);
		now = l.ejected_until_ms + 1;
		ejection_end(&l, &t);
		assert_int_equal(l.ejected_since_ms, 0);
	}
	ejection_begin(&l, &t, c, "why", now + 300000); /* quiet for as long again */
	assert_int_equal(l.ejected_until_ms - l.ejected_since_ms, 10000);
	ejection_clear(&l, &t);
	ejection_begin(&l, &t, c, "why", now + 300001);
	assert_int_equal(l.ejected_until_ms - l.ejected_since_ms, 10000);
	config_unref(c);
}

static void a_clock_that_is_set_back_holds_nobody_back(void **state)
{
	struct config *c = SETTINGS("health.eject_time=10");
	struct llm l = {.kind = LLM_DISCOVERED};
	struct track t = {.seen_healthy = true};
	struct status_llm published = {.instance = 7};
	struct cooldown b = {.count = 0};
	int64_t now = 1000000;

	(void)state;
	assert_false(ejection_is_over(&l, now));
	ejection_begin(&l, &t, c, "why", now);
	assert_false(ejection_is_over(&l, now));
	assert_false(ejection_is_over(&l, now + 9999));
	assert_true(ejection_is_over(&l, now + 10000));
	assert_true(ejection_is_over(&l, now - 3600));
	cooldown_add(&b, 7, now);
	assert_true(cooldown_has(&b, &published, now));
	assert_true(cooldown_has(&b, &published, now + COOLDOWN_MS - 1));
	assert_false(cooldown_has(&b, &published, now + COOLDOWN_MS));
	assert_false(cooldown_has(&b, &published, now - 3600));
	ejection_clear(&l, &t);
	llm_clear(&l);
	config_unref(c);
}

static void why_it_is_ejected_is_shown(void **state)
{
	struct config *c = SETTINGS("health.eject_time=10");
	struct llm l = {.kind = LLM_DISCOVERED, .health = LLM_HEALTHY};
	struct track t = {.seen_healthy = true};

	(void)state;
	ejection_begin(&l, &t, c, "a chat turn failed: reset", 1000);
	ejection_explain(&l, &t, 1001);
	assert_string_equal(l.reason, "a chat turn failed: reset");
	ejection_end(&l, &t);
	assert_null(l.reason);
	ejection_explain(&l, &t, 1002);
	assert_null(l.reason);
	config_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_outage_counts_once),
		cmocka_unit_test(failures_close_together_are_one),
		cmocka_unit_test(what_the_client_caused_never_counts),
		cmocka_unit_test(the_cloud_is_ejected_but_never_unhealthy),
		cmocka_unit_test(what_is_probed_gets_a_verdict),
		cmocka_unit_test(exhaustion_of_our_own_resources_never_counts),
		cmocka_unit_test(a_time_in_the_future_is_ignored),
		cmocka_unit_test(parses_what_workers_send),
		cmocka_unit_test(a_working_llm_is_reported),
		cmocka_unit_test(ejections_grow_and_end),
		cmocka_unit_test(a_clock_that_is_set_back_holds_nobody_back),
		cmocka_unit_test(why_it_is_ejected_is_shown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
