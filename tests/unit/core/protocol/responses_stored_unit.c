/* SPDX-License-Identifier: Apache-2.0 */
/* What the endpoint of stored answers has of one: what it answers, and parts of that list. */
#include "core/protocol/conversations.h"
#include "core/protocol/responses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define KEY "0123456789012345"

static const char stored_turn[] =
	"[{'role':'system','content':'Be brief.'},"
	"{'role':'user','content':[{'type':'text','text':'a'},{'type':'image_url'},{'type':'text','text':'b'}]},"
	"{'role':'assistant','content':'Let me see.','tool_calls':[{'id':'call_1','function':{'name':'f','arguments':'{}'}}]},"
	"{'role':'tool','tool_call_id':'call_1','content':'rain'},"
	"{'role':'assistant','content':'','tool_calls':[{'id':'call_2','function':{'name':'g','arguments':'{}'}}]},"
	"{'role':7},{'content':'no role'},"
	"{'role':'assistant','content':'It rains.'}]";

static json_t *json(const char *text)
{
	char quoted[2000];
	json_t *j;

	assert_true(strlen(text) < sizeof quoted);
	strcpy(quoted, text);
	for (char *p = quoted; (p = strchr(p, '\'')) != NULL;)
		*p = '"';
	j = json_loads(quoted, JSON_DECODE_ANY, NULL);
	assert_non_null(j);
	return j;
}

/* type:role:text of each, or type:call_id. */
static void expect(const json_t *items, const char *expected)
{
	char shown[1000] = "";
	json_t *item, *part;
	size_t i, k;

	json_array_foreach((json_t *)(uintptr_t)items, i, item)
	{
		const char *role = json_string_value(json_object_get(item, "role"));
		const char *call = json_string_value(json_object_get(item, "call_id"));

		assert_non_null(json_string_value(json_object_get(item, "id")));
		assert_string_equal(json_string_value(json_object_get(item, "status")), "completed");
		strcat(strcat(shown, json_string_value(json_object_get(item, "type"))), ":");
		strcat(shown, role != NULL ? role : call);
		json_array_foreach(json_object_get(item, "content"), k, part)
			strcat(strcat(shown, ":"), json_string_value(json_object_get(part, "text")));
		strcat(shown, "\n");
	}
	assert_string_equal(shown, expected);
}

static json_t *inputs(int count)
{
	json_t *record = json_pack("{s:s, s:i}", "id", RESPONSES_ID "01234567890123456789" KEY, "inputs", count);
	json_t *turn = json(stored_turn), *items = responses_inputs(record, turn);

	json_decref(record);
	json_decref(turn);
	return items;
}

static void what_was_sent_becomes_items(void **state)
{
	json_t *items = inputs(7);

	(void)state;
	expect(items,
	       "message:developer:Be brief.\nmessage:user:a:b\nmessage:assistant:Let me see.\n"
	       "function_call:call_1\nfunction_call_output:call_1\nfunction_call:call_2\n");
	for (size_t i = 0; i < json_array_size(items); i++)
		for (size_t k = 0; k < i; k++)
			assert_false(json_equal(json_object_get(json_array_get(items, i), "id"),
			                        json_object_get(json_array_get(items, k), "id")));
	json_decref(items);
	items = inputs(1000); /* a turn that was cut has fewer messages */
	assert_int_equal(json_array_size(items), 7);
	json_decref(items);
	items = inputs(0);
	assert_int_equal(json_array_size(items), 0);
	json_decref(items);
}

/* Page after page, in either direction, each item comes once. */
static void pages_are_in_order(void **state)
{
	json_t *items = inputs(7);

	(void)state;
	for (int ascending = 0; ascending < 2; ascending++)
		for (size_t limit = 1; limit <= 7; limit++) {
			struct responses_range range = {.ascending = ascending == 1, .limit = limit};
			json_t *all = json_array(), *page = NULL, *ordered = json_array();
			char after[100];

			do {
				json_decref(page);
				page = responses_page(items, &range);
				json_array_extend(all, json_object_get(page, "data"));
				assert_true(json_array_size(json_object_get(page, "data")) <= limit);
				strcpy(after, json_string_value(json_object_get(page, "last_id")));
				range.after = after;
			} while (json_is_true(json_object_get(page, "has_more")));
			for (size_t i = 0; i < json_array_size(items); i++)
				json_array_append(
					ordered, json_array_get(items, ascending ? i : json_array_size(items) - 1 - i));
			assert_true(json_equal(all, ordered));
			json_decref(page);
			page = responses_page(items, &range); /* beyond the end */
			assert_int_equal(json_array_size(json_object_get(page, "data")), 0);
			assert_true(json_is_null(json_object_get(page, "first_id")));
			json_decref(page);
			json_decref(all);
			json_decref(ordered);
		}
	json_decref(items);
}

/* ---- conversations ---- */

static void a_conversation_is_what_its_turns_say(void **state)
{
	json_t *turns = json(
		"[[{'conversation':{'metadata':{'a':'1'}}}], [{'role':'user','content':'a','items':'k'}],"
		"[{'role':'user','content':'b'},{'role':'assistant','content':'c'}],"
		"[{'conversation':{'metadata':{'a':'2'}}}], [],"
		"[{'role':'user','content':'d'},{'role':'assistant','content':'e','response':"
		"{'id':'resp_01234567890123456789" KEY "','object':'response','status':'completed','inputs':1}}]]");
	json_t *items = conversations_items(turns), *object;
	char id[CONVERSATIONS_ID_MAX];

	(void)state;
	expect(items, "message:user:a\nmessage:user:b\nmessage:assistant:c\nmessage:user:d\nmessage:assistant:e\n");
	assert_string_equal(json_string_value(json_object_get(json_array_get(items, 0), "id")), "msg_ki0");
	json_decref(items);
	object = conversations_object("conv_0000001042", turns);
	assert_int_equal(json_integer_value(json_object_get(object, "created_at")), 16);
	assert_string_equal(json_string_value(json_object_get(json_object_get(object, "metadata"), "a")), "2");
	json_decref(object);
	json_decref(turns);
	conversations_new_id(id);
	assert_true(conversations_is_id(id));
	id[10] = 'x';
	assert_false(conversations_is_id(id));
	assert_false(conversations_is_id("conv_"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_sent_becomes_items),
		cmocka_unit_test(pages_are_in_order),
		cmocka_unit_test(a_conversation_is_what_its_turns_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
