/* SPDX-License-Identifier: Apache-2.0 */
/* What turns store in their threads. */
#include "core/turn/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(const char *messages, const char *answer, bool interrupted, const char *expected)
{
	json_t *before = json_loads(messages, 0, NULL);
	json_t *stored;
	char *text;

	assert_non_null(before);
	stored = history_messages(before, answer, strlen(answer), interrupted);
	if (expected == NULL) {
		assert_null(stored);
	} else {
		text = json_dumps(stored, JSON_COMPACT);
		assert_string_equal(text, expected);
		free(text);
	}
	json_decref(stored);
	json_decref(before);
}

#define USER   "{\"role\":\"user\",\"content\":\"q\"}"
#define CALL   "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"a\"}]}"
#define RESULT "{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"r\"}"

static void a_turn_is_question_and_answer(void **state)
{
	(void)state;
	check("[" USER "]", "a", false, "[" USER ",{\"role\":\"assistant\",\"content\":\"a\"}]");
	check("[" USER "," CALL "," RESULT "]", "a", false,
	      "[" USER "," CALL "," RESULT ",{\"role\":\"assistant\",\"content\":\"a\"}]");
}

static void an_interrupted_answer_is_marked(void **state)
{
	(void)state;
	check("[" USER "]", "ha", true, "[" USER ",{\"role\":\"assistant\",\"content\":\"ha\",\"interrupted\":true}]");
}

static void a_turn_without_an_answer_leaves_nothing(void **state)
{
	(void)state;
	check("[" USER "]", "", true, NULL);
}

/* Stopped while a tool ran: the call would have no result. */
static void open_calls_are_left_out(void **state)
{
	(void)state;
	check("[" USER "," CALL "]", "", true, NULL);
	check("[" USER "," CALL "," RESULT "," CALL "]", "", true,
	      "[" USER "," CALL "," RESULT
	      ",{\"role\":\"assistant\",\"content\":\"(no answer)\",\"interrupted\":true}]");
	check("[" USER ",{\"role\":\"assistant\",\"content\":\"let me see\",\"tool_calls\":[{\"id\":\"a\"}]}]", "",
	      true, "[" USER ",{\"role\":\"assistant\",\"content\":\"let me see\"}]");
}

static void images_are_stored_as_a_word(void **state)
{
	(void)state;
	check("[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"see\"},{\"type\":\"image_url\",\"image_url\":{}}]}]",
	      "a", false,
	      "[{\"role\":\"user\",\"content\":\"see\\n[image]\"},{\"role\":\"assistant\",\"content\":\"a\"}]");
}

/* ---- of a client that sends only what is new ---- */

#define ANSWER(id, previous)                                                                                           \
	"{\"role\":\"assistant\",\"content\":\"" id "\",\"response\":{\"id\":\"" id                                    \
	"\",\"previous_response_id\":" previous "}}"
#define QUESTION(text) "{\"role\":\"user\",\"content\":\"" text "\"}"
#define CALLING(id, previous)                                                                                          \
	"{\"role\":\"assistant\",\"tool_calls\":[],\"response\":{\"id\":\"" id "\",\"previous_response_id\":" previous \
	"}}"
#define SYSTEM(text) "{\"role\":\"system\",\"content\":\"" text "\"}"

/* A turn is its contents, an answer's is its id. */
static void check_chain(const char *turns, const char *id, const char *messages, const char *chain, const char *lead)
{
	json_t *stored = json_loads(turns, 0, NULL), *before = json_deep_copy(stored),
	       *new = json_loads(messages, 0, NULL);
	json_t *result, *turn, *message;
	char text[1000] = "";
	size_t i, j;
	bool found;

	assert_non_null(stored);
	assert_non_null(new);
	result = history_chain(stored, id, &found);
	assert_int_equal(found, chain != NULL);
	if (found) {
		assert_int_equal(history_lead(result, new), 0);
		json_array_foreach(result, i, turn)
		{
			json_array_foreach(turn, j, message)
				snprintf(text + strlen(text), sizeof text - strlen(text), "%s",
			                 json_is_string(json_object_get(message, "content"))
			                         ? json_string_value(json_object_get(message, "content"))
			                         : "?");
			strcat(text, "|");
		}
		assert_string_equal(text, chain);
		text[0] = '\0';
		json_array_foreach(new, j, message)
			snprintf(text + strlen(text), sizeof text - strlen(text), "%s,",
		                 json_is_string(json_object_get(message, "content"))
		                         ? json_string_value(json_object_get(message, "content"))
		                         : "?");
		assert_string_equal(text, lead);
	}
	assert_true(json_equal(stored, before)); /* others read it, too */
	json_decref(result);
	json_decref(new);
	json_decref(before);
	json_decref(stored);
}

static void an_answer_goes_on_from_the_one_that_it_says(void **state)
{
	static const char turns[] =
		"[[" QUESTION("q") "," ANSWER("a", "null") "],[" QUESTION("r") "," ANSWER("b", "\"a\"") "],[" QUESTION(
			"s") "," ANSWER("c", "\"a\"") "],[" QUESTION("t") "," ANSWER("d", "\"b\"") "]]";

	(void)state;
	check_chain(turns, "a", "[" QUESTION("x") "]", "qa|", "x,");
	check_chain(turns, "c", "[" QUESTION("x") "]", "qa|sc|", "x,");
	check_chain(turns, "d", "[" QUESTION("x") "]", "qa|rb|td|", "x,");
	check_chain(turns, "nix", "[" QUESTION("x") "]", NULL, NULL);
	check_chain("[]", "a", "[" QUESTION("x") "]", NULL, NULL);
	check_chain(turns, NULL, "[" QUESTION("x") "]", "qa|rb|sc|td|", "x,"); /* a conversation */
	check_chain("[]", NULL, "[" QUESTION("x") "]", "", "x,");
	/* The oldest were dropped. */
	check_chain("[[" QUESTION("t") "," ANSWER("d", "\"b\"") "]]", "d", "[" QUESTION("x") "]", "td|", "x,");
}

static void calls_and_results_stay_together(void **state)
{
	static const char turns[] = "[[" QUESTION("q") "," CALLING("a", "null") "],[" RESULT "," ANSWER(
		"b", "\"a\"") "],[" QUESTION("s") "," CALLING("c", "\"b\"") "]]";

	(void)state;
	check_chain(turns, "b", "[" QUESTION("x") "]", "q?rb|", "x,");
	check_chain(turns, "c", "[" RESULT "]", "q?rb|", "s,?,r,");
	check_chain(turns, "c", "[" SYSTEM("i") "," RESULT "]", "q?rb|", "i,s,?,r,");
}

static void words_for_the_system_come_first(void **state)
{
	static const char turns[] = "[[" SYSTEM("u") "," QUESTION("q") "," ANSWER("a", "null") "],[" SYSTEM(
		"v") "," QUESTION("r") "," ANSWER("b", "\"a\"") "]]";

	(void)state;
	check_chain(turns, "b", "[" QUESTION("x") "]", "qa|rb|", "u\n\nv,x,");
	check_chain(turns, "b", "[" SYSTEM("i") "," QUESTION("x") "]", "qa|rb|", "i\n\nu\n\nv,x,");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_turn_is_question_and_answer),
		cmocka_unit_test(an_interrupted_answer_is_marked),
		cmocka_unit_test(a_turn_without_an_answer_leaves_nothing),
		cmocka_unit_test(open_calls_are_left_out),
		cmocka_unit_test(images_are_stored_as_a_word),
		cmocka_unit_test(an_answer_goes_on_from_the_one_that_it_says),
		cmocka_unit_test(calls_and_results_stay_together),
		cmocka_unit_test(words_for_the_system_come_first),
	};

	return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
