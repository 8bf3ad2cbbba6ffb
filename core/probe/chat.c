/* SPDX-License-Identifier: Apache-2.0 */
#include "core/probe/chat.h"

#include "core/base/buf.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 4096
#define DEPTH_MAX 8

/* A white PNG of one pixel. */
#define IMAGE                                                                                                            \
	"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/x8AAwMCAO+ip1sAAAAASUVORK5C" \
	"YII="

static const struct {
	int max_tokens; /* 0: not sent; servers refuse few with tools */
	const char *text;
	const char *image;
	const char *begun; /* of the answer */
	bool tools;
} questions[] = {
	[CHAT_TOKEN] = {.max_tokens = 1, .text = "Hi"},
	[CHAT_TOOLS] = {.max_tokens = 16, .text = "Hi", .tools = true},
	[CHAT_TOOLS_WITHOUT_LIMIT] = {.text = "Hi", .tools = true},
	[CHAT_CALL] = {.max_tokens = 512, .text = "Call the tool noop now, and say nothing.", .tools = true},
	[CHAT_VISION] = {.max_tokens = 16, .text = "Which colour is this?", .image = IMAGE},
	[CHAT_CONTINUE] = {.max_tokens = 16, .text = "Count from one to ten, in words.", .begun = "one, two, three,"},
};

static json_t *messages_of(enum chat_question q)
{
	const char *image = questions[q].image;
	json_t *all, *content = json_string(questions[q].text);

	if (image != NULL)
		content = json_pack("[{s:s,s:o},{s:s,s:{s:s}}]", "type", "text", "text", content, "type", "image_url",
		                    "image_url", "url", image);
	all = json_pack("[{s:s,s:o}]", "role", "user", "content", content);
	if (questions[q].begun != NULL)
		json_array_append_new(all, json_pack("{s:s,s:s}", "role", "assistant", "content", questions[q].begun));
	return all;
}

char *chat_probe_body(const struct llm *l, enum chat_question q, size_t *len)
{
	json_t *j = json_pack("{s:s?,s:b}", "model", l->model, "stream", 0);
	char *text = NULL;

	if (l->model == NULL)
		json_object_del(j, "model");
	if (questions[q].max_tokens > 0)
		json_object_set_new(j, "max_tokens", json_integer(questions[q].max_tokens));
	if (l->uses_completions)
		json_object_set_new(j, "prompt", json_string(questions[q].text));
	else
		json_object_set_new(j, "messages", messages_of(q));
	if (questions[q].tools) {
		json_object_set_new(j, "tools",
		                    json_pack("[{s:s,s:{s:s,s:s,s:{s:s,s:{}}}}]", "type", "function", "function",
		                              "name", "noop", "description", "Does nothing.", "parameters", "type",
		                              "object", "properties"));
		json_object_set_new(j, "tool_choice", json_string("auto"));
	}
	if (questions[q].begun != NULL) {
		json_object_set_new(j, "continue_final_message", json_true());
		json_object_set_new(j, "add_generation_prompt", json_false());
	}
	if (j != NULL)
		text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	*len = text != NULL ? strlen(text) : 0;
	return text;
}

/* What an error says: its strings, without what it repeats of the request. */
static void collect_words(const json_t *j, struct buf *out, unsigned depth)
{
	static const char *const repeated[] = {"input", "body", "request", "ctx", "messages"};
	const char *key;
	json_t *value;
	size_t i;

	if (depth > DEPTH_MAX)
		return;
	if (json_is_string(j) && buf_adds(out, json_string_value(j)) == 0)
		(void)buf_adds(out, "\n");
	json_array_foreach(j, i, value) collect_words(value, out, depth + 1);
	json_object_foreach((json_t *)(uintptr_t)j, key, value)
	{
		for (i = 0; i < sizeof repeated / sizeof repeated[0] && strcmp(key, repeated[i]) != 0; i++)
			continue;
		if (i == sizeof repeated / sizeof repeated[0])
			collect_words(value, out, depth + 1);
	}
}

/* free(); "" where there are none, or no memory for them. */
static char *words_of(const struct http_result *r)
{
	struct buf words = BUF_INIT(WORDS_MAX);
	json_t *j = json_loadb(r->body, r->body_len, JSON_DECODE_ANY, NULL);

	if (j != NULL)
		collect_words(j, &words, 0);
	else
		(void)buf_add(&words, r->body, r->body_len < WORDS_MAX ? r->body_len : WORDS_MAX - 1);
	json_decref(j);
	if (words.len == 0)
		return strdup("");
	return buf_steal(&words, NULL);
}

static bool has_any(const char *words, const char *const *wanted, size_t count)
{
	for (size_t i = 0; words != NULL && i < count; i++)
		if (strcasestr(words, wanted[i]) != NULL)
			return true;
	return false;
}

#define HAS_ANY(words, ...)                                                                                            \
	has_any(words, (const char *const[]){__VA_ARGS__},                                                             \
	        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static bool is_about_limit(const char *words)
{
	return HAS_ANY(words, "max_tokens", "max_completion_tokens", "max_output_tokens", "max_new_tokens");
}

bool chat_probe_refuses_limit(const struct http_result *r)
{
	char *words;
	bool result;

	if (r->outcome != HTTP_DONE || r->status < 400 || r->status == 401 || r->status == 403 || r->status == 429)
		return false;
	words = words_of(r);
	result = is_about_limit(words);
	free(words);
	return result;
}

const char *chat_probe_refused(const struct http_result *r, const char *const *members)
{
	char *words = r->outcome == HTTP_DONE && r->status >= 400 ? words_of(r) : NULL;

	for (; words != NULL && *members != NULL; members++)
		if (strstr(words, *members) != NULL)
			break;
	free(words);
	return words != NULL ? *members : NULL;
}

bool chat_probe_called(const struct http_result *r)
{
	json_t *j = r->status == 200 ? json_loadb(r->body, r->body_len, 0, NULL) : NULL;
	const json_t *choice = json_array_get(json_object_get(j, "choices"), 0);
	bool called = json_array_size(json_object_get(json_object_get(choice, "message"), "tool_calls")) > 0;

	json_decref(j);
	return called;
}

enum llm_tools chat_probe_tools(const struct http_result *r)
{
	enum llm_tools result = LLM_TOOLS_UNKNOWN;
	char *words;

	if (r->outcome != HTTP_DONE)
		return LLM_TOOLS_UNKNOWN;
	if (r->status == 200)
		return LLM_TOOLS_YES;
	/* Their own reasons: the token, the rate, the load. */
	if (r->status < 400 || r->status == 401 || r->status == 402 || r->status == 403 || r->status == 408 ||
	    r->status == 429 || r->status == 502 || r->status == 503 || r->status == 504)
		return LLM_TOOLS_UNKNOWN;
	words = words_of(r);
	if (HAS_ANY(words, "--jinja", "enable-auto-tool-choice", "tool-call-parser") ||
	    (HAS_ANY(words, "tool", "function call", "function_call", "functions") && !is_about_limit(words) &&
	     (r->status < 500 || HAS_ANY(words, "not support", "unsupported", "does not have", "requires",
	                                 "not enabled", "not implemented", "no endpoints"))))
		result = LLM_TOOLS_NO;
	free(words);
	return result;
}
