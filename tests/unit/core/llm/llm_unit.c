/* SPDX-License-Identifier: Apache-2.0 */
/* LLMs that the configuration names, URLs, the choice of the model id. */
#include "tests/unit/support/settings.h"

#include "core/llm/llm.h"

#include <stdlib.h>
#include <string.h>

static void container_names(void **state)
{
	static const struct {
		const char *name, *url, *probe_url;
	} cases[] = {
		{"vllm", "http://vllm:7000/v1/chat/completions", "http://vllm:7000/health"},
		{"vllm:8001", "http://vllm:8001/v1/chat/completions", "http://vllm:8001/health"},
		{"10.0.0.7", "http://10.0.0.7:7000/v1/chat/completions", "http://10.0.0.7:7000/health"},
		{"[::1]:9000", "http://[::1]:9000/v1/chat/completions", "http://[::1]:9000/health"},
		{"http://h:9000", "http://h:9000/v1/chat/completions", "http://h:9000/health"},
		{"http://h:9000/", "http://h:9000/v1/chat/completions", "http://h:9000/health"},
		{"https://h", "https://h/v1/chat/completions", "https://h/health"},
		{"http://h:9000/v1/chat/completions", "http://h:9000/v1/chat/completions", "http://h:9000/health"},
		{"http://h/base/v1/chat/completions", "http://h/base/v1/chat/completions", "http://h/base/health"},
		{"http://h:9000/other/way", "http://h:9000/other/way", "http://h:9000/health"},
		{"vllm/v1", "http://vllm:7000/v1/chat/completions", "http://vllm:7000/health"},
		{"http://h/base/v1/", "http://h/base/v1/chat/completions", "http://h/base/health"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char set[256];
		struct config *c;
		struct llm l;
		struct err e = ERR_INIT;

		snprintf(set, sizeof set, "container.name=%s", cases[i].name);
		c = SETTINGS(set);
		assert_int_equal(llm_container(c, &l, &e), 0);
		assert_string_equal(l.url, cases[i].url);
		assert_string_equal(l.probe_url, cases[i].probe_url);
		assert_int_equal(l.kind, LLM_CONTAINER);
		assert_int_equal(l.health, LLM_UNKNOWN);
		assert_false(l.uses_completions);
		assert_null(l.model);
		assert_string_equal(llm_name(&l), "Unknown");
		assert_true(llm_uses_tools(&l));
		llm_clear(&l);
		config_unref(c);
	}
}

/* They are refused with the configuration, not when the LLM is needed. */
static void bad_container_names(void **state)
{
	static const char *const names[] = {
		"ftp://h",
		"http://",
		"a b",
		"h:99999",
		"http://u:p@h",
		"http://u:p@h:99999",
		"\"vllm\"",
		"ftp://u:p@h",
		"h:x",
		"vllm ",
		" vllm",
		"'vllm'",
		"vllm\"",
		"`vllm`",
		"http://h ",
		"file:///etc/passwd",
		"\"http://h:8000\"",
		"vllm\t",
		"[::1",
		"u:p@h",
	};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char set[256];
		const char *sets[] = {set};
		struct config_source source = {.sets = sets, .set_count = 1};
		struct config_report report;

		for (int variable = 0; variable < 2; variable++) {
			config_report_init(&report);
			snprintf(set, sizeof set, "%s=%s", variable ? "LLM_CONTAINER_NAME" : "container.name",
			         names[i]);
			assert_null(config_load(&source, &report));
			assert_non_null(strstr(report.errors.data, variable ? "LLM_CONTAINER_NAME" : "container.name"));
			assert_null(strstr(report.errors.data, "u:p"));
			config_report_free(&report);
		}
	}
}

static void local_hosts(void **state)
{
	static const char *const good[] = {"localhost", "::1", "[::1]", "10.0.0.7", "host.docker.internal", "fe80::1"};
	static const char *const bad[] = {"\"localhost\"", "localhost ", "http://localhost", "localhost:7000", "a/b",
	                                  "[::1]:7000",    "u@h"};
	struct config_report report;
	char set[256];
	const char *sets[] = {set};
	struct config_source source = {.sets = sets, .set_count = 1};

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct err e = ERR_INIT;
		struct config *c;
		struct llm l;

		snprintf(set, sizeof set, "local.host=%s", good[i]);
		c = SETTINGS(set);
		assert_int_equal(llm_local(c, &l, &e), 0);
		llm_clear(&l);
		config_unref(c);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		config_report_init(&report);
		snprintf(set, sizeof set, "local.host=%s", bad[i]);
		assert_null(config_load(&source, &report));
		assert_non_null(strstr(report.errors.data, "local.host"));
		config_report_free(&report);
	}
}

static void what_is_not_configured_is_none(void **state)
{
	struct config *c = SETTINGS("local.enabled=false", "cloud.enabled=true");
	struct err e = ERR_INIT;
	struct llm l;

	(void)state;
	assert_int_equal(llm_container(c, &l, &e), 1);
	assert_int_equal(llm_local(c, &l, &e), 1);
	assert_int_equal(llm_cloud(c, &l, &e), 1); /* no token */
	config_unref(c);
	c = SETTINGS("cloud.token=t");
	assert_int_equal(llm_cloud(c, &l, &e), 1); /* neither enabled nor fallback */
	config_unref(c);
}

static void cloud_and_local(void **state)
{
	struct config *c = SETTINGS("cloud.fallback=true", "cloud.token=secret",
	                            "cloud.url=https://c.example/openai/v1/chat/completions", "cloud.model=big",
	                            "local.host=::1", "local.port=1234", "llm.model=some/model");
	struct err e = ERR_INIT;
	struct llm l;

	(void)state;
	assert_int_equal(llm_cloud(c, &l, &e), 0);
	assert_string_equal(l.url, "https://c.example/openai/v1/chat/completions");
	assert_null(l.probe_url);
	assert_string_equal(l.model, "big");
	assert_string_equal(llm_name(&l), "big");
	assert_true(llm_has_vision(&l));
	assert_true(llm_uses_tools(&l));
	llm_clear(&l);
	assert_int_equal(llm_local(c, &l, &e), 0);
	assert_string_equal(l.url, "http://[::1]:1234/v1/chat/completions");
	assert_string_equal(l.probe_url, "http://[::1]:1234/health");
	assert_string_equal(l.model, "some/model");
	assert_false(llm_has_vision(&l));
	llm_clear(&l);
	config_unref(c);
}

static void model_ids(void **state)
{
	struct config *plain = SETTINGS("log.level=INFO");
	struct config *path = SETTINGS("llm.model=from-path", "local.model=from-local");
	struct config *local = SETTINGS("local.model=from-local");
	const struct {
		const char *hf_model_id, *model_name, *first;
		const struct config *c;
		const char *model;
	} cases[] = {
		{"hf", "name", "first", path, "hf"},      {NULL, "name", "first", path, "name"},
		{NULL, NULL, "first", path, "from-path"}, {NULL, NULL, "first", local, "from-local"},
		{NULL, NULL, "first", plain, "first"},    {NULL, NULL, NULL, plain, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct llm l = {.kind = LLM_DISCOVERED};

		l.hf_model_id = cases[i].hf_model_id != NULL ? strdup(cases[i].hf_model_id) : NULL;
		l.model_name = cases[i].model_name != NULL ? strdup(cases[i].model_name) : NULL;
		assert_int_equal(llm_choose_model(&l, cases[i].c, cases[i].first), 0);
		if (cases[i].model == NULL)
			assert_null(l.model);
		else
			assert_string_equal(l.model, cases[i].model);
		llm_clear(&l);
	}
	config_unref(plain);
	config_unref(path);
	config_unref(local);
}

static void endpoints(void **state)
{
	static const struct {
		const char *url, *scheme, *host;
		int port;
		bool literal;
	} cases[] = {
		{"http://h/v1", "http", "h", 80, false},
		{"https://h.example/x?y", "https", "h.example", 443, false},
		{"http://10.1.2.3:7000/", "http", "10.1.2.3", 7000, true},
		{"http://[fe80::1]:7000/", "http", "fe80::1", 7000, true},
	};
	struct llm_endpoint p;
	struct err e = ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(llm_endpoint_parse(cases[i].url, &p, &e), 0);
		assert_string_equal(p.scheme, cases[i].scheme);
		assert_string_equal(p.host, cases[i].host);
		assert_int_equal(p.port, cases[i].port);
		assert_int_equal(p.literal, cases[i].literal);
		llm_endpoint_clear(&p);
	}
	assert_int_equal(llm_endpoint_parse("http://h:0/", &p, &e), -1);
	assert_null(p.host);
	err_clear(&e);
	assert_int_equal(llm_endpoint_parse("gopher://h/", &p, &e), -1);
	assert_non_null(strstr(e.text, "http"));
}

static void urls_are_completed_to_the_chat_endpoint(void **state)
{
	static const struct {
		const char *text, *url;
		bool completed; /* and that is worth a line in the log */
	} cases[] = {
		{"h:7000/v1", "http://h:7000/v1/chat/completions", true},
		{"http://h:7000/v1/", "http://h:7000/v1/chat/completions", true},
		{"http://h:7000/v1//", "http://h:7000/v1/chat/completions", true},
		{" http://h:7000/v1\n", "http://h:7000/v1/chat/completions", true},
		{"https://api.groq.com/openai/v1", "https://api.groq.com/openai/v1/chat/completions", true},
		{"https://api.groq.com/openai", "https://api.groq.com/openai/v1/chat/completions", true},
		{"https://openrouter.ai/api/v1/", "https://openrouter.ai/api/v1/chat/completions", true},
		{"https://h/v1beta/openai/", "https://h/v1beta/openai/chat/completions", true},
		{"https://h/v1/openai", "https://h/v1/openai/chat/completions", true},
		{"https://h/v1beta1/projects/p/locations/l/endpoints/openapi",
	         "https://h/v1beta1/projects/p/locations/l/endpoints/openapi/chat/completions", true},
		{"https://h/api/paas/v4", "https://h/api/paas/v4/chat/completions", true},
		{"https://models.github.ai/inference", "https://models.github.ai/inference/chat/completions", true},
		{"https://h/serving-endpoints/", "https://h/serving-endpoints/chat/completions", true},
		{"https://h/v1/A/gw/compat", "https://h/v1/A/gw/compat/chat/completions", true},
		{"https://h/engines/llama.cpp/v1", "https://h/engines/llama.cpp/v1/chat/completions", true},
		{"http://h/engines/v1", "http://h/engines/v1/chat/completions", true},
		{"http://h/v1/models", "http://h/v1/chat/completions", true},
		{"http://h/v1/models/", "http://h/v1/chat/completions", true},
		{"http://h/models", "http://h/v1/chat/completions", true},
		{"http://h/health", "http://h/v1/chat/completions", true},
		{"http://h/v1/chat", "http://h/v1/chat/completions", true},
		{"http://h/v1/chat/completion", "http://h/v1/chat/completions", true},
		{"http://h/v1/responses", "http://h/v1/chat/completions", true},
		{"http://h/v1beta/openai/models", "http://h/v1beta/openai/chat/completions", true},
		{"https://r.openai.azure.com/openai/deployments/gpt-4o?api-version=2024-10-21",
	         "https://r.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", true},
		{"https://r.openai.azure.com/openai/v1/?api-version=preview",
	         "https://r.openai.azure.com/openai/v1/chat/completions?api-version=preview", true},
		{"http://h", "http://h/v1/chat/completions", false},
		{"http://h/?x=1", "http://h/v1/chat/completions?x=1", false},
		{"http://h/v1/chat/completions/", "http://h/v1/chat/completions", false},
		{"http://h/v1/completions/", "http://h/v1/completions", false},
		{"https://api.perplexity.ai/chat/completions", "https://api.perplexity.ai/chat/completions", false},
		{"https://h/x/chat/completions?api-version=1", "https://h/x/chat/completions?api-version=1", false},
		{"http://h/custom/chat", "http://h/custom/chat", false},
		{"http://h/chat", "http://h/chat", false},
		{"http://h/v2x/very", "http://h/v2x/very", false},
		{"http://h/vision", "http://h/vision", false},
		{"http://h/custom/", "http://h/custom/", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct llm l = {.kind = LLM_DISCOVERED};
		struct err e = ERR_INIT;

		assert_int_equal(llm_set_url(&l, cases[i].text, &e), 0);
		assert_string_equal(l.url, cases[i].url);
		if (cases[i].completed)
			assert_string_equal(l.given_url, cases[i].text);
		else
			assert_null(l.given_url);
		llm_clear(&l);
	}
}

static void siblings(void **state)
{
	static const struct {
		const char *url, *path, *sibling;
	} cases[] = {
		{"http://h:7000/v1/chat/completions", "/v1/models", "http://h:7000/v1/models"},
		{"http://h:7000/v1/completions?x=1", "/health", "http://h:7000/health"},
		{"https://h/openai/v1/chat/completions", "/v1/models", "https://h/openai/v1/models"},
		{"http://h:7000", "/health", "http://h:7000/health"},
		{"https://h/openai/v1/chat/completions", "/health", "https://h/openai/health"},
		{"https://h/api/paas/v4/chat/completions", "/v1/models", "https://h/api/paas/v4/models"},
		{"https://h/api/paas/v4/chat/completions", "/health", "https://h/api/paas/health"},
		{"https://h/v1beta/openai/chat/completions", "/v1/models", "https://h/v1beta/openai/models"},
		{"https://h/v1beta/openai/chat/completions", "/health", "https://h/health"},
		{"https://h/openai/deployments/d/chat/completions", "/v1/models", "https://h/openai/models"},
		{"https://h/chat/completions", "/v1/models", "https://h/models"},
		{"https://h/custom/chat", "/v1/models", "https://h/v1/models"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *url = llm_sibling_url(cases[i].url, cases[i].path);

		assert_string_equal(url, cases[i].sibling);
		free(url);
	}
	assert_null(llm_sibling_url("http://", "/health"));
}

static void the_completions_url_is_recognised(void **state)
{
	static const struct {
		const char *text, *url;
		bool uses_completions;
	} cases[] = {
		{"c:7000/v1/completions", "http://c:7000/v1/completions", true},
		{"http://c:7000/v1/completions", "http://c:7000/v1/completions", true},
		{"c:7000/v1/chat/completions", "http://c:7000/v1/chat/completions", false},
		{"c:7000", "http://c:7000/v1/chat/completions", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct llm l = {.kind = LLM_DISCOVERED, .tools = LLM_TOOLS_YES};
		struct err e = ERR_INIT;

		assert_int_equal(llm_set_url(&l, cases[i].text, &e), 0);
		assert_string_equal(l.url, cases[i].url);
		assert_int_equal(l.uses_completions, cases[i].uses_completions);
		assert_int_equal(llm_uses_tools(&l), !cases[i].uses_completions);
		llm_clear(&l);
	}
}

static void copies_are_deep(void **state)
{
	struct config *c = SETTINGS("container.name=box", "llm.model=m");
	struct err e = ERR_INIT;
	struct llm l, copy;

	(void)state;
	assert_int_equal(llm_container(c, &l, &e), 0);
	l.reason = strdup("why");
	l.failures = 2;
	assert_int_equal(llm_copy(&copy, &l), 0);
	llm_clear(&l);
	assert_string_equal(copy.reason, "why");
	assert_string_equal(copy.model, "m");
	assert_int_equal(copy.failures, 2);
	assert_null(l.url);
	assert_int_equal(l.latency_ms, -1);
	llm_clear(&copy);
	config_unref(c);
}

static void texts(void **state)
{
	enum llm_health h;

	(void)state;
	for (int i = LLM_UNKNOWN; i <= LLM_UNHEALTHY; i++) {
		assert_int_equal(llm_health_parse(llm_health_text((enum llm_health)i), &h), 0);
		assert_int_equal(h, i);
	}
	assert_int_equal(llm_health_parse("fine", &h), -1);
	assert_string_equal(llm_kind_text(LLM_LOCAL), "local");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(container_names), cmocka_unit_test(bad_container_names),
		cmocka_unit_test(local_hosts),     cmocka_unit_test(what_is_not_configured_is_none),
		cmocka_unit_test(cloud_and_local), cmocka_unit_test(model_ids),
		cmocka_unit_test(endpoints),       cmocka_unit_test(urls_are_completed_to_the_chat_endpoint),
		cmocka_unit_test(siblings),        cmocka_unit_test(the_completions_url_is_recognised),
		cmocka_unit_test(copies_are_deep), cmocka_unit_test(texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
