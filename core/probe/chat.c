/* SPDX-License-Identifier: Apache-2.0 */
#include "core/probe/chat.h"

#include "core/base/buf.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define TOOLS_TOKENS 16 /* servers refuse fewer */
#define WORDS_MAX    4096
#define DEPTH_MAX    8

char *chat_probe_body(const struct llm *l, enum chat_question q, size_t *len)
{
	json_t *j = json_pack("{s:s?,s:b}", "model", l->model, "stream", 0);
	char *text = NULL;

	if (l->model == NULL)
		json_object_del(j, "model");
	if (q != CHAT_TOOLS_WITHOUT_LIMIT)
		json_object_set_new(j, "max_tokens", json_integer(q == CHAT_TOKEN ? 1 : TOOLS_TOKENS));
	if (l->uses_completions)
		json_object_set_new(j, "prompt", json_string("Hi"));
	else
		json_object_set_new(j, "messages", json_pack("[{s:s,s:s}]", "role", "user", "content", "Hi"));
	if (q != CHAT_TOKEN) {
		json_object_set_new(j, "tools",
		                    json_pack("[{s:s,s:{s:s,s:s,s:{s:s,s:{}}}}]", "type", "function", "function",
		                              "name", "noop", "description", "Does nothing.", "parameters", "type",
		                              "object", "properties"));
		json_object_set_new(j, "tool_choice", json_string("auto"));
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
