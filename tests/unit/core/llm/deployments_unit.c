/* SPDX-License-Identifier: Apache-2.0 */
/* The backend's list of deployments: valid, invalid, hostile. */
#include "tests/unit/support/settings.h"

#include "core/base/buf.h"
#include "core/llm/deployments.h"

#include <stdlib.h>
#include <string.h>

struct seen {
	int skipped;
	char deploy_id[64];
	char why[512];
};

static void note(void *arg, const char *deploy_id, const char *why)
{
	struct seen *s = arg;

	s->skipped++;
	snprintf(s->deploy_id, sizeof s->deploy_id, "%s", deploy_id);
	snprintf(s->why, sizeof s->why, "%s", why);
}

static int parse(const char *json, struct llm_list *out, struct seen *seen, struct err *e)
{
	struct config *c = SETTINGS("llm.model=some/model");
	/* A copy of just its length, so that a read beyond it is found. */
	size_t len = strlen(json);
	char *copy = malloc(len > 0 ? len : 1);
	int rc;

	memcpy(copy, json, len);
	*seen = (struct seen){.skipped = 0};
	err_clear(e);
	rc = deployments_parse(copy, len, c, out, note, seen, e);
	free(copy);
	config_unref(c);
	return rc;
}

static void a_complete_entry(void **state)
{
	struct llm_list list;
	struct seen seen;
	struct err e = ERR_INIT;
	const struct llm *l;

	(void)state;
	assert_int_equal(parse("{\"d1\":{\"name\":\"c-d1\",\"internal_url\":\"c-d1:7000/v1/chat/completions\","
	                       "\"health_url\":\"c-d1:7000/"
	                       "health\",\"tool_calling_enabled\":true,\"jwt_secret\":\"s\","
	                       "\"extra\":[1],\"model_impl\":{\"model_name\":\"Llama\",\"model_type\":\"vlm\","
	                       "\"hf_model_id\":\"meta/Llama\"}}}",
	                       &list, &seen, &e),
	                 0);
	assert_int_equal(list.count, 1);
	assert_int_equal(seen.skipped, 0);
	l = &list.items[0];
	assert_string_equal(l->deploy_id, "d1");
	assert_string_equal(l->container_name, "c-d1");
	assert_string_equal(l->internal_url, "c-d1:7000/v1/chat/completions");
	assert_string_equal(l->url, "http://c-d1:7000/v1/chat/completions");
	assert_string_equal(l->probe_url, "http://c-d1:7000/health");
	assert_string_equal(l->model, "meta/Llama");
	assert_string_equal(l->jwt_secret, "s");
	assert_string_equal(llm_name(l), "Llama");
	assert_int_equal(l->tools, LLM_TOOLS_YES);
	assert_int_equal(l->kind, LLM_DISCOVERED);
	assert_int_equal(l->health, LLM_UNKNOWN);
	assert_int_equal(l->latency_ms, -1);
	assert_true(llm_has_vision(l));
	assert_true(llm_is_selectable(l));
	llm_list_clear(&list);
	assert_int_equal(list.count, 0);
}

static void what_may_be_missing(void **state)
{
	struct llm_list list;
	struct seen seen;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(parse("{\"b\":{\"internal_url\":\"http://h:1/v1/completions\",\"health_url\":\"h:1\","
	                       "\"tool_calling_enabled\":\"yes\",\"model_impl\":null,\"name\":null},"
	                       "\"a\":{\"internal_url\":\"h:1\",\"health_url\":\"h:1/"
	                       "health\",\"tool_calling_enabled\":false,"
	                       "\"model_impl\":{\"model_type\":\"\",\"hf_model_id\":null}}}",
	                       &list, &seen, &e),
	                 0);
	assert_int_equal(list.count, 2);
	assert_string_equal(list.items[0].deploy_id, "b"); /* the backend's order */
	assert_true(list.items[0].uses_completions);
	assert_string_equal(list.items[0].internal_url, "http://h:1/v1/completions");
	assert_string_equal(list.items[0].probe_url, "http://h:1/health");
	assert_int_equal(list.items[0].tools, LLM_TOOLS_UNKNOWN);
	assert_string_equal(llm_name(&list.items[0]), "Unknown");
	assert_string_equal(llm_type(&list.items[0]), "chat");
	assert_string_equal(list.items[0].model, "some/model");
	assert_string_equal(list.items[1].url, "http://h:1/v1/chat/completions");
	assert_int_equal(list.items[1].tools, LLM_TOOLS_NO);
	assert_true(llm_is_selectable(&list.items[1]));
	llm_list_clear(&list);
}

#define GOOD "\"good\":{\"internal_url\":\"h:1\",\"health_url\":\"h:1\"}"

static void a_malformed_entry_is_skipped(void **state)
{
	static const struct {
		const char *entry, *why;
	} cases[] = {
		{"{}", "internal_url is missing"},
		{"[]", "not an object"},
		{"null", "not an object"},
		{"{\"internal_url\":\"h:1\"}", "health_url is missing"},
		{"{\"internal_url\":7,\"health_url\":\"h\"}", "internal_url is not a string"},
		{"{\"internal_url\":\"\",\"health_url\":\"h\"}", "internal_url is missing"},
		{"{\"internal_url\":\"ftp://h\",\"health_url\":\"h\"}", "internal_url: invalid URL"},
		{"{\"internal_url\":\"h\",\"health_url\":\"h:x\"}", "health_url: invalid URL"},
		{"{\"internal_url\":\"h\\nX: y\",\"health_url\":\"h\"}", "internal_url: invalid URL"},
		{"{\"internal_url\":\"u:p@h\",\"health_url\":\"h\"}", "user name"},
		{"{\"internal_url\":\"h\",\"health_url\":\"h\",\"model_impl\":\"x\"}", "model_impl is not an object"},
		{"{\"internal_url\":\"h\",\"health_url\":\"h\",\"model_impl\":{\"model_name\":1}}",
	         "model_name is not a string"},
		{"{\"internal_url\":\"h\",\"health_url\":\"h\",\"name\":{}}", "name is not a string"},
		{"{\"internal_url\":\"h\",\"health_url\":\"h\",\"jwt_secret\":1}", "jwt_secret is not a string"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct llm_list list;
		struct seen seen;
		struct err e = ERR_INIT;
		char json[1024];

		snprintf(json, sizeof json, "{\"bad\":%s," GOOD "}", cases[i].entry);
		assert_int_equal(parse(json, &list, &seen, &e), 0);
		assert_int_equal(list.count, 1);
		assert_string_equal(list.items[0].deploy_id, "good");
		assert_int_equal(seen.skipped, 1);
		assert_string_equal(seen.deploy_id, "bad");
		if (strstr(seen.why, cases[i].why) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", seen.why, cases[i].why);
		assert_null(strstr(seen.why, "u:p"));
		llm_list_clear(&list);
	}
}

static void a_malformed_document_is_an_error(void **state)
{
	static const char *const documents[] = {
		"",
		"nonsense",
		"[]",
		"null",
		"\"x\"",
		"{\"a\":",
		"{\"detail\":\"Not authenticated\"}",
		"{\"status\":\"error\",\"code\":5}",
		"{} trailing",
	};
	struct llm_list list;
	struct seen seen;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
		assert_int_equal(parse(documents[i], &list, &seen, &e), -1);
		assert_true(err_is_set(&e));
		assert_int_equal(list.count, 0);
		assert_null(list.items);
		assert_int_equal(seen.skipped, 0);
	}
	assert_int_equal(parse("{}", &list, &seen, &e), 0);
	assert_int_equal(list.count, 0);
	llm_list_clear(&list);
}

static void depth_and_length_are_limited(void **state)
{
	struct llm_list list;
	struct seen seen;
	struct err e = ERR_INIT;
	struct buf b = BUF_INIT(1u << 20);

	(void)state;
	for (int i = 0; i < 100000; i++)
		buf_adds(&b, "[");
	assert_int_equal(parse(b.data, &list, &seen, &e), -1);
	buf_reset(&b);
	buf_adds(&b, "{" GOOD ",\"long\":{\"internal_url\":\"h\",\"health_url\":\"h\",\"name\":\"");
	for (int i = 0; i < 5000; i++)
		buf_adds(&b, "x");
	buf_adds(&b, "\"}}");
	assert_int_equal(parse(b.data, &list, &seen, &e), 0);
	assert_int_equal(list.count, 1);
	assert_string_equal(seen.deploy_id, "long");
	llm_list_clear(&list);
	buf_free(&b);
}

static void too_many_are_cut(void **state)
{
	struct llm_list list;
	struct seen seen;
	struct err e = ERR_INIT;
	struct buf b = BUF_INIT(16u << 20);

	(void)state;
	for (int i = 0; i < DEPLOYMENTS_MAX + 5; i++)
		buf_addf(&b, "%c\"d%d\":{\"internal_url\":\"h:1\",\"health_url\":\"h:1\"}", i == 0 ? '{' : ',', i);
	buf_adds(&b, "}");
	assert_int_equal(parse(b.data, &list, &seen, &e), 0);
	assert_int_equal(list.count, DEPLOYMENTS_MAX);
	assert_int_equal(seen.skipped, 1);
	llm_list_clear(&list);
	buf_free(&b);
}

static void hosts_are_mapped(void **state)
{
	static const struct {
		const char *internal_url, *url;
	} cases[] = {
		{"c-one:7000/v1/chat/completions", "http://127.0.0.1:8001/v1/chat/completions"},
		{"http://C-ONE:7000/v1", "http://127.0.0.1:8001/v1/chat/completions"},
		{"c-one", "http://127.0.0.1:8001/v1/chat/completions"},
		{"c-two:7000/v1/completions", "http://host.example:7000/v1/completions"},
		{"https://c-two", "https://host.example/v1/chat/completions"},
		{"c-three:7001/v1/chat/completions", "http://[::1]:8003/v1/chat/completions"},
		{"c-three:7002/v1/chat/completions", "http://[fe80::2]:7002/v1/chat/completions"},
		{"c-three-b:7001/v1/chat/completions", "http://c-three-b:7001/v1/chat/completions"},
	};
	struct config *c = SETTINGS(
		"discovery.hosts=c-one=127.0.0.1:8001,c-two=host.example,c-three:7001=[::1]:8003,"
		"c-three=[fe80::2]");
	struct llm_list list;
	struct err e = ERR_INIT;
	char json[400];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		snprintf(json, sizeof json, "{\"d\":{\"internal_url\":\"%s\",\"health_url\":\"%s\"}}",
		         cases[i].internal_url, i == 0 ? "c-two:9/health" : cases[i].internal_url);
		assert_int_equal(deployments_parse(json, strlen(json), c, &list, NULL, NULL, &e), 0);
		assert_int_equal(list.count, 1);
		assert_string_equal(list.items[0].url, cases[i].url);
		assert_string_equal(list.items[0].internal_url, cases[i].internal_url);
		if (i == 0)
			assert_string_equal(list.items[0].probe_url, "http://host.example:9/health");
		llm_list_clear(&list);
	}
	config_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_complete_entry),
		cmocka_unit_test(what_may_be_missing),
		cmocka_unit_test(a_malformed_entry_is_skipped),
		cmocka_unit_test(a_malformed_document_is_an_error),
		cmocka_unit_test(depth_and_length_are_limited),
		cmocka_unit_test(too_many_are_cut),
		cmocka_unit_test(hosts_are_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
