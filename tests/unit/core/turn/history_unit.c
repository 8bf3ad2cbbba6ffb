/* SPDX-License-Identifier: Apache-2.0 */
/* What turns store in their threads. */
#include "core/turn/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_turn_is_question_and_answer),
		cmocka_unit_test(an_interrupted_answer_is_marked),
		cmocka_unit_test(a_turn_without_an_answer_leaves_nothing),
		cmocka_unit_test(open_calls_are_left_out),
		cmocka_unit_test(images_are_stored_as_a_word),
	};

	return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
