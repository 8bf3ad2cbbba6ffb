/* SPDX-License-Identifier: Apache-2.0 */
/* The table of tools: which of them a configuration provides, and how tools describe themselves. */
#include "core/tools/code_interpreter.h"
#include "core/tools/tool.h"
#include "tests/unit/support/settings.h"

#include <stdlib.h>

#define SEARCH "tavily_search_results_json"
#define CODE   "code_interpreter"

static void a_configuration_provides_tools(void **state)
{
	static const struct {
		const char *sets[2];
		const char *names; /* of SEARCH and CODE, each followed by a space */
	} cases[] = {
		{{"log.level=INFO", "log.level=INFO"}, ""},
		{{"search.tavily_key=k", "code.local=true"}, SEARCH " " CODE " "},
		{{"search.tavily_key=tavily-api-key-not-configured", "code.local=false"}, ""},
		{{"search.searxng_url=http://s:8080", "search.order=searxng"}, SEARCH " "},
		{{"search.searxng_url=http://s:8080", "search.order=tavily,brave"}, ""},
		{{"search.brave_key=k", "code.e2b_key=k"}, SEARCH " " CODE " "},
		{{"code.e2b_key=k", "log.level=INFO"}, CODE " "},
		{{"code.local=true", "log.level=INFO"}, CODE " "},
	};

	struct event_base *base = event_base_new();
	struct err e = ERR_INIT;
	struct toolbox *box = toolbox_new(base, NULL, &e);

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct config *c = SETTINGS(cases[i].sets[0], cases[i].sets[1]);
		size_t count;
		const char **names = toolbox_names(c, &count);
		char all[200] = "";

		for (size_t k = 0; k < count; k++) {
			const struct tool *tool = toolbox_find(box, c, names[k], strlen(names[k]));

			assert_non_null(tool);
			assert_string_equal(tool->name, names[k]);
			if (strcmp(names[k], SEARCH) == 0 || strcmp(names[k], CODE) == 0)
				strcat(strcat(all, names[k]), " ");
		}
		assert_null(names[count]);
		assert_string_equal(all, cases[i].names);
		free(names);
		config_unref(c);
	}
	toolbox_free(box);
	event_base_free(base);
}

static void only_provided_tools_are_found(void **state)
{
	struct config *c = SETTINGS("search.tavily_key=k");
	struct event_base *base = event_base_new();
	struct err e = ERR_INIT;
	struct toolbox *box = toolbox_new(base, NULL, &e);

	(void)state;
	assert_non_null(toolbox_find(box, c, SEARCH, strlen(SEARCH)));
	assert_null(toolbox_find(box, c, SEARCH, strlen(SEARCH) - 1));
	assert_null(toolbox_find(box, c, CODE, strlen(CODE)));
	toolbox_free(box);
	event_base_free(base);
	config_unref(c);
}

/* What a client is shown, and the argument that it names, is there for every tool. */
static void tools_describe_themselves(void **state)
{
	struct config *c = SETTINGS("search.tavily_key=k", "code.local=true");
	struct event_base *base = event_base_new();
	struct err e = ERR_INIT;
	struct toolbox *box = toolbox_new(base, NULL, &e);
	json_t *definitions = toolbox_definitions(box, c);
	size_t count;
	const char **names = toolbox_names(c, &count);

	(void)state;
	assert_int_equal(json_array_size(definitions), count);
	for (size_t i = 0; i < count; i++) {
		const struct tool *tool = toolbox_find(box, c, names[i], strlen(names[i]));
		json_t *function = json_object_get(json_array_get(definitions, i), "function");
		json_t *parameters = json_object_get(function, "parameters");

		assert_string_equal(json_string_value(json_object_get(function, "name")), names[i]);
		assert_true(json_string_length(json_object_get(function, "description")) > 0);
		assert_true(tool->progress != NULL && *tool->progress != '\0');
		if (tool->subject != NULL)
			assert_non_null(json_object_get(json_object_get(parameters, "properties"), tool->subject));
	}
	free(names);
	json_decref(definitions);
	toolbox_free(box);
	event_base_free(base);
	config_unref(c);
}

/* The daemon watches the runner only where code is sent to it. */
static void e2b_is_preferred_to_the_runner(void **state)
{
	static const struct {
		const char *local, *key, *socket;
	} cases[] = {
		{"code.local=false", "log.level=INFO", NULL},
		{"code.local=true", "log.level=INFO", "/r"},
		{"code.local=true", "code.e2b_key=k", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct config *c = SETTINGS("code.runner_socket=/r", cases[i].local, cases[i].key);
		const char *path = code_interpreter_runner_socket(c);

		assert_true(cases[i].socket == NULL ? path == NULL : path != NULL && strcmp(path, "/r") == 0);
		config_unref(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_configuration_provides_tools),
		cmocka_unit_test(only_provided_tools_are_found),
		cmocka_unit_test(tools_describe_themselves),
		cmocka_unit_test(e2b_is_preferred_to_the_runner),
	};

	return cmocka_run_group_tests_name("toolbox", tests, NULL, NULL);
}
