/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/history.h"

#include "core/turn/prompt.h"

#include <string.h>

/* Some servers refuse an assistant's message without content and calls, and with it each
 * further turn of the thread. */
#define NO_ANSWER "(no answer)"

static json_t *last_of(json_t *messages)
{
	return json_array_get(messages, json_array_size(messages) - 1);
}

/* Calls that were cancelled: servers refuse a history with calls but no results. Text that
 * came with them stays. */
static void drop_open_calls(json_t *messages)
{
	json_t *last = last_of(messages);
	const char *text;

	if (json_object_get(last, "tool_calls") == NULL)
		return;
	text = json_string_value(json_object_get(last, "content"));
	if (text != NULL && *text != '\0')
		json_object_del(last, "tool_calls");
	else
		json_array_remove(messages, json_array_size(messages) - 1);
}

static int add_answer(json_t *messages, const char *answer, size_t len, bool interrupted)
{
	/* It is UTF-8: checking it again takes long. */
	json_t *text = len == 0 ? json_string(NO_ANSWER) : json_stringn_nocheck(answer, len);
	json_t *message = json_pack("{s:s, s:o}", "role", "assistant", "content", text);

	if (message != NULL && interrupted)
		json_object_set_new(message, "interrupted", json_true());
	return json_array_append_new(messages, message);
}

static bool ends_with_answer(json_t *messages)
{
	const char *role = json_string_value(json_object_get(last_of(messages), "role"));

	return role != NULL && strcmp(role, "assistant") == 0;
}

json_t *history_messages(json_t *messages, const char *answer, size_t len, bool interrupted)
{
	json_t *user = json_array_get(messages, 0);

	drop_open_calls(messages);
	if (len == 0 && json_array_size(messages) < 2)
		return NULL;
	/* Results of tools without the answer to them are followed by words that say so. */
	if (!(len == 0 && ends_with_answer(messages)) && add_answer(messages, answer, len, interrupted) < 0)
		return NULL;
	if (json_object_set_new(user, "content", prompt_content_for_history(json_object_get(user, "content"))) < 0)
		return NULL;
	return json_incref(messages);
}
