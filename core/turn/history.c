/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/history.h"

#include "core/base/buf.h"
#include "core/turn/prompt.h"

#include <stdint.h>
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

int history_add_answer(json_t *messages, const char *answer, size_t len, bool interrupted)
{
	/* It is UTF-8: checking it again takes long. */
	json_t *text = len == 0 ? json_string(NO_ANSWER) : json_stringn_nocheck(answer, len);
	json_t *message = prompt_text_message("assistant", text);

	json_decref(text);
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
	json_t *user = json_array_get(messages, 0), *content = json_object_get(user, "content");

	drop_open_calls(messages);
	if (len == 0 && json_array_size(messages) < 2)
		return NULL;
	/* Results of tools without the answer to them are followed by words that say so. */
	if (!(len == 0 && ends_with_answer(messages)) && history_add_answer(messages, answer, len, interrupted) < 0)
		return NULL;
	if (!json_is_string(content) && json_object_set_new(user, "content", prompt_content_for_history(content)) < 0)
		return NULL;
	return json_incref(messages);
}

/* ---- of a client that sends only what is new ---- */

static const char *role_of(const json_t *message)
{
	const char *role = json_string_value(json_object_get(message, "role"));

	return role != NULL ? role : "";
}

json_t *history_new_messages(const json_t *stored, const json_t *messages, size_t from)
{
	json_t *own = json_deep_copy(stored), *message, *content;
	int failed = own == NULL ? -1 : 0;
	size_t i;

	json_array_foreach(own, i, message)
	{
		content = json_object_get(message, "content");
		if (json_is_array(content))
			failed |= json_object_set_new(message, "content", prompt_content_for_history(content));
	}
	for (i = from; failed == 0 && i < json_array_size(messages); i++)
		failed = json_array_append(own, json_array_get(messages, i));
	if (failed == 0)
		return own;
	json_decref(own);
	return NULL;
}

static const json_t *record_of(const json_t *turn)
{
	return json_object_get(json_array_get(turn, json_array_size(turn) - 1), "response");
}

/* Each message is in one list or the other. */
static int split(const json_t *turn, json_t *systems, json_t *others)
{
	json_t *message;
	size_t i;

	json_array_foreach(turn, i, message)
	{
		if (json_array_append(strcmp(role_of(message), "system") == 0 ? systems : others, message) < 0)
			return -1;
	}
	return 0;
}

/* The turn with the calls was deleted, or dropped. */
static void drop_results(json_t *turn)
{
	size_t at = 0;

	while (strcmp(role_of(json_array_get(turn, at)), "system") == 0)
		at++;
	while (strcmp(role_of(json_array_get(turn, at)), "tool") == 0)
		json_array_remove(turn, at);
}

/* Adds a turn at the end. */
static int add_turn(json_t *chain, json_t *turn)
{
	json_t *last = json_array_get(chain, json_array_size(chain) - 1), *others = json_array(),
	       *systems = json_array();
	int failed = split(turn, systems, others);

	if (failed == 0 && last != NULL && strcmp(role_of(json_array_get(others, 0)), "tool") == 0)
		failed = json_array_extend(last, turn); /* a copy, like all that follow */
	else if (failed == 0)
		failed = json_array_append_new(chain, json_copy(turn));
	if (failed == 0 && last == NULL)
		drop_results(json_array_get(chain, 0));
	json_decref(others);
	json_decref(systems);
	return failed;
}

json_t *history_chain(const json_t *turns, const char *id, bool *found)
{
	json_t *backwards = json_array(), *chain = json_array();
	const bool all = id == NULL;
	int failed = 0;

	for (size_t i = json_array_size(turns); i-- > 0;) {
		json_t *turn = json_array_get(turns, i);
		const json_t *record = record_of(turn);
		const char *own = json_string_value(json_object_get(record, "id"));

		if (!all && (id == NULL || own == NULL || strcmp(own, id) != 0))
			continue;
		failed |= json_array_append(backwards, turn);
		id = json_string_value(json_object_get(record, "previous_response_id"));
	}
	*found = all || json_array_size(backwards) > 0;
	for (size_t i = json_array_size(backwards); failed == 0 && i-- > 0;)
		failed = add_turn(chain, json_array_get(backwards, i));
	json_decref(backwards);
	if (failed == 0)
		return chain;
	json_decref(chain);
	return NULL;
}

/* Takes them out of the turns. */
static int take_systems(json_t *turns, struct buf *texts)
{
	int failed = 0;

	for (size_t i = 0; failed == 0 && i < json_array_size(turns); i++) {
		json_t *systems = json_array(), *others = json_array(), *message;
		size_t j;

		failed = split(json_array_get(turns, i), systems, others);
		json_array_foreach(systems, j, message)
		{
			const json_t *text = json_object_get(message, "content");

			failed |= buf_adds(texts, "\n\n") |
			          buf_add(texts, json_string_value(text), json_string_length(text));
		}
		if (failed == 0 && json_array_size(systems) > 0)
			failed = json_array_set(turns, i, others);
		json_decref(systems);
		json_decref(others);
	}
	return failed;
}

/* What they say follows what the first message says, if that is one for the system. */
static int add_systems(json_t *messages, const struct buf *texts)
{
	const json_t *first = json_array_get(messages, 0), *content = json_object_get(first, "content");
	bool has_own = strcmp(role_of(first), "system") == 0;
	struct buf all = BUF_INIT(SIZE_MAX / 4);
	json_t *message = NULL;

	if (texts->len == 0)
		return 0;
	if (!has_own)
		message = json_pack("{s:s, s:s%}", "role", "system", "content", texts->data + 2, texts->len - 2);
	else if ((buf_add(&all, json_string_value(content), json_string_length(content)) |
	          buf_add(&all, texts->data, texts->len)) == 0)
		message = json_pack("{s:s, s:s%}", "role", "system", "content", all.data, all.len);
	buf_free(&all);
	return has_own ? json_array_set_new(messages, 0, message) : json_array_insert_new(messages, 0, message);
}

int history_lead(json_t *turns, json_t *messages)
{
	struct buf texts = BUF_INIT(SIZE_MAX / 4);
	int failed = take_systems(turns, &texts) | add_systems(messages, &texts);
	size_t at = strcmp(role_of(json_array_get(messages, 0)), "system") == 0, last = json_array_size(turns), i;
	json_t *message;

	buf_free(&texts);
	if (failed != 0 || last == 0 || strcmp(role_of(json_array_get(messages, at)), "tool") != 0)
		return failed;
	json_array_foreach(json_array_get(turns, last - 1), i, message) failed |=
		json_array_insert(messages, at + i, message);
	return failed | json_array_remove(turns, last - 1);
}
