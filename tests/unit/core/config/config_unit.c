/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults, environment, --set and the order of the sources. */
#include "tests/unit/support/config_fixture.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static void text_is(const struct config *c, enum cfg_key k, const char *expected)
{
	char text[4096];

	config_value_text(c, k, text, sizeof text);
	assert_string_equal(text, expected);
}

/* Every variable of the wire contract: its default as shown, a value, and how that shows. */
static const struct {
	const char *variable;
	enum cfg_key key;
	const char *def, *value, *shown;
} variables[] = {
	{"AGENT_LLM_POLLING_ENABLED", CFG_POLLING_ENABLED, "true", "No", "false"},
	{"AGENT_LLM_POLLING_INTERVAL", CFG_POLLING_INTERVAL, "180", "90", "90"},
	{"AGENT_LLM_POLLING_MAX_ATTEMPTS", CFG_POLLING_MAX_ATTEMPTS, "0", "7", "7"},
	{"JWT_SECRET", CFG_AUTH_JWT_SECRET, "", "a secret", "(secret)"},
	{"TAVILY_API_KEY", CFG_SEARCH_TAVILY_KEY, "", "tvly-1", "(secret)"},
	{"E2B_API_KEY", CFG_CODE_E2B_KEY, "", "e2b_1", "(secret)"},
	{"USE_CLOUD_LLM", CFG_CLOUD_ENABLED, "false", "TRUE", "true"},
	{"CLOUD_CHAT_UI_URL", CFG_CLOUD_URL, "https://api.openai.com/v1/chat/completions", "http://[::1]:9/v1",
         "http://[::1]:9/v1"},
	{"CLOUD_CHAT_UI_AUTH_TOKEN", CFG_CLOUD_TOKEN, "", "sk-1", "(secret)"},
	{"CLOUD_MODEL_NAME", CFG_CLOUD_MODEL, "meta-llama/Llama-3.3-70B-Instruct", "gpt", "gpt"},
	{"HTTPS_PROXY", CFG_PROXY_HTTPS, "", "proxy:3128", "(secret)"},
	{"HTTP_PROXY", CFG_PROXY_HTTP, "", "http://u:p@proxy:3128", "(secret)"},
	{"NO_PROXY", CFG_PROXY_EXCEPTIONS, "", "a.org,b.org", "a.org, b.org"},
	{"LLM_CONTAINER_NAME", CFG_CONTAINER_NAME, "", "box:7001", "box:7001"},
	{"HF_MODEL_PATH", CFG_LLM_HF_MODEL_PATH, "", "some/model", "some/model"},
	{"AGENT_BACKEND_URL", CFG_DISCOVERY_BACKEND_URL, "http://tt-studio-backend-api:8000", "http://b:1",
         "http://b:1"},
	{"LOCAL_LLM_HOST", CFG_LOCAL_HOST, "localhost", "10.0.0.1", "10.0.0.1"},
	{"LOCAL_LLM_PORT", CFG_LOCAL_PORT, "7000", "8001", "8001"},
	{"LOCAL_MODEL_NAME", CFG_LOCAL_MODEL, "llama-3.1-70b", "m", "m"},
	{"AGENT_AUTO_DISCOVERY", CFG_DISCOVERY_ENABLED, "true", "off", "false"},
	{"AGENT_DISCOVERY_CACHE_TTL", CFG_DISCOVERY_CACHE_TTL, "30", "0", "0"},
	{"AGENT_DISCOVERY_INTERVAL", CFG_DISCOVERY_INTERVAL, "60", "0.5", "0.5"},
	{"AGENT_HEALTH_CHECK_ENABLED", CFG_HEALTH_ENABLED, "true", "0", "false"},
	{"AGENT_HEALTH_CHECK_INTERVAL", CFG_HEALTH_INTERVAL, "30", " 45 ", "45"},
	{"AGENT_HEALTH_CHECK_TIMEOUT", CFG_HEALTH_TIMEOUT, "5", "1e1", "10"},
	{"AGENT_MAX_FAILURES", CFG_HEALTH_MAX_FAILURES, "3", "1", "1"},
	{"AGENT_FALLBACK_TO_LOCAL", CFG_LOCAL_ENABLED, "true", "False", "false"},
	{"AGENT_FALLBACK_TO_CLOUD", CFG_CLOUD_FALLBACK, "false", "yes", "true"},
	{"AGENT_PRIORITY_MODELS", CFG_SELECTION_PRIORITY_MODELS,
         "meta-llama/Llama-3.2-1B-Instruct, meta-llama/Llama-3.2-3B-Instruct, meta-llama/Llama-3.2-8B-Instruct, "
         "meta-llama/Llama-3.3-70B-Instruct, meta-llama/Llama-3.1-70B-Instruct",
         " a , b,,c ", "a, b, c"},
	{"AGENT_MODEL_TYPE_PRIORITY", CFG_SELECTION_MODEL_TYPES, "chat, completion, embedding, other", "vlm", "vlm"},
	{"AGENT_DYNAMIC_CONFIG", CFG_CONFIG_DYNAMIC, "true", "false", "false"},
	{"AGENT_CONFIG_REFRESH_INTERVAL", CFG_CONFIG_REFRESH_INTERVAL, "300", "10", "10"},
	{"AGENT_REFRESH_LLM_ON_CONFIG_CHANGE", CFG_CONFIG_REFRESH_LLM, "false", "1", "true"},
	{"AGENT_LOG_LEVEL", CFG_LOG_LEVEL, "INFO", "warning", "WARNING"},
	{"AGENT_LOG_FORMAT", CFG_LOG_FORMAT, "text", "JSON", "json"},
	{"AGENT_REDIS_PASSWORD", CFG_REDIS_PASSWORD, "", "a password", "(secret)"},
	{"AGENT_REDIS_SENTINEL_PASSWORD", CFG_REDIS_SENTINEL_PASSWORD, "", "a password", "(secret)"},
	{"AGENT_ACCESS_JWT_SECRET", CFG_ACCESS_JWT_SECRET, "", "a secret", "(secret)"},
	{"OTEL_EXPORTER_OTLP_ENDPOINT", CFG_TRACE_ENDPOINT, "", "http://c:4318", "http://c:4318"},
	{"OTEL_EXPORTER_OTLP_HEADERS", CFG_TRACE_HEADERS, "", "a=b", "(secret)"},
	{"OTEL_TRACES_SAMPLER_ARG", CFG_TRACE_SAMPLE, "1", "0.25", "0.25"},
	{"OTEL_SERVICE_NAME", CFG_TRACE_SERVICE, "tt-agent", "chat", "chat"},
	{"AGENT_DEBUG_MODE", CFG_LOG_DEBUG, "false", "on", "true"},
	{"TAVILY_BASE_URL", CFG_SEARCH_TAVILY_URL, "https://api.tavily.com", "http://t", "http://t"},
	{"SEARXNG_URL", CFG_SEARCH_SEARXNG_URL, "", "http://s/x", "http://s/x"},
	{"BRAVE_API_KEY", CFG_SEARCH_BRAVE_KEY, "", "b", "(secret)"},
	{"E2B_API_URL", CFG_CODE_E2B_URL, "", "http://e", "http://e"},
	{"E2B_DOMAIN", CFG_CODE_E2B_DOMAIN, "e2b.app", "e.dev", "e.dev"},
	{"E2B_SANDBOX_URL", CFG_CODE_E2B_SANDBOX_URL, "", "http://127.0.0.1:1", "http://127.0.0.1:1"},
	{"INTERNAL_PERSISTENT_STORAGE_VOLUME", CFG_AUTH_VOLUME, "", "/nonexistent", "/nonexistent"},
};

#define VARIABLES (sizeof variables / sizeof variables[0])

static void every_variable_counts(void **state)
{
	struct fixture *f = *state;
	char assignment[512], origin[128];

	for (size_t i = 0; i < VARIABLES; i++) {
		assert_true(fixture_load(f, NULL, NULL, NULL));
		text_is(f->config, variables[i].key, variables[i].def);
		assert_string_equal(cfg_origin(f->config, variables[i].key), "default");
		assert_false(cfg_is_set(f->config, variables[i].key));

		snprintf(assignment, sizeof assignment, "%s=%s", variables[i].variable, variables[i].value);
		assert_true(fixture_load_env(f, assignment));
		text_is(f->config, variables[i].key, variables[i].shown);
		snprintf(origin, sizeof origin, "environment %s", variables[i].variable);
		assert_string_equal(cfg_origin(f->config, variables[i].key), origin);
		assert_true(cfg_is_set(f->config, variables[i].key));
	}
}

static void an_empty_variable_is_unset(void **state)
{
	struct fixture *f = *state;
	char assignment[512];

	for (size_t i = 0; i < VARIABLES; i++) {
		snprintf(assignment, sizeof assignment, "%s=", variables[i].variable);
		assert_true(fixture_load_env(f, assignment));
		text_is(f->config, variables[i].key, variables[i].def);
		assert_false(cfg_is_set(f->config, variables[i].key));
	}
}

static void no_variable_of_the_table_is_untested(void **state)
{
	(void)state;
	for (unsigned k = 0; k < CFG_KEYS; k++) {
		const char *env = cfg_key_info((enum cfg_key)k)->env;
		bool found = env == NULL;

		for (size_t i = 0; i < VARIABLES && !found; i++)
			found = variables[i].key == k && strcmp(variables[i].variable, env) == 0;
		if (!found)
			fail_msg("%s is not tested", env);
	}
}

static void booleans_are_case_insensitive(void **state)
{
	static const char *const yes[] = {"true", "TRUE", "True", "1", "yes", "YES", "on", "On"};
	static const char *const no[] = {"false", "FALSE", "0", "no", "No", "off", "OFF"};
	struct fixture *f = *state;
	char assignment[64];

	for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
		snprintf(assignment, sizeof assignment, "USE_CLOUD_LLM=%s", yes[i]);
		assert_true(fixture_load_env(f, assignment));
		assert_true(cfg_bool(f->config, CFG_CLOUD_ENABLED));
	}
	for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
		snprintf(assignment, sizeof assignment, "AGENT_AUTO_DISCOVERY=%s", no[i]);
		assert_true(fixture_load_env(f, assignment));
		assert_false(cfg_bool(f->config, CFG_DISCOVERY_ENABLED));
	}
}

static void a_wrong_variable_is_reported(void **state)
{
	static const struct {
		const char *assignment, *what;
	} wrong[] = {
		{"AGENT_LLM_POLLING_INTERVAL=soon",
	         "soon is not a number; allowed: a number from 0.05 to 86400 seconds"},
		{"AGENT_LLM_POLLING_INTERVAL=0", "0 is out of range"},
		{"AGENT_LLM_POLLING_INTERVAL=-3", "-3 is out of range"},
		{"AGENT_LLM_POLLING_INTERVAL=5m", "5m is not a number"},
		{"AGENT_LLM_POLLING_INTERVAL=nan", "nan is not a number"},
		{"AGENT_LLM_POLLING_INTERVAL=inf", "inf is not a number"},
		{"AGENT_LLM_POLLING_INTERVAL=1e999", "1e999 is out of range"},
		{"AGENT_LLM_POLLING_INTERVAL=0x10", "0x10 is not a number"},
		{"AGENT_LLM_POLLING_INTERVAL=1 2", "1 2 is not a number"},
		{"AGENT_LLM_POLLING_MAX_ATTEMPTS=1.5", "1.5 is not a whole number"},
		{"AGENT_LLM_POLLING_MAX_ATTEMPTS=99999999999999999999", "is out of range"},
		{"AGENT_LLM_POLLING_MAX_ATTEMPTS=-1", "-1 is out of range; allowed: a whole number from 0 to 1000000"},
		{"AGENT_LLM_POLLING_MAX_ATTEMPTS=+-1", "is not a whole number"},
		{"LOCAL_LLM_PORT=65536", "65536 is out of range; allowed: a whole number from 1 to 65535"},
		{"USE_CLOUD_LLM=maybe", "maybe is neither true nor false"},
		{"USE_CLOUD_LLM=2", "2 is neither true nor false"},
		{"AGENT_LOG_LEVEL=LOUD", "LOUD is not a choice; allowed: DEBUG, INFO, WARNING, ERROR, CRITICAL"},
		{"AGENT_LOG_LEVEL=DEBUG|INFO", "is not a choice"},
		{"AGENT_LOG_FORMAT=yaml", "yaml is not a choice; allowed: text, json"},
		{"AGENT_BACKEND_URL=tt-studio-backend-api:8000", "is not a valid URL"},
		{"AGENT_BACKEND_URL=ftp://x", "is not a valid URL; allowed: an http:// or https:// URL"},
		{"AGENT_BACKEND_URL=http://", "is not a valid URL"},
		{"AGENT_BACKEND_URL=http://a b/", "is not a valid URL"},
		{"AGENT_BACKEND_URL=http://me:pass@x/", "contains a user name or password"},
		{"AGENT_BACKEND_URL=http://me:my#pass@x/", "the value is not a valid URL"},
		{"AGENT_BACKEND_URL=http://me:a pass@x/", "the value is not a valid URL"},
		{"JWT_SECRET=two\nlines", "contains a line break or another control character"},
		{"CLOUD_MODEL_NAME=\xff\xfe", "is not valid UTF-8"},
		{"AGENT_PRIORITY_MODELS=a,\x80", "is not valid UTF-8"},
	};
	struct fixture *f = *state;
	char where[128];

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_false(fixture_load_env(f, wrong[i].assignment));
		snprintf(where, sizeof where, "environment %.*s: ", (int)strcspn(wrong[i].assignment, "="),
		         wrong[i].assignment);
		if (!fixture_says(&f->report.errors, where, wrong[i].what))
			fail_msg("%s: %s", wrong[i].assignment, f->report.errors.data);
		assert_int_equal(fixture_lines(&f->report.errors), 1);
		assert_false(fixture_says(&f->report.errors, "", "pass@"));
	}
}

static void all_errors_come_at_once(void **state)
{
	struct fixture *f = *state;
	char one[] = "AGENT_MAX_FAILURES=none", two[] = "AGENT_LOG_LEVEL=x";
	char *environment[] = {one, two, NULL};
	const char *const sets[] = {"llm.top_p=7", "nonsense", "no.such=1", "llm.top_k=twenty", NULL};

	fixture_write(f, "main.conf", "polling: { interval = 0; };\nnothing = 1;\n");
	assert_false(fixture_load(f, f->main, environment, sets));
	assert_int_equal(fixture_lines(&f->report.errors), 8);
	assert_true(fixture_says(&f->report.errors, "--set llm.top_p: ", "7 is out of range"));
	assert_true(fixture_says(&f->report.errors, "--set nonsense: ", "no value"));
	assert_true(fixture_says(&f->report.errors, "--set no.such: ", "no such setting"));
	assert_true(fixture_says(&f->report.errors, "main.conf:1: ", "polling.interval: 0 is out of range"));
}

static void secrets_are_never_repeated(void **state)
{
	struct fixture *f = *state;

	assert_false(fixture_load_env(f, "JWT_SECRET=hush\001hush"));
	assert_null(strstr(f->report.errors.data, "hush"));
}

static void no_secret_is_taken_from_the_command_line(void **state)
{
	struct fixture *f = *state;
	unsigned secrets = 0;

	for (unsigned k = 0; k < CFG_KEYS; k++) {
		const struct cfg_key_info *info = cfg_key_info((enum cfg_key)k);
		char set[128], what[256];

		if (!info->secret)
			continue;
		secrets++;
		snprintf(what, sizeof what, "process list; set %s in the configuration file or %s in the environment",
		         info->path, info->env);
		snprintf(set, sizeof set, "%s=hush", secrets % 2 == 0 ? info->path : info->env);
		assert_false(fixture_load_set(f, set));
		assert_int_equal(fixture_lines(&f->report.errors), 1);
		assert_true(fixture_says(&f->report.errors, "--set ", what));
		assert_null(strstr(f->report.errors.data, "hush"));
		snprintf(set, sizeof set, "%s=", info->path); /* none is no secret */
		assert_true(fixture_load_set(f, set));
	}
	assert_true(secrets >= 5);
}

static void what_the_replaced_service_ran_with_only_warns(void **state)
{
	struct fixture *f = *state;
	char a[] = "USE_CLOUD_LLM=true", b[] = "CLOUD_CHAT_UI_AUTH_TOKEN=", c[] = "AGENT_HEALTH_CHECK_INTERVAL=5",
	     d[] = "AGENT_LLM_POLLING_TIMEOUT=9", e[] = "BACKEND_API_HOSTNAME=x", g[] = "JWT_SECRET=";
	char *environment[] = {a, b, c, d, e, g, NULL};

	assert_true(fixture_load(f, NULL, environment, NULL));
	assert_true(
		fixture_says(&f->report.warnings, "cloud.enabled (environment USE_CLOUD_LLM)", "without cloud.token"));
	assert_true(fixture_says(&f->report.warnings, "environment AGENT_HEALTH_CHECK_INTERVAL", "below 10 seconds"));
	assert_true(fixture_says(&f->report.warnings, "environment AGENT_LLM_POLLING_TIMEOUT", "unknown variable"));
	assert_true(fixture_says(&f->report.warnings, "auth.jwt_secret", "no authentication at all"));
	assert_int_equal(fixture_lines(&f->report.warnings), 4);
}

static void a_token_needs_no_warning(void **state)
{
	struct fixture *f = *state;

	assert_true(fixture_load_env(f, "JWT_SECRET=x"));
	assert_int_equal(f->report.warnings.len, 0);
}

static void the_placeholder_is_not_a_key(void **state)
{
	struct fixture *f = *state;

	assert_true(fixture_load_env(f, "TAVILY_API_KEY=tavily-api-key-not-configured"));
	assert_null(cfg_str(f->config, CFG_SEARCH_TAVILY_KEY));
}

static void a_source_overrides_those_before_it(void **state)
{
	struct fixture *f = *state;
	char a[] = "AGENT_LLM_POLLING_INTERVAL=20", b[] = "AGENT_MAX_FAILURES=4";
	char *environment[] = {a, b, NULL};
	const char *const sets[] = {"AGENT_MAX_FAILURES=5", "llm.stop=a,b", "cloud.model=", NULL};
	char origin[128];

	fixture_write(f, "main.conf",
	              "polling: { interval = 10; max_attempts = 3; };\nhealth: { max_failures = 2; };\n"
	              "cloud: { model = \"x\"; };\n");
	assert_true(fixture_load(f, f->main, environment, sets));
	assert_int_equal(cfg_int(f->config, CFG_POLLING_MAX_ATTEMPTS), 3);
	snprintf(origin, sizeof origin, "%s:1", f->main);
	assert_string_equal(cfg_origin(f->config, CFG_POLLING_MAX_ATTEMPTS), origin);
	assert_int_equal(cfg_ms(f->config, CFG_POLLING_INTERVAL), 20000);
	assert_int_equal(cfg_int(f->config, CFG_HEALTH_MAX_FAILURES), 5);
	assert_string_equal(cfg_origin(f->config, CFG_HEALTH_MAX_FAILURES), "command line");
	assert_int_equal(cfg_list(f->config, CFG_LLM_STOP)->count, 2);
	assert_string_equal(cfg_list(f->config, CFG_LLM_STOP)->items[1], "b");
	assert_string_equal(cfg_str(f->config, CFG_CLOUD_MODEL), "meta-llama/Llama-3.3-70B-Instruct");
}

/* threads.file, a path or memory, is the old form of threads.store. */
static void the_old_form_of_the_store_still_works(void **state)
{
	static const char *const contradiction[] = {"threads.file=/a", "threads.store=memory:", NULL};
	static const char *const agreement[] = {"threads.file=/a", "threads.store=sqlite:/a", NULL};
	static const char *const new_form[] = {"threads.store=sqlite:/b", NULL}, *const old_form[] = {"threads.file=/b",
	                                                                                              NULL};
	struct fixture *f = *state;

	assert_true(fixture_load_set(f, "threads.file=/x/threads.db"));
	assert_string_equal(cfg_str(f->config, CFG_THREADS_STORE), "sqlite:/x/threads.db");
	assert_string_equal(cfg_origin(f->config, CFG_THREADS_STORE), "command line");
	assert_false(cfg_is_set(f->config, CFG_THREADS_FILE));
	assert_true(fixture_says(&f->report.warnings,
	                         "threads.file (command line): ", "write threads.store = \"sqlite:/x/threads.db\""));
	assert_true(fixture_load_set(f, "threads.file=memory"));
	assert_string_equal(cfg_str(f->config, CFG_THREADS_STORE), "memory:");
	assert_true(fixture_load_text(f, "threads: { file = \"/x\"; };"));
	assert_string_equal(cfg_str(f->config, CFG_THREADS_STORE), "sqlite:/x");
	assert_true(fixture_load_text(f, "threads: { store = \"memory:\"; };"));
	assert_false(fixture_says(&f->report.warnings, "threads.file", ""));
	/* Both. */
	assert_false(fixture_load(f, NULL, NULL, contradiction));
	assert_true(fixture_says(&f->report.errors, "threads.file (command line): ",
	                         "contradicts threads.store (command line); remove threads.file"));
	assert_true(fixture_load(f, NULL, NULL, agreement));
	assert_true(fixture_says(&f->report.warnings, "threads.file (command line): ", "old form"));
	fixture_write(f, "main.conf", "threads: { file = \"/a\"; };\n");
	assert_true(fixture_load(f, f->main, NULL, new_form));
	assert_string_equal(cfg_str(f->config, CFG_THREADS_STORE), "sqlite:/b");
	assert_true(fixture_says(&f->report.warnings, ":1): ", "is overridden by threads.store (command line)"));
	fixture_write(f, "main.conf", "threads: { store = \"memory:\"; };\n");
	assert_true(fixture_load(f, f->main, NULL, old_form));
	assert_string_equal(cfg_str(f->config, CFG_THREADS_STORE), "sqlite:/b");
}

static void a_store_begins_with_its_kind(void **state)
{
	static const char *const wrong[] = {"threads.store=memory", "threads.store=/x", "threads.store=redsi://h"};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		assert_false(fixture_load_set(f, wrong[i]));
		assert_true(fixture_says(&f->report.errors, "--set threads.store: ",
		                         "begins with none of the choices; allowed: a string of up to 1024 bytes, "
		                         "beginning with one of these: sqlite:, memory:"));
	}
}

static void a_host_mapping_says_where_a_host_is(void **state)
{
	static const char *const wrong[] = {
		"c-one",
		"c-one=",
		"=127.0.0.1:8001",
		"c-one=127.0.0.1:",
		"c-one=127.0.0.1:0",
		"c-one=127.0.0.1:65536",
		"c-one=http://127.0.0.1:8001",
		"c-one=127.0.0.1:8001/v1",
		"c-one=user@host:8001",
		"c one=host:8001",
		"c-one=a=b",
		"c-one=::1",
		"c-one=a:1,C-ONE=b:2",
	};
	static const char *const right[] = {"c-one=127.0.0.1:8001", "c-one:7000=host", "c-one=[::1]:8001,c-one:1=h:2",
	                                    ""};
	struct fixture *f = *state;
	char set[100];

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		snprintf(set, sizeof set, "discovery.hosts=%s", wrong[i]);
		assert_false(fixture_load_set(f, set));
		assert_true(fixture_says(&f->report.errors, "--set discovery.hosts: ", "each NAME=HOST:PORT"));
	}
	for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
		snprintf(set, sizeof set, "discovery.hosts=%s", right[i]);
		assert_true(fixture_load_set(f, set));
	}
}

static void turns_are_given_by_name(void **state)
{
	static const char *const wrong[] = {"c-one", "c-one=", "=4", "c-one=0", "c-one=60001", "c-one=-4", "c-one=4x"};
	static const char *const right[] = {"c-one=4,c-two=60000", "org/model=v1=16", ""};
	struct fixture *f = *state;
	char set[100];

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		snprintf(set, sizeof set, "balance.capacities=%s", wrong[i]);
		assert_false(fixture_load_set(f, set));
		assert_true(fixture_says(&f->report.errors, "--set balance.capacities: ", "each NAME=TURNS"));
	}
	for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
		snprintf(set, sizeof set, "balance.capacities=%s", right[i]);
		assert_true(fixture_load_set(f, set));
	}
}

static void an_earlier_name_still_works(void **state)
{
	static const struct {
		const char *former, *name;
		enum cfg_key key;
	} renamed[] = {
		{"health.completion_interval", "health.canary_interval", CFG_HEALTH_CANARY_INTERVAL},
		{"health.completion_timeout", "health.canary_timeout", CFG_HEALTH_CANARY_TIMEOUT},
		{"search.bench", "search.cooldown", CFG_SEARCH_COOLDOWN},
		{"code.output_chars", "code.output_limit", CFG_CODE_OUTPUT_LIMIT},
	};
	struct fixture *f = *state;
	char text[128], what[128];

	for (size_t i = 0; i < sizeof renamed / sizeof renamed[0]; i++) {
		char where[160];

		snprintf(text, sizeof text, "%s=123", renamed[i].former);
		snprintf(what, sizeof what, "%s was renamed; write %s", renamed[i].former, renamed[i].name);
		assert_true(fixture_load_set(f, text));
		text_is(f->config, renamed[i].key, "123");
		assert_string_equal(cfg_key_info(renamed[i].key)->path, renamed[i].name);
		snprintf(where, sizeof where, "--set %s: ", renamed[i].former);
		assert_true(fixture_says(&f->report.warnings, where, what));

		snprintf(text, sizeof text, "%.*s: {\n %s = 123; };", (int)strcspn(renamed[i].former, "."),
		         renamed[i].former, strchr(renamed[i].former, '.') + 1);
		assert_true(fixture_load_text(f, text));
		text_is(f->config, renamed[i].key, "123");
		assert_true(fixture_says(&f->report.warnings, "main.conf:2: ", what));

		snprintf(text, sizeof text, "%s=123", renamed[i].name);
		assert_true(fixture_load_set(f, text));
		assert_false(fixture_says(&f->report.warnings, "", "was renamed"));
	}
	assert_false(fixture_load_text(f, "search: { bench = 1;\ncooldown = 2; };"));
	assert_true(fixture_says(&f->report.errors, "main.conf:2: ", "search.cooldown is set twice"));
}

static void a_prompt_may_be_empty(void **state)
{
	struct fixture *f = *state;

	assert_true(fixture_load_set(f, "prompts.plain="));
	assert_null(cfg_str(f->config, CFG_PROMPT_PLAIN));
	assert_true(fixture_load_set(f, "prompts.plain=two\nlines"));
	assert_string_equal(cfg_str(f->config, CFG_PROMPT_PLAIN), "two\nlines");
	assert_true(fixture_load_set(f, "http.prefixes="));
	assert_int_equal(cfg_list(f->config, CFG_HTTP_PREFIXES)->count, 0);
}

static void references_are_counted(void **state)
{
	struct fixture *f = *state;
	struct config *again;

	assert_true(fixture_load(f, NULL, NULL, NULL));
	again = config_ref(f->config);
	config_unref(again);
	assert_string_equal(cfg_str(f->config, CFG_LOCAL_HOST), "localhost");
	config_unref(NULL);
}

static void value_texts_are_cut_like_snprintf(void **state)
{
	struct fixture *f = *state;
	char small[4];

	assert_true(fixture_load(f, NULL, NULL, NULL));
	assert_int_equal(config_value_text(f->config, CFG_LOCAL_HOST, small, sizeof small), 9);
	assert_string_equal(small, "loc");
	assert_int_equal(config_value_text(f->config, CFG_LOCAL_HOST, NULL, 0), 9);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_variable_counts),
		TEST(an_empty_variable_is_unset),
		TEST(no_variable_of_the_table_is_untested),
		TEST(booleans_are_case_insensitive),
		TEST(a_wrong_variable_is_reported),
		TEST(all_errors_come_at_once),
		TEST(secrets_are_never_repeated),
		TEST(no_secret_is_taken_from_the_command_line),
		TEST(what_the_replaced_service_ran_with_only_warns),
		TEST(a_token_needs_no_warning),
		TEST(the_placeholder_is_not_a_key),
		TEST(the_old_form_of_the_store_still_works),
		TEST(a_store_begins_with_its_kind),
		TEST(a_source_overrides_those_before_it),
		TEST(a_host_mapping_says_where_a_host_is),
		TEST(turns_are_given_by_name),
		TEST(an_earlier_name_still_works),
		TEST(a_prompt_may_be_empty),
		TEST(references_are_counted),
		TEST(value_texts_are_cut_like_snprintf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
