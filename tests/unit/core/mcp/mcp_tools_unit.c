/* SPDX-License-Identifier: Apache-2.0 */
/* What is offered of the tools that MCP servers list. */
#include "core/mcp/mcp_tools.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define LONG50 "a123456789b123456789c123456789d123456789e123456789"

static void names_fit_the_api_and_stay_the_same(void **state)
{
	static const struct {
		const char *server, *tool, *name;
	} cases[] = {
		{"docs", "search", "docs__search"},
		{"docs", "get-it_2", "docs__get-it_2"},
		{"docs", "a.b", NULL},
		{"docs", "a b", NULL},
		{"docs", LONG50 "0123456", NULL},
		{"docs", LONG50 LONG50, NULL},
		{"docs", "größe", NULL},
	};
	char name[MCP_TOOLS_NAME_MAX + 1], again[MCP_TOOLS_NAME_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		mcp_tools_name(cases[i].server, cases[i].tool, name);
		mcp_tools_name(cases[i].server, cases[i].tool, again);
		assert_string_equal(name, again);
		assert_in_range(strlen(name), 1, MCP_TOOLS_NAME_MAX);
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"),
		                 strlen(name));
		assert_int_equal(mcp_tools_server_of(name), strlen("docs"));
		if (cases[i].name != NULL)
			assert_string_equal(name, cases[i].name);
		for (size_t k = 0; k < i; k++) {
			mcp_tools_name(cases[k].server, cases[k].tool, again);
			assert_string_not_equal(name, again);
		}
	}
	assert_int_equal(mcp_tools_server_of("web_search"), 0);
}

struct left_out {
	size_t count;
	char text[2000];
};

static void on_left_out(void *arg, const char *name, const char *why)
{
	struct left_out *l = arg;

	if (l->count++ < 10)
		strcat(strcat(strcat(strcat(l->text, name), ": "), why), "\n");
}

static size_t add(json_t *to, const char *server, const char *tools, struct left_out *l)
{
	json_t *settings = json_loads(server, 0, NULL), *list = json_loads(tools, 0, NULL);
	struct mcp_target t;
	struct err e = ERR_INIT;
	size_t count;

	assert_non_null(settings);
	assert_non_null(list);
	assert_int_equal(mcp_target_init(&t, settings, &e), 0);
	*l = (struct left_out){.count = 0};
	count = mcp_tools_add(to, &t, list, on_left_out, l);
	mcp_target_clear(&t);
	json_decref(settings);
	json_decref(list);
	return count;
}

static void what_cannot_be_offered_is_left_out_alone(void **state)
{
	json_t *all = json_array();
	struct left_out l;

	(void)state;
	assert_int_equal(
		add(all, "{\"name\":\"docs\",\"url\":\"http://x\"}",
	            "[{\"name\":\"good\",\"inputSchema\":{\"type\":\"object\",\"properties\":{},\"$defs\":{\"a\":{\"$ref\":"
	            "\"http://127.0.0.1:9/schema\"}}}},7,null,{},{\"name\":\"\"},{\"name\":\"good\"},{\"name\":\"bare\"},"
	            "{\"name\":\"odd\",\"inputSchema\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"number\","
	            "\"x-mcp-header\":\"A\"}}}},{\"name\":\"flat\",\"inputSchema\":\"string\",\"description\":7}]",
	            &l),
		3);
	assert_int_equal(l.count, 6);
	assert_non_null(strstr(l.text, "good: another tool has this name\n"));
	assert_non_null(strstr(l.text, "odd: an x-mcp-header is at a parameter"));
	assert_string_equal(json_string_value(json_object_get(json_array_get(all, 0), "name")), "docs__good");
	/* Passed on as it is; nothing is fetched. */
	assert_non_null(json_object_get(json_object_get(json_array_get(all, 0), "parameters"), "$defs"));
	for (size_t i = 0; i < json_array_size(all); i++)
		assert_string_equal(json_string_value(json_object_get(
					    json_object_get(json_array_get(all, i), "parameters"), "type")),
		                    "object");
	json_decref(all);
}

static void only_tools_that_are_wanted_are_offered(void **state)
{
	json_t *all = json_array();
	struct left_out l;

	(void)state;
	assert_int_equal(add(all, "{\"name\":\"docs\",\"url\":\"http://x\",\"tools\":[\"get_*\",\"one\"]}",
	                     "[{\"name\":\"get_a\"},{\"name\":\"one\"},{\"name\":\"two\"},{\"name\":\"forget_a\"}]",
	                     &l),
	                 2);
	assert_int_equal(l.count, 0);
	json_decref(all);
}

static void servers_cannot_fill_the_memory(void **state)
{
	json_t *all = json_array(), *tools = json_array(),
	       *settings = json_loads("{\"name\":\"s\",\"url\":\"http://x\"}", 0, NULL);
	char *description = malloc(100001);
	struct left_out l = {.count = 0};
	struct mcp_target t;
	struct err e = ERR_INIT;

	(void)state;
	memset(description, 'd', 100000);
	description[100000] = '\0';
	json_array_append_new(tools, json_pack("{s:s, s:s}", "name", "long", "description", description));
	json_array_append_new(tools, json_pack("{s:s, s:{s:s, s:{s:{s:s}}}}", "name", "large", "inputSchema", "type",
	                                       "object", "properties", "a", "description", description));
	for (int i = 0; i < 400; i++)
		json_array_append_new(tools, json_pack("{s:o}", "name", json_sprintf("t%d", i)));
	assert_int_equal(mcp_target_init(&t, settings, &e), 0);
	assert_int_equal(mcp_tools_add(all, &t, tools, on_left_out, &l), MCP_TOOLS_OF_SERVER);
	assert_int_equal(json_string_length(json_object_get(json_array_get(all, 0), "description")),
	                 MCP_TOOLS_DESCRIPTION_MAX);
	mcp_target_clear(&t);
	json_decref(settings);
	json_decref(tools);
	json_decref(all);
	free(description);
}

static void what_was_published_is_offered_again(void **state)
{
	json_t *published = json_object(), *all = json_array(), *again = json_array();
	struct left_out l;

	(void)state;
	add(all, "{\"name\":\"docs\",\"url\":\"http://x\"}", "[{\"name\":\"one\"},{\"name\":\"two\"}]", &l);
	add(all, "{\"name\":\"other\",\"url\":\"http://y\"}", "[{\"name\":\"one\"}]", &l);
	json_array_append_new(all, json_pack("{s:s}", "server", "docs")); /* no name */
	json_array_append_new(all, json_integer(5));
	json_object_set(published, "tools", all);
	json_array_append(again, json_array_get(all, 1));
	assert_int_equal(mcp_tools_restore(again, "docs", published), 1); /* the second name is there already */
	assert_int_equal(mcp_tools_restore(again, "other", published), 1);
	assert_int_equal(mcp_tools_restore(again, "third", published), 0);
	assert_int_equal(mcp_tools_restore(again, "docs", NULL), 0);
	assert_int_equal(json_array_size(again), 3);
	json_decref(published);
	json_decref(again);
	json_decref(all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_fit_the_api_and_stay_the_same),
		cmocka_unit_test(what_cannot_be_offered_is_left_out_alone),
		cmocka_unit_test(only_tools_that_are_wanted_are_offered),
		cmocka_unit_test(servers_cannot_fill_the_memory),
		cmocka_unit_test(what_was_published_is_offered_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
