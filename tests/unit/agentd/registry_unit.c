/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fresh {
	struct llm items[8];
	struct llm_list list;
};

static void add(struct fresh *f, enum llm_kind kind, const char *id, const char *url)
{
	struct llm *l = &f->items[f->list.count++];

	*l = (struct llm){.kind = kind, .latency_ms = -1};
	l->deploy_id = id != NULL ? strdup(id) : NULL;
	l->url = strdup(url);
	f->list.items = f->items;
}

static struct registry_change merge(struct registry *r, enum llm_kind kind, struct fresh *f)
{
	struct registry_change change = {.added = 0};

	assert_int_equal(registry_merge(r, kind, &f->list, &change), 0);
	assert_int_equal(f->list.count, 0);
	return change;
}

static void keeps_health_and_instance(void **state)
{
	struct registry *r = registry_new(1000);
	struct fresh f = {.list = {.count = 0}};
	struct registry_change change;
	uint64_t instance;

	(void)state;
	add(&f, LLM_DISCOVERED, "d1", "http://a/v1");
	add(&f, LLM_DISCOVERED, "d2", "http://b/v1");
	change = merge(r, LLM_DISCOVERED, &f);
	assert_int_equal(change.added, 2);
	registry_llm(r, 1)->health = LLM_DEGRADED;
	registry_llm(r, 1)->failures = 2;
	registry_llm(r, 1)->reason = strdup("HTTP 500");
	registry_llm(r, 1)->context_length = 4096;
	registry_llm(r, 1)->continues = true;
	registry_llm(r, 1)->model = strdup("learned");
	registry_track(r, 1)->probe_due_ms = 77;
	instance = registry_llm(r, 1)->instance;

	add(&f, LLM_DISCOVERED, "d2", "http://b/v1"); /* another order, and one new */
	add(&f, LLM_DISCOVERED, "d3", "http://c/v1");
	add(&f, LLM_DISCOVERED, "d1", "http://a/v1");
	change = merge(r, LLM_DISCOVERED, &f);
	assert_int_equal(change.added, 1);
	assert_int_equal(change.removed, 0);
	assert_int_equal(change.redeployed, 0);
	assert_string_equal(registry_llm(r, 0)->deploy_id, "d2");
	assert_int_equal(registry_llm(r, 0)->instance, instance);
	assert_int_equal(registry_llm(r, 0)->health, LLM_DEGRADED);
	assert_int_equal(registry_llm(r, 0)->failures, 2);
	assert_string_equal(registry_llm(r, 0)->reason, "HTTP 500");
	assert_string_equal(registry_llm(r, 0)->model, "learned");
	assert_int_equal(registry_llm(r, 0)->context_length, 4096);
	assert_true(registry_llm(r, 0)->continues);
	assert_int_equal(registry_track(r, 0)->probe_due_ms, 77);
	assert_int_equal(registry_find(r, instance, 5), 0);
	registry_free(r);
}

static void a_redeployed_llm_is_another_one(void **state)
{
	struct registry *r = registry_new(1000);
	struct fresh f = {.list = {.count = 0}};
	struct registry_change change;
	uint64_t instance;

	(void)state;
	add(&f, LLM_DISCOVERED, "d1", "http://a/v1");
	merge(r, LLM_DISCOVERED, &f);
	registry_llm(r, 0)->health = LLM_HEALTHY;
	registry_track(r, 0)->seen_healthy = true;
	instance = registry_llm(r, 0)->instance;
	add(&f, LLM_DISCOVERED, "d1", "http://elsewhere/v1");
	change = merge(r, LLM_DISCOVERED, &f);
	assert_int_equal(change.redeployed, 1);
	assert_int_equal(change.removed, 0);
	assert_int_not_equal(registry_llm(r, 0)->instance, instance);
	assert_int_equal(registry_llm(r, 0)->health, LLM_UNKNOWN);
	assert_false(registry_track(r, 0)->seen_healthy);
	assert_int_equal(registry_find(r, instance, 0), -1);
	registry_free(r);
}

static void kinds_do_not_touch_each_other(void **state)
{
	struct registry *r = registry_new(1000);
	struct fresh f = {.list = {.count = 0}};
	struct registry_change change;

	(void)state;
	add(&f, LLM_LOCAL, NULL, "http://localhost:7000/v1");
	merge(r, LLM_LOCAL, &f);
	add(&f, LLM_CONTAINER, NULL, "http://c:7000/v1");
	merge(r, LLM_CONTAINER, &f);
	add(&f, LLM_DISCOVERED, "d1", "http://a/v1");
	merge(r, LLM_DISCOVERED, &f);
	assert_int_equal(registry_count(r), 3);
	assert_int_equal(registry_discovered(r), 1);
	assert_int_equal(registry_llm(r, 0)->kind, LLM_DISCOVERED); /* the backend's come first */
	assert_int_equal(registry_llm(r, 1)->kind, LLM_CONTAINER);
	assert_int_equal(registry_llm(r, 2)->kind, LLM_LOCAL); /* in the order of the kinds */

	change = merge(r, LLM_DISCOVERED, &f); /* an empty list: what left is gone at once */
	assert_int_equal(change.removed, 1);
	assert_int_equal(registry_count(r), 2);
	assert_int_equal(merge(r, LLM_CONTAINER, &f).removed, 1);
	assert_int_equal(registry_count(r), 1);
	assert_int_equal(registry_llm(r, 0)->kind, LLM_LOCAL);
	assert_int_equal(merge(r, LLM_LOCAL, &f).removed, 1);
	assert_int_equal(registry_count(r), 0);
	registry_free(r);
}

static void a_restored_llm_keeps_its_instance(void **state)
{
	struct registry *r = registry_new(1000);
	struct fresh f = {.list = {.count = 0}};
	struct llm *l = f.items;

	(void)state;
	add(&f, LLM_DISCOVERED, "d1", "http://a/v1");
	l->instance = 5000;
	l->health = LLM_HEALTHY;
	assert_int_equal(registry_restore(r, l), 0);
	assert_true(registry_track(r, 0)->seen_healthy);
	f.list.count = 0;
	add(&f, LLM_DISCOVERED, "d1", "http://a/v1");
	add(&f, LLM_DISCOVERED, "d2", "http://b/v1");
	f.items[0].jwt_secret = strdup("its own"); /* was not published */
	merge(r, LLM_DISCOVERED, &f);
	assert_int_equal(registry_llm(r, 0)->instance, 5000);
	assert_int_equal(registry_llm(r, 0)->health, LLM_HEALTHY);
	assert_string_equal(registry_llm(r, 0)->jwt_secret, "its own");
	assert_true(registry_llm(r, 1)->instance > 5000);
	registry_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_health_and_instance),
		cmocka_unit_test(a_redeployed_llm_is_another_one),
		cmocka_unit_test(kinds_do_not_touch_each_other),
		cmocka_unit_test(a_restored_llm_keeps_its_instance),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
