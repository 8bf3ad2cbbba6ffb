/* SPDX-License-Identifier: Apache-2.0 */
/* Which conversation a request belongs to, where a header names it. */
#include "core/protocol/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define USER(text)      "{\"role\":\"user\",\"content\":\"" text "\"}"
#define ASSISTANT(text) "{\"role\":\"assistant\",\"content\":\"" text "\"}"
#define SYSTEM(text)    "{\"role\":\"system\",\"content\":\"" text "\"}"
#define CALLED          "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[]},{\"role\":\"tool\",\"content\":\"r\"}"

/* messages: without the brackets. */
static struct chat_request request_with(const char *messages, const char *name)
{
	struct chat_request r = {.thread_id = strdup("")};

	r.messages = json_pack("[]");
	if (*messages != '\0') {
		char *text;

		assert_true(asprintf(&text, "[%s]", messages) > 0);
		json_decref(r.messages);
		r.messages = json_loads(text, 0, NULL);
		assert_non_null(r.messages);
		free(text);
	}
	assert_int_equal(chat_request_name_thread(&r, name), 0);
	return r;
}

static void check(const char *messages, const char *name, const char *id, bool client_remembers)
{
	struct chat_request r = request_with(messages, name);

	assert_string_equal(r.thread_id, id);
	assert_int_equal(r.client_remembers, client_remembers);
	assert_int_equal(r.thread_from_header, *id != '\0');
	chat_request_clear(&r);
}

static void a_new_message_alone_is_remembered(void **state)
{
	(void)state;
	check(USER("hello"), "a", "a", false);
	check(SYSTEM("be brief") "," USER("hello"), " a b\t", "a b", false);
	check(USER("hello") "," CALLED, "a", "a", false);
	check(USER("The title of this conversation is wrong: generate a title for this conversation."), "a", "a",
	      false);
	check(USER("### Task:\\nRespond to the user query using the provided context"), "a", "a", false);
}

static void a_client_that_sends_the_conversation_remembers_it_itself(void **state)
{
	(void)state;
	check(USER("one") "," ASSISTANT("two") "," USER("three"), "a", "a", true);
	check(USER("one") "," USER("two"), "a", "a", true);
	check(USER("### Task:\\nGenerate a title") "," ASSISTANT("two") "," USER("three"), "a", "a", true);
	check(ASSISTANT("Welcome!") "," USER("one"), "a", "a", true);
}

static void what_a_page_requests_for_itself_belongs_to_no_conversation(void **state)
{
	(void)state;
	check(USER("### Task:\\nGenerate a concise, 3-5 word title with an emoji"), "a", "", false);
	check(USER("### Task:\\nGenerate 1-3 broad tags"), "a", "", false);
	check(USER("### Task:\\nSuggest 3-5 relevant follow-up questions"), "a", "", false);
	check(USER(" \\n### Task:\\nAnalyze the chat history to determine the necessity"), "a", "", false);
	check(USER("Provide a concise, 5-word-or-less title for the conversation"), "a", "", false);
	check(SYSTEM("You are a title generator. You output ONLY a thread title.") "," USER("Hello"), "a", "", false);
	check(USER("Generate a title for this conversation:\\n") "," USER("Hello"), "a", "", false);
	check("{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"### Task:\\nGenerate a title\"}]}", "a",
	      "", false);
}

static void not_every_text_is_a_name(void **state)
{
	char text[CHAT_THREAD_ID_MAX + 2];

	(void)state;
	check(USER("x"), "", "", false);
	check(USER("x"), " \t ", "", false);
	check(USER("x"), "a\nb", "", false);
	check(USER("x"), "a\x1b[0m", "", false);
	check(USER("x"), "\xff", "", false);
	check(USER("x"), "Z\xc3\xbcrich", "Z\xc3\xbcrich", false);
	memset(text, 'x', sizeof text);
	text[CHAT_THREAD_ID_MAX + 1] = '\0';
	check(USER("x"), text, "", false);
	text[CHAT_THREAD_ID_MAX] = '\0';
	check(USER("x"), text, text, false);
	check(ASSISTANT("no user"), "a", "", false);
	check("", "a", "", false);
}

static void a_name_in_the_body_counts(void **state)
{
	struct chat_request r = {.thread_id = strdup("body"),
	                         .messages = json_pack("[{s:s, s:s}]", "role", "user", "content", "x")};
	struct chat_request studio = {.content = json_string("x"), .thread_id = strdup("")};

	(void)state;
	assert_int_equal(chat_request_name_thread(&r, "header"), 0);
	assert_string_equal(r.thread_id, "body");
	assert_false(r.thread_from_header);
	chat_request_clear(&r);
	assert_int_equal(chat_request_name_thread(&studio, "header"), 0);
	assert_string_equal(studio.thread_id, "");
	chat_request_clear(&studio);
}

/* The Responses API has names for them of its own. */
static void what_is_stored_by_its_answers_has_no_name(void **state)
{
	struct chat_request r = {.thread_id = strdup(""), .stored = json_array()};

	(void)state;
	r.messages = json_pack("[{s:s, s:s}]", "role", "user", "content", "x");
	assert_int_equal(chat_request_name_thread(&r, "header"), 0);
	assert_string_equal(r.thread_id, "");
	json_decref(r.stored);
	r.stored = NULL;
	r.forgets = true;
	assert_int_equal(chat_request_name_thread(&r, "header"), 0);
	assert_string_equal(r.thread_id, "header");
	assert_true(r.client_remembers);
	chat_request_clear(&r);
}

static void history_stands_before_the_question(void **state)
{
	static const struct {
		const char *messages;
		bool has;
	} cases[] = {
		{"[]", false},
		{"[" USER("a") "]", false},
		{"[" USER("a") "," ASSISTANT("b") "]", false},
		{"[" USER("a") "," CALLED "]", false},
		{"[" USER("a") "," ASSISTANT("b") "," USER("c") "]", true},
		{"[" USER("a") "," CALLED "," ASSISTANT("b") "," USER("c") "," CALLED "]", true},
		{"[1,null,{\"role\":5}]", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		json_t *messages = json_loads(cases[i].messages, 0, NULL);

		assert_non_null(messages);
		assert_int_equal(chat_request_has_history(messages), cases[i].has);
		json_decref(messages);
	}
	assert_false(chat_request_has_history(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_message_alone_is_remembered),
		cmocka_unit_test(a_client_that_sends_the_conversation_remembers_it_itself),
		cmocka_unit_test(what_a_page_requests_for_itself_belongs_to_no_conversation),
		cmocka_unit_test(not_every_text_is_a_name),
		cmocka_unit_test(a_name_in_the_body_counts),
		cmocka_unit_test(what_is_stored_by_its_answers_has_no_name),
		cmocka_unit_test(history_stands_before_the_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
