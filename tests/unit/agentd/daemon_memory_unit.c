/* SPDX-License-Identifier: Apache-2.0 */
/* The n-th allocation fails, for every n: no part of the daemon takes that for something
 * that an LLM did, and with memory all is as it was. */
#include "tests/unit/support/settings.h"
#include "tests/unit/support/short_memory.h"

#include "core/base/log.h"
#include "agentd/publisher.h"
#include "agentd/registry.h"
#include "agentd/selector.h"
#include "agentd/tokens.h"
#include "core/llm/deployments.h"
#include "core/status/reader.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char answer[] =
	"{\"d1\":{\"name\":\"c1\",\"internal_url\":\"c1:7000/v1/chat/completions\",\"health_url\":\"c1:7000/health\","
	"\"model_impl\":{\"model_name\":\"A\",\"model_type\":\"chat\",\"hf_model_id\":\"m/A\"}},"
	"\"d2\":{\"name\":\"c2\",\"internal_url\":\"c2:7000/v1/chat/completions\",\"health_url\":\"c2:7000/health\","
	"\"jwt_secret\":\"own\",\"model_impl\":{\"model_name\":\"B\",\"model_type\":\"chat\"}}}";

static struct config *config;
static char run_dir[64];

/* libjwt itself does not survive without memory. */
char *__wrap_bearer_token(const char *secret, const char *team_id, const char *token_id, struct err *e);

char *__wrap_bearer_token(const char *secret, const char *team_id, const char *token_id, struct err *e)
{
	char *token = strdup(secret);

	(void)team_id;
	(void)token_id;
	if (token == NULL)
		err_set(e, "out of memory");
	return token;
}

static void skipped(void *arg, const char *deploy_id, const char *why)
{
	(void)arg;
	fail_msg("%s is left out: %s", deploy_id, why);
}

/* A deployment that was left out would count as one that is gone. */
static void parse_deployments(void)
{
	struct llm_list list;
	struct err e = ERR_INIT;

	if (deployments_parse(answer, sizeof answer - 1, config, &list, skipped, NULL, &e) == 0) {
		assert_int_equal(list.count, 2);
		llm_list_clear(&list);
	} else {
		assert_true(short_memory_was_short());
		assert_true(err_is_set(&e));
		assert_null(list.items);
	}
}

static struct registry *two_llms(void)
{
	struct registry *r;
	struct registry_change change = {.added = 0};
	struct llm_list list;
	struct err e = ERR_INIT;

	short_memory_lift();
	r = registry_new(1000);
	assert_int_equal(deployments_parse(answer, sizeof answer - 1, config, &list, skipped, NULL, &e), 0);
	assert_int_equal(registry_merge(r, LLM_DISCOVERED, &list, &change), 0);
	llm_list_clear(&list);
	for (size_t i = 0; i < 2; i++)
		registry_llm(r, i)->health = LLM_HEALTHY;
	short_memory_impose();
	return r;
}

static void merge_the_same_again(void)
{
	struct registry *r = two_llms();
	struct registry_change change = {.added = 0};
	struct llm_list list;
	struct llm more = {.kind = LLM_LOCAL, .health = LLM_HEALTHY};
	struct err e = ERR_INIT;
	uint64_t instance = registry_llm(r, 1)->instance;
	size_t restored;

	restored = registry_restore(r, &more) == 0;
	if (deployments_parse(answer, sizeof answer - 1, config, &list, skipped, NULL, &e) == 0)
		registry_merge(r, LLM_DISCOVERED, &list, &change);
	llm_list_clear(&list);
	assert_int_equal(registry_count(r), 2 + restored);
	assert_int_equal(registry_llm(r, 1)->instance, instance);
	assert_int_equal(registry_llm(r, 1)->health, LLM_HEALTHY);
	registry_free(r);
}

/* A token that could not be made is made later. */
static void make_tokens(void)
{
	struct registry *r = two_llms();
	struct tokens *t = tokens_new();

	for (size_t i = 0; t != NULL && i < 2; i++) {
		bool made = tokens_for(t, registry_llm(r, i), config) != NULL;

		assert_true(made || short_memory_was_short());
		short_memory_lift();
		assert_non_null(tokens_for(t, registry_llm(r, i), config));
		short_memory_impose();
	}
	tokens_free(t);
	registry_free(r);
}

static void clear_run_dir(void)
{
	DIR *d = opendir(run_dir);
	struct dirent *entry;
	char path[512];

	while ((entry = readdir(d)) != NULL) {
		snprintf(path, sizeof path, "%s/%s", run_dir, entry->d_name);
		unlink(path);
	}
	closedir(d);
}

static void see_published(void)
{
	struct err e = ERR_INIT;
	struct status_reader *reader = status_reader_new(run_dir, &e);
	struct status_snapshot *s = status_acquire(reader);

	assert_non_null(s);
	assert_int_equal(status_header(s)->usable_count, 2);
	assert_non_null(status_text(s, status_llm(s, 0)->token));
	assert_non_null(status_text(s, status_header(s)->config_name));
	status_release(s);
	status_reader_free(reader);
}

/* What is written is complete; what is not written is reported, and written later. */
static void publish(void)
{
	struct services s = {.config = config, .registry = two_llms(), .tokens = tokens_new(), .events = events_new()};
	struct selector selector = {.order = NULL};
	const struct polling polling = {.waiting = false};
	struct err e = ERR_INIT;
	struct publisher *p = s.tokens != NULL && s.events != NULL ? publisher_new(&s, run_dir, &e) : NULL;

	assert_true(p != NULL || short_memory_was_short());
	for (int i = 0; p != NULL && i < 2; i++) {
		int result;

		err_clear(&e);
		selector_update(&selector, &s, 1000);
		result = publisher_config(p, NULL, NULL, NULL, &e);
		if (publisher_publish(p, &selector, &polling, &e) < 0)
			result = -1;
		assert_int_equal(result < 0, err_is_set(&e));
		assert_true(result == 0 || short_memory_was_short());
		if (i == 0)
			short_memory_lift();
	}
	if (p != NULL)
		see_published();
	else
		short_memory_lift();
	publisher_free(p);
	selector_free(&selector);
	events_free(s.events);
	tokens_free(s.tokens);
	registry_free(s.registry);
	clear_run_dir();
	short_memory_impose();
}

#define SWEEP(work)                                                                                                    \
	static void work##_sweep(void **state)                                                                         \
	{                                                                                                              \
		(void)state;                                                                                           \
		short_memory_sweep(work);                                                                              \
	}
SWEEP(parse_deployments)
SWEEP(merge_the_same_again)
SWEEP(make_tokens)
SWEEP(publish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse_deployments_sweep),
		cmocka_unit_test(merge_the_same_again_sweep),
		cmocka_unit_test(make_tokens_sweep),
		cmocka_unit_test(publish_sweep),
	};
	int failed;

	log_open("daemon_memory_unit", LOG_TO_STDERR, LOG_CRITICAL_);
	config = SETTINGS("auth.jwt_secret=secret");
	strcpy(run_dir, "/tmp/daemon_memory.XXXXXX");
	if (mkdtemp(run_dir) == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(run_dir);
	config_unref(config);
	return failed;
}
