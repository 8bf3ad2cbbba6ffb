/* SPDX-License-Identifier: Apache-2.0 */
/* Search services: their requests and what their answers mean. */
#include "core/tools/search_service.h"
#include "tests/unit/support/settings.h"

#include <stdlib.h>
#include <string.h>

static int parse(const struct search_service *s, const char *text, json_t **answer, struct search_hits *out,
                 struct err *e)
{
	memset(out, 0, sizeof *out);
	err_clear(e);
	*answer = json_loads(text, 0, NULL);
	assert_non_null(*answer);
	return s->parse(*answer, 3, out, e);
}

static void tavily_is_requested_as_recorded(void **state)
{
	struct config *c = SETTINGS("search.tavily_key=tvly-test");
	struct search_request r = {.method = NULL};

	(void)state;
	assert_true(search_service_enabled(&search_tavily, c));
	assert_false(search_service_enabled(&search_brave, c));
	assert_int_equal(search_tavily.request(c, "weather in Berlin", &r), 0);
	assert_string_equal(r.method, "POST");
	assert_string_equal(r.url, "https://api.tavily.com/search");
	assert_string_equal(r.bearer, "tvly-test");
	assert_string_equal(r.body,
	                    "{\"query\":\"weather in Berlin\",\"search_depth\":\"basic\",\"topic\":\"general\","
	                    "\"include_answer\":true,\"max_results\":3}");
	search_request_clear(&r);
	config_unref(c);
}

static void a_placeholder_is_not_a_key(void **state)
{
	struct config *c = SETTINGS("search.tavily_key=tavily-api-key-not-configured");

	(void)state;
	assert_false(search_service_enabled(&search_tavily, c));
	config_unref(c);
}

/* Each name that search.order allows, and no other, is that of a service. */
static void the_setting_names_the_services(void **state)
{
	const struct cfg_key_info *info = cfg_key_info(CFG_SEARCH_ORDER);
	struct config *c = SETTINGS("log.level=INFO");
	const struct cfg_list *order = cfg_list(c, CFG_SEARCH_ORDER);
	char choices[200] = "";

	(void)state;
	assert_int_equal(order->count, SEARCH_SERVICES_COUNT);
	for (size_t i = 0; i < SEARCH_SERVICES_COUNT; i++) {
		assert_string_equal(order->items[i], search_services[i]->name);
		strcat(strcat(choices, i == 0 ? "" : "|"), search_services[i]->name);
	}
	assert_string_equal(info->unit, choices);
	config_unref(c);
}

static void queries_are_encoded(void **state)
{
	struct config *c = SETTINGS("search.searxng_url=http://s:8080/");
	struct search_request r = {.method = NULL};

	(void)state;
	assert_int_equal(search_searxng.request(c, "a b&c=\xc3\xa4", &r), 0);
	assert_string_equal(r.url, "http://s:8080/search?q=a%20b%26c%3D%C3%A4&format=json");
	search_request_clear(&r);
	config_unref(c);
	c = SETTINGS("search.brave_key=k");
	assert_int_equal(search_brave.request(c, "a b", &r), 0);
	assert_string_equal(r.url, "https://api.search.brave.com/res/v1/web/search?q=a%20b&count=3");
	assert_string_equal(r.header, "X-Subscription-Token: k");
	search_request_clear(&r);
	config_unref(c);
}

static void answers_are_read(void **state)
{
	static const struct {
		const struct search_service *service;
		const char *answer;
	} cases[] = {
		{&search_tavily,
	         "{\"answer\":\"short\",\"results\":[{\"title\":\"t\",\"url\":\"u\",\"content\":\"c\"}, 7, null]}"},
		{&search_searxng,
	         "{\"answers\":[{\"answer\":\"short\"}],\"results\":[{\"title\":\"t\",\"url\":\"u\",\"content\":\"c\"}, 7, null]}"},
		{&search_brave,
	         "{\"web\":{\"results\":[{\"title\":\"t\",\"url\":\"u\",\"description\":\"c\"}, 7, null]}}"},
	};
	struct search_hits h;
	struct err e;
	json_t *answer;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(parse(cases[i].service, cases[i].answer, &answer, &h, &e), 0);
		assert_int_equal(h.count, 3);
		assert_string_equal(h.items[0].title, "t");
		assert_string_equal(h.items[0].url, "u");
		assert_string_equal(h.items[0].content, "c");
		assert_string_equal(h.items[1].url, ""); /* rubbish is empty, not a crash */
		json_decref(answer);
	}
}

/* As pages and PDFs have them: an excerpt may end there, the search has not failed. */
static void a_nul_in_an_excerpt_loses_no_result(void **state)
{
	static const char answer[] =
		"{\"results\":[{\"title\":\"t\",\"url\":\"http://u/\",\"content\":\"c\\u0000d\"}]}";
	struct config *c = SETTINGS("search.tavily_key=k");
	struct tool_result r = {.failed = false};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(search_service_result(&search_tavily, c, answer, sizeof answer - 1, &r, &e), 0);
	assert_non_null(strstr(r.text, "\"content\":\"c"));
	assert_int_equal(r.source_count, 1);
	tool_result_clear(&r);
	config_unref(c);
}

/* No hits because its engines did not answer is a failure, not "no hits". */
static void searxng_without_engines_failed(void **state)
{
	struct search_hits h;
	struct err e;
	json_t *answer;

	(void)state;
	assert_int_equal(parse(&search_searxng, "{\"results\":[],\"unresponsive_engines\":[[\"google\",\"timeout\"]]}",
	                       &answer, &h, &e),
	                 -1);
	assert_non_null(strstr(e.text, "google: timeout"));
	json_decref(answer);
	assert_int_equal(parse(&search_searxng, "{\"results\":[],\"unresponsive_engines\":[]}", &answer, &h, &e), 0);
	assert_int_equal(h.count, 0);
	json_decref(answer);
}

static void answers_of_another_shape_are_failures(void **state)
{
	const struct search_service *all[] = {&search_tavily, &search_searxng, &search_brave};
	const char *shapes[] = {"[]", "{\"results\":7}", "{\"results\":{}}"};
	struct search_hits h;
	struct err e;
	json_t *answer;

	(void)state;
	for (size_t i = 0; i < 2; i++)
		for (size_t s = 0; s < 3; s++) {
			assert_int_equal(parse(all[i], shapes[s], &answer, &h, &e), -1);
			json_decref(answer);
		}
	assert_int_equal(parse(&search_brave, "[]", &answer, &h, &e), -1);
	json_decref(answer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tavily_is_requested_as_recorded),
		cmocka_unit_test(a_placeholder_is_not_a_key),
		cmocka_unit_test(the_setting_names_the_services),
		cmocka_unit_test(queries_are_encoded),
		cmocka_unit_test(answers_are_read),
		cmocka_unit_test(a_nul_in_an_excerpt_loses_no_result),
		cmocka_unit_test(searxng_without_engines_failed),
		cmocka_unit_test(answers_of_another_shape_are_failures),
	};

	return cmocka_run_group_tests_name("search_service", tests, NULL, NULL);
}
