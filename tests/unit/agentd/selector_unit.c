/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/selector.h"
#include "core/base/clock.h"
#include "tests/unit/support/config_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1000000

struct world {
	struct fixture *fixture;
	struct services s;
	struct selector selector;
};

static struct world make(void **state)
{
	struct world w = {.fixture = *state};
	static const char *const ids[] = {"d1", "d2", "d3"};

	assert_true(fixture_load(w.fixture, NULL, NULL, NULL));
	w.s.config = w.fixture->config;
	w.s.registry = registry_new(1);
	w.s.events = events_new();
	for (size_t i = 0; i < 3; i++) {
		struct llm l = {.kind = LLM_DISCOVERED, .health = LLM_HEALTHY, .latency_ms = -1};

		l.deploy_id = strdup(ids[i]);
		l.model_name = strdup(ids[i]);
		l.url = strdup("http://127.0.0.1:1/v1/chat/completions");
		l.probe_url = strdup("http://127.0.0.1:1/health");
		assert_int_equal(registry_restore(w.s.registry, &l), 0);
	}
	return w;
}

static void end(struct world *w)
{
	selector_free(&w->selector);
	registry_free(w->s.registry);
	events_free(w->s.events);
}

static struct llm *llm(struct world *w, size_t i)
{
	return registry_llm(w->s.registry, i);
}

static void one_that_was_never_probed_is_not_offered(void **state)
{
	struct world w = make(state);

	for (size_t i = 0; i < 3; i++)
		llm(&w, i)->health = LLM_UNKNOWN;
	assert_false(selector_update(&w.selector, &w.s, NOW));
	assert_int_equal(w.selector.count, 0);
	assert_int_equal(selector_current(&w.selector), -1);
	llm(&w, 1)->health = LLM_HEALTHY;
	registry_track(w.s.registry, 1)->gated = true; /* its capabilities are not known yet */
	assert_false(selector_update(&w.selector, &w.s, NOW));
	registry_track(w.s.registry, 1)->gated = false;
	assert_true(selector_update(&w.selector, &w.s, NOW));
	assert_int_equal(selector_current(&w.selector), 1);
	end(&w);
}

static void the_ejected_come_after_the_others(void **state)
{
	struct world w = make(state);

	llm(&w, 0)->ejected_until_ms = NOW + 1;
	llm(&w, 2)->health = LLM_UNHEALTHY;
	selector_update(&w.selector, &w.s, NOW);
	assert_int_equal(w.selector.count, 3);
	assert_int_equal(w.selector.usable, 2);
	assert_int_equal(w.selector.order[0], 1);
	assert_int_equal(w.selector.order[1], 0);
	assert_int_equal(w.selector.order[2], 2);
	assert_true(selector_update(&w.selector, &w.s, NOW + 2));
	assert_int_equal(selector_current(&w.selector), 0);
	llm(&w, 1)->health = LLM_UNHEALTHY; /* one is always tried */
	llm(&w, 0)->ejected_until_ms = NOW + 10;
	selector_update(&w.selector, &w.s, NOW);
	assert_int_equal(selector_current(&w.selector), 0);
	end(&w);
}

static void one_that_was_lost_is_taken_back_when_it_is_stable(void **state)
{
	struct world w = make(state);

	selector_update(&w.selector, &w.s, NOW);
	llm(&w, 0)->health = LLM_UNHEALTHY;
	assert_true(selector_update(&w.selector, &w.s, NOW));
	assert_int_equal(selector_current(&w.selector), 1);
	llm(&w, 0)->health = LLM_HEALTHY;
	registry_track(w.s.registry, 0)->healthy_since_ms = clock_mono_ms();
	assert_false(selector_update(&w.selector, &w.s, NOW));
	assert_int_equal(w.selector.order[0], 1);
	assert_int_equal(w.selector.order[1], 0); /* the next one, before the third */
	assert_int_equal(w.selector.order[2], 2);
	llm(&w, 1)->health = LLM_DEGRADED; /* no reason to stay with that */
	assert_true(selector_update(&w.selector, &w.s, NOW));
	assert_int_equal(selector_current(&w.selector), 0);
	end(&w);
}

static void all_ejected_are_offered_all_the_same(void **state)
{
	struct world w = make(state);

	for (size_t i = 0; i < 3; i++)
		llm(&w, i)->ejected_until_ms = NOW + 1;
	selector_update(&w.selector, &w.s, NOW);
	assert_int_equal(w.selector.usable, 3);
	assert_int_equal(selector_current(&w.selector), 0);
	assert_true(w.selector.panic);
	llm(&w, 2)->ejected_until_ms = 0;
	selector_update(&w.selector, &w.s, NOW);
	assert_int_equal(selector_current(&w.selector), 2);
	assert_false(w.selector.panic);
	end(&w);
}

/* Nothing is known of its health, so that only its ejection moves it. */
static void an_ejected_cloud_gives_way_and_comes_back(void **state)
{
	struct world w = make(state);
	struct llm cloud = {
		.kind = LLM_CLOUD, .latency_ms = -1, .url = strdup("https://127.0.0.1:1/v1/chat/completions")};
	char enabled[] = "USE_CLOUD_LLM=true", token[] = "CLOUD_CHAT_UI_AUTH_TOKEN=t";
	char *const environment[] = {enabled, token, NULL};

	assert_true(fixture_load(w.fixture, NULL, environment, NULL));
	w.s.config = w.fixture->config;
	assert_int_equal(registry_restore(w.s.registry, &cloud), 0);
	selector_update(&w.selector, &w.s, NOW);
	assert_int_equal(selector_current(&w.selector), 3);
	llm(&w, 3)->ejected_until_ms = NOW + 1;
	assert_true(selector_update(&w.selector, &w.s, NOW));
	assert_int_equal(selector_current(&w.selector), 0);
	assert_int_equal(w.selector.usable, 4);
	assert_int_equal(w.selector.order[3], 3);
	assert_false(w.selector.panic);
	for (size_t i = 0; i < 3; i++)
		llm(&w, i)->health = LLM_UNHEALTHY;
	selector_update(&w.selector, &w.s, NOW); /* one is always tried */
	assert_int_equal(selector_current(&w.selector), 3);
	assert_true(w.selector.panic);
	for (size_t i = 0; i < 3; i++)
		llm(&w, i)->health = LLM_HEALTHY;
	selector_update(&w.selector, &w.s, NOW + 2);
	assert_int_equal(selector_current(&w.selector), 3);
	assert_false(w.selector.panic);
	end(&w);
}

static void a_pin_holds_until_the_model_is_unhealthy_or_gone(void **state)
{
	struct world w = make(state);
	struct llm_list none = {.items = NULL};
	struct registry_change change = {.added = 0};

	assert_int_equal(selector_pin(&w.selector, "d2"), 0);
	selector_update(&w.selector, &w.s, NOW);
	assert_int_equal(selector_current(&w.selector), 1);
	llm(&w, 1)->health = LLM_DEGRADED;
	selector_update(&w.selector, &w.s, NOW);
	assert_int_equal(selector_current(&w.selector), 1);
	llm(&w, 1)->health = LLM_UNHEALTHY;
	assert_true(selector_update(&w.selector, &w.s, NOW));
	assert_null(w.selector.pinned);
	llm(&w, 1)->health = LLM_HEALTHY; /* it was lifted for good */
	assert_false(selector_update(&w.selector, &w.s, NOW));
	assert_int_equal(selector_current(&w.selector), 0);
	assert_int_equal(selector_pin(&w.selector, "d3"), 0);
	assert_int_equal(registry_merge(w.s.registry, LLM_DISCOVERED, &none, &change), 0);
	assert_true(selector_update(&w.selector, &w.s, NOW));
	assert_null(w.selector.pinned);
	assert_int_equal(selector_current(&w.selector), -1);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_that_was_never_probed_is_not_offered, fixture_setup,
	                                        fixture_teardown),
		cmocka_unit_test_setup_teardown(the_ejected_come_after_the_others, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(one_that_was_lost_is_taken_back_when_it_is_stable, fixture_setup,
	                                        fixture_teardown),
		cmocka_unit_test_setup_teardown(all_ejected_are_offered_all_the_same, fixture_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(an_ejected_cloud_gives_way_and_comes_back, fixture_setup,
	                                        fixture_teardown),
		cmocka_unit_test_setup_teardown(a_pin_holds_until_the_model_is_unhealthy_or_gone, fixture_setup,
	                                        fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
