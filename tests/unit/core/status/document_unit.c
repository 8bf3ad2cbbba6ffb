/* SPDX-License-Identifier: Apache-2.0 */
/* The documents against the recorded answers (tests/data/golden): same keys in the same
 * order, same values, but where golden/README.md says that ours differ. */
#include "tests/unit/support/settings.h"

#include "core/base/buf.h"
#include "core/llm/deployments.h"
#include "core/llm/select.h"
#include "core/llm/quirks.h"
#include "core/status/document.h"
#include "core/tools/tool.h"

#include <stdlib.h>
#include <string.h>

#define TAVILY       "search.tavily_key=tvly-test"
#define NO_DOCUMENTS "documents.enabled=false" /* an older backend has no search in them */
#define HOST_1       "host-1:7001"
#define HOST_2       "host-2:7002"
#define HOST_3       "host-3:7003"

/* --- recorded answers ------------------------------------------------------------------ */

static json_t *golden_file(const char *scenario)
{
	const char *srcdir = getenv("srcdir") != NULL ? getenv("srcdir") : ".";
	struct buf path = BUF_INIT(4096);
	json_error_t je;
	json_t *file;

	buf_addf(&path, "%s/tests/data/golden/%s.json", srcdir, scenario);
	file = json_load_file(path.data, 0, &je);
	if (file == NULL)
		fail_msg("%s: %s", path.data, je.text);
	buf_free(&path);
	return file;
}

/* text with every `from` replaced by `to` */
static void replace(struct buf *text, const char *from, const char *to)
{
	struct buf out = BUF_INIT(1u << 20);
	const char *at = text->data, *hit;

	while ((hit = strstr(at, from)) != NULL) {
		buf_add(&out, at, (size_t)(hit - at));
		buf_adds(&out, to);
		at = hit + strlen(from);
	}
	buf_adds(&out, at);
	buf_free(text);
	*text = out;
}

/* The body as one compact line, placeholders filled in, which is how ours must look. */
static void golden(const char *scenario, const char *answer, struct buf *line)
{
	json_t *file = golden_file(scenario);
	json_t *body = json_object_get(json_object_get(json_object_get(file, "answers"), answer), "json");
	char *dump = json_dumps(body, JSON_COMPACT);

	assert_non_null(dump);
	buf_init(line, 1u << 20);
	buf_adds(line, dump);
	replace(line, "<host 1>", HOST_1);
	replace(line, "<host 2>", HOST_2);
	replace(line, "localhost:<port 1>", HOST_1);
	free(dump);
	json_decref(file);
}

/* --- views ------------------------------------------------------------------------------- */

struct scene {
	struct config *config;
	struct llm_list list;
	size_t order[8];
	const char **tools;
	struct status_view view;
};

static void scene_select(struct scene *s)
{
	size_t count;

	free(s->tools);
	s->tools = toolbox_names(s->config, &count);
	s->view.config = s->config;
	s->view.tools = s->tools;
	s->view.document_search = tool_document_search.available(s->config);
	s->view.web_search = tool_web_search.available(s->config);
	s->view.llms = s->list.items;
	s->view.llm_count = s->list.count;
	s->view.order = s->order;
	s->view.order_count =
		select_order(s->list.items, s->list.count, s->config, NULL, s->order, &s->view.usable_count);
}

static void scene_discovered(struct scene *s, const char *deployments, const enum llm_health *health)
{
	struct err e = ERR_INIT;

	assert_int_equal(deployments_parse(deployments, strlen(deployments), s->config, &s->list, NULL, NULL, &e), 0);
	for (size_t i = 0; i < s->list.count; i++)
		s->list.items[i].health = health[i];
	scene_select(s);
}

/* One LLM that the configuration names. */
static void scene_one(struct scene *s, int (*make)(const struct config *, struct llm *, struct err *))
{
	struct err e = ERR_INIT;

	s->list.items = calloc(1, sizeof *s->list.items);
	s->list.count = 1;
	if (make(s->config, &s->list.items[0], &e) != 0)
		fail_msg("%s", e.text);
	s->list.items[0].health = LLM_HEALTHY;
	scene_select(s);
}

static void scene_end(struct scene *s)
{
	llm_list_clear(&s->list);
	free(s->tools);
	config_unref(s->config);
}

#define ENTRY(id, host, path, name, tools)                                                                             \
	"\"" id "\":{\"name\":\"c-" id "\",\"internal_url\":\"" host path "\",\"health_url\":\"" host                  \
	"/health\",\"tool_calling_enabled\":" tools ",\"model_impl\":{\"model_name\":\"" name                          \
	"\",\"model_type\":\"chat\",\"hf_model_id\":\"meta-llama/" name "\"}}"
#define CHAT "/v1/chat/completions"
#define D1   ENTRY("d1", HOST_1, CHAT, "Llama-3.1-8B-Instruct", "true")

static void assert_document(char *ours, size_t len, struct buf *expected)
{
	assert_non_null(ours);
	assert_int_equal(strlen(ours), len);
	assert_string_equal(ours, expected->data);
	free(ours);
	buf_free(expected);
}

static void expect_root(const struct scene *s, const char *scenario, const char *from, const char *to)
{
	struct buf expected;
	size_t len;
	char *ours = document_root(&s->view, &len);

	golden(scenario, "root", &expected);
	if (from != NULL) {
		assert_non_null(strstr(expected.data, from));
		replace(&expected, from, to);
	}
	assert_document(ours, len, &expected);
}

static void expect_status(const struct scene *s, const char *scenario, const char *from, const char *to)
{
	struct buf expected;
	size_t len;
	char *ours = document_status(&s->view, &len);

	golden(scenario, "status", &expected);
	if (from != NULL) {
		assert_non_null(strstr(expected.data, from));
		replace(&expected, from, to);
	}
	assert_document(ours, len, &expected);
}

/* --- tests -------------------------------------------------------------------------------- */

static void no_llm(void **state)
{
	static const struct {
		const char *scenario, *set, *next_poll;
		uint64_t attempts;
		bool exhausted;
	} cases[] = {
		{"none", "log.level=INFO", "Will retry every 3 minutes", 1, false},
		{"poll_60", "polling.interval=60", "Will retry every 1 minute", 1, false},
		{"poll_90", "polling.interval=90", "Will retry every 90 seconds", 1, false},
		{"polling_off", "polling.enabled=false", "LLM polling is disabled", 1, false},
		{"none", "polling.interval=1", "Will retry every 1 second", 1, false},
		{"none", "polling.interval=0.5", "Will retry every 0.5 seconds", 1, false},
		{"none", "polling.interval=3600", "Will retry every 60 minutes", 1, false},
		{"none", "polling.max_attempts=3", "Stopped after 3 attempts", 3, true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct scene s = {.config = SETTINGS(TAVILY, NO_DOCUMENTS, cases[i].set)};
		char text[96];

		scene_select(&s);
		s.view.polling = (struct status_polling){cases[i].attempts, cases[i].exhausted};
		expect_root(&s, cases[i].scenario, "Will retry every 3 minutes", cases[i].next_poll);
		expect_status(&s, cases[i].scenario, "Will retry every 3 minutes", cases[i].next_poll);
		document_next_poll(&s.view, text, sizeof text);
		assert_string_equal(text, cases[i].next_poll);
		scene_end(&s);
	}
}

#define RECORDED_CHECK "\"last_health_check\":0,\"current_llm\":null"

static void one_llm(void **state)
{
	struct scene s = {.config = SETTINGS(TAVILY, NO_DOCUMENTS)};

	(void)state;
	scene_discovered(&s, "{" D1 "}", (const enum llm_health[]){LLM_HEALTHY});
	s.list.items[0].checked_ms = 1795370000500;
	expect_root(&s, "one", RECORDED_CHECK,
	            "\"last_health_check\":1795370000.5,\"current_llm\":\"Llama-3.1-8B-Instruct\"");
	expect_status(&s, "one", NULL, NULL);
	scene_end(&s);
}

/* Healthy, degraded, and one unhealthy, which the recorded service did not list. */
static void many_llms(void **state)
{
	struct scene s = {.config = SETTINGS(TAVILY, NO_DOCUMENTS)};
	struct buf expected;
	size_t len;
	char *ours;

	(void)state;
	scene_discovered(&s,
	                 "{" D1 "," ENTRY("d2", HOST_2, CHAT, "Qwen3-8B", "true") "," ENTRY(
				 "d3", HOST_3, CHAT, "Sick", "true") ",\"d4\":\"malformed\"}",
	                 (const enum llm_health[]){LLM_HEALTHY, LLM_DEGRADED, LLM_UNHEALTHY});
	golden("many", "status", &expected);
	replace(&expected, "\"total_llms\":2", "\"total_llms\":3");
	replace(&expected, "\"unhealthy\":0", "\"unhealthy\":1");
	replace(&expected, "\"internal_url\":\"" HOST_2 CHAT "\"}]",
	        "\"internal_url\":\"" HOST_2 CHAT
	        "\"},{\"deploy_id\":\"d3\",\"model_name\":\"Sick\","
	        "\"status\":\"unhealthy\",\"internal_url\":\"" HOST_3 CHAT "\"}]");
	replace(&expected, "\"status\":\"degraded\",\"is_current\":false}]",
	        "\"status\":\"degraded\",\"is_current\":false},{\"deploy_id\":\"d3\",\"model_name\":\"Sick\","
	        "\"model_type\":\"chat\",\"container_name\":\"c-d3\",\"internal_url\":\"" HOST_3 CHAT
	        "\",\"health_url\":\"" HOST_3 "/health\",\"status\":\"unhealthy\",\"is_current\":false}]");
	ours = document_status(&s.view, &len);
	assert_document(ours, len, &expected);
	scene_end(&s);
}

static void cloud(void **state)
{
	struct scene s = {.config = SETTINGS(TAVILY, NO_DOCUMENTS, "cloud.enabled=true", "cloud.token=cloud-token",
	                                     "cloud.url=http://" HOST_1 CHAT)};

	(void)state;
	scene_one(&s, llm_cloud);
	expect_root(&s, "cloud", NULL, NULL);
	expect_status(&s, "cloud", NULL, NULL);
	scene_end(&s);
}

static void container(void **state)
{
	struct scene s = {.config = SETTINGS(TAVILY, NO_DOCUMENTS, "container.name=" HOST_1, "llm.model=some/model")};

	(void)state;
	scene_one(&s, llm_container);
	s.list.items[0].failures = 1;
	expect_status(&s, "container", "http://" HOST_1, "http://" HOST_1 CHAT);
	{
		struct buf expected;
		size_t len;
		char *ours = document_root(&s.view, &len);

		golden("container", "root", &expected);
		replace(&expected, "Container: http://" HOST_1, "Container: http://" HOST_1 CHAT);
		replace(&expected, RECORDED_CHECK, "\"last_health_check\":0,\"current_llm\":\"some/model\"");
		assert_document(ours, len, &expected);
	}
	scene_end(&s);
}

static void local(void **state)
{
	struct scene s = {.config = SETTINGS(TAVILY, NO_DOCUMENTS, "local.host=host-1", "local.port=7001",
	                                     "llm.model=some/model")};

	(void)state;
	scene_one(&s, llm_local);
	expect_root(&s, "local", RECORDED_CHECK, "\"last_health_check\":0,\"current_llm\":\"some/model\"");
	expect_status(&s, "local", NULL, NULL);
	scene_end(&s);
}

/* The recorded service claimed tools where none can be used. */
static void completions_url(void **state)
{
	struct scene s = {.config = SETTINGS(TAVILY, NO_DOCUMENTS)};

	(void)state;
	scene_discovered(&s, "{" ENTRY("d1", HOST_1, "/v1/completions", "Base-Model", "false") "}",
	                 (const enum llm_health[]){LLM_HEALTHY});
	expect_status(&s, "completions",
	              "\"tools\":[\"tavily_search_results_json\"],\"capabilities\":{\"web_search\":true,"
	              "\"tool_calling\":true}",
	              "\"tools\":[],\"capabilities\":{\"web_search\":false,\"tool_calling\":false}");
	expect_root(&s, "completions", RECORDED_CHECK, "\"last_health_check\":0,\"current_llm\":\"Base-Model\"");
	scene_end(&s);
}

static void no_snapshot_is_no_llm(void **state)
{
	struct scene s = {.config = SETTINGS(TAVILY, NO_DOCUMENTS)};
	size_t len;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct buf expected;
		char *ours = i == 0 ? document_root_initializing(&len) : document_status_initializing(&len);

		golden("none", i == 0 ? "root" : "status", &expected);
		assert_document(ours, len, &expected);
	}
	scene_end(&s);
}

static void only_unhealthy_llms_are_no_llm(void **state)
{
	struct scene s = {.config = SETTINGS(TAVILY, NO_DOCUMENTS)};

	(void)state;
	scene_discovered(&s, "{" D1 "}", (const enum llm_health[]){LLM_UNHEALTHY});
	expect_root(&s, "none", NULL, NULL);
	expect_status(&s, "none", NULL, NULL);
	scene_end(&s);
}

static const char *member(const json_t *j, const char *list, size_t i, const char *name)
{
	return json_string_value(json_object_get(json_array_get(json_object_get(j, list), i), name));
}

static void odd_names_come_through(void **state)
{
	static const char *const names[] = {"a\"b\\c/d\n\t\x01", "Gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80", "bad \xff\xc3",
	                                    "\"llms\":[]", ""};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct scene s = {.config = SETTINGS(TAVILY, NO_DOCUMENTS)};
		json_t *j, *root;
		size_t len;
		char *ours;

		scene_discovered(&s, "{" D1 "}", (const enum llm_health[]){LLM_HEALTHY});
		free(s.list.items[0].model_name);
		s.list.items[0].model_name = strdup(names[i]);
		ours = document_status(&s.view, &len);
		assert_int_equal(strlen(ours), len);
		j = json_loads(ours, JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(j);
		assert_string_equal(member(j, "available_models", 0, "model_name"), i == 2 ? "bad ??" : names[i]);
		assert_string_equal(member(json_object_get(j, "discovery_summary"), "llms", 0, "model_name"),
		                    i == 2 ? "bad ??" : names[i]);
		free(ours);
		ours = document_root(&s.view, &len);
		root = json_loads(ours, JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(root);
		assert_true(json_equal(json_object_get(root, "discovery_summary"),
		                       json_object_get(j, "discovery_summary")));
		free(ours);
		json_decref(root);
		json_decref(j);
		scene_end(&s);
	}
}

static void the_ejected_are_shown(void **state)
{
	struct scene s = {.config = SETTINGS(TAVILY, NO_DOCUMENTS)};
	json_t *j, *entry;
	char *ours;

	(void)state;
	scene_discovered(&s, "{" D1 "," ENTRY("d2", HOST_2, CHAT, "Qwen3-8B", "true") "}",
	                 (const enum llm_health[]){LLM_HEALTHY, LLM_HEALTHY});
	s.list.items[1].ejected_since_ms = 1500;
	s.list.items[1].ejected_until_ms = 11500;
	s.list.items[1].reason = strdup("a chat turn failed: reset");
	ours = document_status(&s.view, NULL);
	j = json_loads(ours, 0, NULL);
	assert_null(json_object_get(json_array_get(json_object_get(j, "available_models"), 0), "ejected_since"));
	entry = json_array_get(json_object_get(j, "available_models"), 1);
	assert_true(json_number_value(json_object_get(entry, "ejected_since")) == 1.5);
	assert_true(json_number_value(json_object_get(entry, "ejected_until")) == 11.5);
	assert_string_equal(json_string_value(json_object_get(entry, "ejected_reason")), "a chat turn failed: reset");
	assert_int_equal(json_array_size(json_object_get(j, "ejected")), 1);
	assert_string_equal(member(j, "ejected", 0, "deploy_id"), "d2");
	free(ours);
	json_decref(j);
	scene_end(&s);
}

static void assert_last(char *doc, const char *tail)
{
	size_t len = strlen(doc), tail_len = strlen(tail);

	assert_true(len > tail_len);
	assert_string_equal(doc + len - tail_len, tail);
	free(doc);
}

static void the_generation_is_at_the_end(void **state)
{
	struct scene s = {.config = SETTINGS(TAVILY, NO_DOCUMENTS)};

	(void)state;
	scene_discovered(&s, "{" D1 "," ENTRY("d2", HOST_2, CHAT, "Qwen3-8B", "true") "}",
	                 (const enum llm_health[]){LLM_HEALTHY, LLM_HEALTHY});
	s.list.items[1].ejected_until_ms = 11500;
	s.view.generation = 4711;
	assert_last(document_root(&s.view, NULL), ",\"generation\":4711}");
	assert_last(document_status(&s.view, NULL), "],\"generation\":4711}");
	s.view.llm_count = s.view.order_count = s.view.usable_count = 0; /* initializing */
	assert_last(document_root(&s.view, NULL), ",\"generation\":4711}");
	assert_last(document_status(&s.view, NULL), ",\"generation\":4711}");
	scene_end(&s);
}

static void health_of_the_current_one(void **state)
{
	static const struct {
		const char *set;
		unsigned failures;
		const char *part;
	} cases[] = {
		{"health.max_failures=3", 0, "\"failure_count\":0,"},
		{"health.max_failures=3", 0, "\"health_status\":\"healthy\""},
		{"health.max_failures=3", 2, "\"failure_count\":2,"},
		{"health.max_failures=3", 2, "\"health_status\":\"degraded\""},
		{"health.max_failures=3", 3, "\"health_status\":\"unhealthy\""},
		{"health.enabled=false", 0, "\"health_monitoring\":\"N/A\""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct scene s = {.config = SETTINGS(cases[i].set, NO_DOCUMENTS)};
		char *ours;

		scene_discovered(&s, "{" D1 "}", (const enum llm_health[]){LLM_HEALTHY});
		s.list.items[0].failures = cases[i].failures;
		ours = document_root(&s.view, NULL);
		assert_non_null(strstr(ours, cases[i].part));
		free(ours);
		scene_end(&s);
	}
}

static void tools_that_can_be_used(void **state)
{
	static const char search[] =
		"\"tools\":[\"tavily_search_results_json\"],"
		"\"capabilities\":{\"web_search\":true,\"tool_calling\":true}",
			  code[] = "\"tools\":[\"code_interpreter\"],"
				   "\"capabilities\":{\"web_search\":false,\"tool_calling\":true}",
			  not_configured[] =
				  "\"tools\":[],\"capabilities\":{\"web_search\":false,\"tool_calling\":true}",
			  not_offered[] = "\"tools\":[],\"capabilities\":{\"web_search\":false,\"tool_calling\":false}";
	static const struct {
		const char *set;
		enum llm_kind kind;
		enum llm_tools tools;
		const char *part;
	} cases[] = {
		{TAVILY, LLM_DISCOVERED, LLM_TOOLS_YES, search},
		{TAVILY, LLM_DISCOVERED, LLM_TOOLS_NO, not_offered},
		{TAVILY, LLM_DISCOVERED, LLM_TOOLS_UNKNOWN, not_offered},
		{TAVILY, LLM_CLOUD, LLM_TOOLS_UNKNOWN, search},
		{TAVILY, LLM_LOCAL, LLM_TOOLS_NO, not_offered},
		{"search.searxng_url=http://s:8080", LLM_CONTAINER, LLM_TOOLS_UNKNOWN, search},
		{"search.brave_key=k", LLM_LOCAL, LLM_TOOLS_UNKNOWN, search},
		{"search.tavily_key=tavily-api-key-not-configured", LLM_CLOUD, LLM_TOOLS_UNKNOWN, not_configured},
		{"code.e2b_key=k", LLM_CLOUD, LLM_TOOLS_UNKNOWN, code},
		{"code.e2b_key=k", LLM_DISCOVERED, LLM_TOOLS_NO, not_offered},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct llm l = {.kind = cases[i].kind, .tools = cases[i].tools, .health = LLM_HEALTHY};
		struct scene s = {.config = SETTINGS(cases[i].set, NO_DOCUMENTS), .list = {.items = &l, .count = 1}};
		char *status;

		scene_select(&s);
		s.view.order_count = s.view.usable_count = 1;
		status = document_status(&s.view, NULL);
		assert_non_null(strstr(status, cases[i].part));
		free(status);
		free(s.tools);
		config_unref(s.config);
	}
}

/* Where the backend has no search in documents, /status is as TT-Studio before had it. */
static void a_search_in_documents_is_shown_where_there_is_one(void **state)
{
	static const struct {
		enum llm_tools tools;
		const char *part;
	} cases[] = {
		{LLM_TOOLS_YES,
	         "\"tools\":[\"document_search\"],\"capabilities\":{\"web_search\":false,\"tool_calling\":true,"
	         "\"document_search\":true}"},
		{LLM_TOOLS_NO,
	         "\"tools\":[],\"capabilities\":{\"web_search\":false,\"tool_calling\":false,"
	         "\"document_search\":false}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct llm l = {.kind = LLM_DISCOVERED, .tools = cases[i].tools, .health = LLM_HEALTHY};
		struct scene s = {.config = SETTINGS("documents.enabled=true"), .list = {.items = &l, .count = 1}};
		char *status;

		scene_select(&s);
		s.view.order_count = s.view.usable_count = 1;
		status = document_status(&s.view, NULL);
		assert_non_null(strstr(status, cases[i].part));
		free(status);
		free(s.tools);
		config_unref(s.config);
	}
}

static void answers_to_commands(void **state)
{
	static const struct {
		const char *answer, *part;
	} cases[] = {
		{"select_unknown", "available_models"},
		{"select", "model_info"},
		{"refresh", "available_models"},
		{"refresh_config", "current_config"},
	};
	struct scene s = {.config = SETTINGS(TAVILY, NO_DOCUMENTS)};
	const struct llm *l;

	(void)state;
	scene_discovered(&s, "{" D1 "}", (const enum llm_health[]){LLM_HEALTHY});
	l = &s.list.items[0];
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		json_t *ours[] = {json_pack("[o]", document_model_id(l)), document_model_info(l),
		                  json_pack("[o]", document_model_brief(l)), document_current_config(s.config)};
		struct buf expected;
		json_t *added = json_object_get(json_array_get(ours[2], 0), "deploy_id");
		char *line;

		assert_string_equal(json_string_value(added), "d1"); /* at the end, after what was recorded */
		json_object_del(json_array_get(ours[2], 0), "deploy_id");
		line = document_text(ours[i], NULL);
		golden("one", cases[i].answer, &expected);
		assert_non_null(strstr(expected.data, cases[i].part));
		assert_non_null(strstr(expected.data, line));
		free(line);
		buf_free(&expected);
		for (size_t j = 0; j < 4; j++)
			json_decref(ours[j]);
	}
	scene_end(&s);
}

static void stale_says_since_when_and_why(void **state)
{
	size_t len;
	char *ours = document_stale("{\"a\":1}", 7, 1795370000500, "can't \"open\"", &len);

	(void)state;
	assert_string_equal(ours,
	                    "{\"a\":1,\"stale\":true,\"stale_since\":1795370000.5,\"stale_reason\":"
	                    "\"can't \\\"open\\\"\"}");
	assert_int_equal(len, strlen(ours));
	free(ours);
}

static void texts_that_are_not_utf8(void **state)
{
	struct llm l = {.kind = LLM_DISCOVERED,
	                .model_name = strdup("b\xff\x01"
	                                     "d")};
	json_t *doc = document_model_id(&l);
	char *line = document_text(doc, NULL);

	(void)state;
	assert_string_equal(line, "{\"deploy_id\":null,\"model_name\":\"b?\\u0001d\",\"status\":\"unknown\"}");
	free(line);
	json_decref(doc);
	llm_clear(&l);
}

static void models_show_what_the_table_says(void **state)
{
	struct llm llms[] = {
		{.kind = LLM_LOCAL, .latency_ms = -1, .instance = 1},
		{.kind = LLM_DISCOVERED,
	         .health = LLM_DEGRADED,
	         .tools = LLM_TOOLS_NO,
	         .failures = 2,
	         .context_length = 8192,
	         .checked_ms = 1795370000500,
	         .latency_ms = 7,
	         .ejected_since_ms = 1795370001000,
	         .ejected_until_ms = 1795370002000,
	         .instance = 3,
	         .quirks = QUIRK_BIT(QUIRK_TOOLS),
	         .max_tokens = 512,
	         .deploy_id = (char[]){"d1"},
	         .container_name = (char[]){"c1"},
	         .model_name = (char[]){"Ll\xff"},
	         .reason = (char[]){"slow"},
	         .url = (char[]){"http://h/v1/chat/completions"},
	         .model = (char[]){"m"}},
	};
	size_t order[] = {1};
	struct status_view view = {.llms = llms,
	                           .llm_count = 2,
	                           .order = order,
	                           .order_count = 1,
	                           .usable_count = 1,
	                           .pinned = "d1",
	                           .generation = 9};
	json_t *doc = document_models(&view);
	char *line = document_text(doc, NULL);

	(void)state;
	assert_string_equal(
		line,
		"{\"generation\":9,\"models\":[{\"rank\":0,\"current\":true,\"pinned\":true,\"deploy_id\":\"d1\","
		"\"model_name\":\"Ll?\",\"model_type\":null,\"container_name\":\"c1\",\"kind\":\"discovered\","
		"\"status\":\"degraded\",\"reason\":\"slow\",\"url\":\"http://h/v1/chat/completions\","
		"\"model\":\"m\",\"tools\":false,\"context_length\":8192,\"failures\":2,\"checked\":1795370000.5,"
		"\"latency_ms\":7,\"ejected_since\":1795370001.0,\"ejected_until\":1795370002.0,\"instance\":3,\"quirks\":[\"no tools\",\"max_tokens 512\"]},"
		"{\"rank\":null,\"current\":false,\"pinned\":false,\"deploy_id\":null,\"model_name\":\"Unknown\","
		"\"model_type\":null,\"container_name\":null,\"kind\":\"local\",\"status\":\"unknown\","
		"\"reason\":null,\"url\":null,\"model\":null,\"tools\":null,\"context_length\":0,\"failures\":0,"
		"\"checked\":null,\"latency_ms\":-1,\"ejected_since\":null,\"ejected_until\":null,"
		"\"instance\":1,\"quirks\":[]}]}");
	free(line);
	json_decref(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_llm),
		cmocka_unit_test(one_llm),
		cmocka_unit_test(many_llms),
		cmocka_unit_test(cloud),
		cmocka_unit_test(container),
		cmocka_unit_test(local),
		cmocka_unit_test(completions_url),
		cmocka_unit_test(no_snapshot_is_no_llm),
		cmocka_unit_test(only_unhealthy_llms_are_no_llm),
		cmocka_unit_test(odd_names_come_through),
		cmocka_unit_test(the_ejected_are_shown),
		cmocka_unit_test(the_generation_is_at_the_end),
		cmocka_unit_test(health_of_the_current_one),
		cmocka_unit_test(tools_that_can_be_used),
		cmocka_unit_test(a_search_in_documents_is_shown_where_there_is_one),
		cmocka_unit_test(answers_to_commands),
		cmocka_unit_test(stale_says_since_when_and_why),
		cmocka_unit_test(texts_that_are_not_utf8),
		cmocka_unit_test(models_show_what_the_table_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
