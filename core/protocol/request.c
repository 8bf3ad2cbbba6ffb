/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/request.h"

#include "core/base/buf.h"
#include "core/base/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void chat_request_clear(struct chat_request *r)
{
	json_decref(r->content);
	json_decref(r->messages);
	json_decref(r->fields);
	json_decref(r->stored);
	json_decref(r->echo);
	json_decref(r->beyond);
	free(r->verbatim);
	json_decref(r->envelope);
	free(r->model);
	free(r->model_asked);
	free(r->thread_id);
	free(r->previous);
	memset(r, 0, sizeof *r);
}

char *chat_content_text(const json_t *content)
{
	struct buf text = BUF_INIT(SIZE_MAX / 4);
	const json_t *part;
	size_t i;
	char *result;

	if (json_is_string(content))
		return strdup(json_string_value(content));
	json_array_foreach(content, i, part)
	{
		const json_t *t = json_object_get(part, "text");

		if (!json_is_string(t))
			continue;
		if ((text.len > 0 && buf_adds(&text, "\n") < 0) || buf_adds(&text, json_string_value(t)) < 0) {
			buf_free(&text);
			return NULL;
		}
	}
	result = buf_steal(&text, NULL);
	return result;
}

/* ---- conversations ---- */

static bool has_role(const json_t *message, const char *role)
{
	const char *of = json_string_value(json_object_get(message, "role"));

	return of != NULL && strcmp(of, role) == 0;
}

bool chat_request_has_history(const json_t *messages)
{
	size_t last = json_array_size(messages);

	while (last > 0 && !has_role(json_array_get(messages, last - 1), "user"))
		last--;
	for (size_t i = 0; i < last; i++)
		if (has_role(json_array_get(messages, i), "assistant"))
			return true;
	return false;
}

/* How chat pages begin what they request for themselves: Open WebUI, LibreChat, opencode. */
static const char *const chores[] = {
	"### Task:\nGenerate ",
	"### Task:\nSuggest ",
	"### Task:\nAnalyze the chat history ",
	"### Task:\nYou are an autocompletion system",
	"Your task is to reflect the speaker's likely facial expression",
	"Create a concise, 3-5 word title",
	"Generate a concise, 3-5 word title",
	"Provide a concise, 5-word-or-less title",
	"Please generate a concise, 5-word-or-less title",
	"Write a concise title for this conversation",
	"Analyze this conversation and provide:\n1. The detected language",
	"Generate a title for this conversation",
	"You are a title generator",
};

static bool is_chore(const json_t *message)
{
	char *text = chat_content_text(json_object_get(message, "content"));
	const char *begin = text != NULL ? text + strspn(text, " \t\r\n") : "";
	bool found = false;

	for (size_t i = 0; !found && i < sizeof chores / sizeof chores[0]; i++)
		found = strncmp(begin, chores[i], strlen(chores[i])) == 0;
	free(text);
	return found;
}

/* Control characters are none, as in a log they could look like something else. */
static bool is_name(const char *text, size_t len)
{
	const char *end = text + len;
	uint32_t code;

	while (text < end)
		if (!utf8_next(&text, end, &code))
			return false;
	return len > 0 && len <= CHAT_THREAD_ID_MAX;
}

int chat_request_name_thread(struct chat_request *r, const char *name)
{
	size_t len, i, of_user = 0;
	const json_t *message;
	char *id;

	/* Who sends only what is new says what it goes on from in the request itself. */
	if (r->messages == NULL || r->stored != NULL || (r->thread_id != NULL && !utf8_is_blank(r->thread_id)))
		return 0;
	name += strspn(name, " \t");
	len = strlen(name);
	while (len > 0 && strchr(" \t", name[len - 1]) != NULL)
		len--;
	if (!is_name(name, len))
		return 0;
	r->client_remembers = chat_request_has_history(r->messages);
	json_array_foreach(r->messages, i, message)
	{
		if (!r->client_remembers && is_chore(message))
			return 0;
		of_user += has_role(message, "user");
	}
	if (of_user == 0)
		return 0;
	r->client_remembers |= of_user > 1 || r->forgets;
	r->thread_from_header = true;
	id = strndup(name, len);
	if (id == NULL)
		return -1;
	free(r->thread_id);
	r->thread_id = id;
	return 0;
}
