/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/prompt.h"

#include "core/base/buf.h"
#include "core/protocol/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT_MAX (64u << 20)
/* vLLM: the last message is not a new one but the beginning of the answer. */
#define CONTINUE_FINAL "\"continue_final_message\":true,\"add_generation_prompt\":false,"
#define BODY_MAX       (256u << 20)

/* ---- texts ---------------------------------------------------------------------- */

static bool has_image(const json_t *content)
{
	const json_t *part;
	size_t i;

	json_array_foreach(content, i, part)
	{
		const char *type = json_string_value(json_object_get(part, "type"));

		if (type != NULL && strstr(type, "image") != NULL)
			return true;
	}
	return false;
}

/* The text of a content of any shape, an image as a word. free(). */
static char *content_text(const json_t *content)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	char *text = chat_content_text(content);

	if (text == NULL)
		return NULL;
	if (!has_image(content))
		return text;
	if (buf_addf(&b, "%s%s[image]", text, *text == '\0' ? "" : "\n") < 0)
		buf_free(&b);
	free(text);
	return b.data;
}

json_t *prompt_content_for_history(const json_t *content)
{
	char *text;
	json_t *stored;

	if (!has_image(content) && !json_is_array(content))
		return json_deep_copy(content);
	text = content_text(content);
	stored = text == NULL ? NULL : json_string(text);
	free(text);
	return stored;
}

static const char *date_today(char out[32])
{
	time_t now = time(NULL);
	struct tm tm;

	localtime_r(&now, &tm);
	if (strftime(out, 32, "%Y-%m-%d", &tm) == 0)
		out[0] = '\0';
	return out;
}

/* The system prompt with {date} and {model} filled in; NULL with *none: there is none. */
static char *system_text(const struct prompt *p, bool *none)
{
	const char *from = cfg_str(p->config, p->tools != NULL ? CFG_PROMPT_TOOLS : CFG_PROMPT_PLAIN);
	struct buf b = BUF_INIT(TEXT_MAX);
	char today[32];
	const struct {
		const char *name, *value;
	} fields[] = {{"{date}", date_today(today)}, {"{model}", p->model}};

	*none = from == NULL || *from == '\0';
	if (*none)
		return NULL;
	while (*from != '\0') {
		size_t plain = strcspn(from, "{"), i;

		if (buf_add(&b, from, plain) < 0)
			goto out;
		from += plain;
		for (i = 0; *from != '\0' && i < sizeof fields / sizeof fields[0]; i++) {
			size_t len = strlen(fields[i].name);

			if (strncmp(from, fields[i].name, len) == 0) {
				if (buf_adds(&b, fields[i].value) < 0)
					goto out;
				from += len;
				break;
			}
		}
		if (*from == '{' && i == sizeof fields / sizeof fields[0] && buf_add(&b, from++, 1) < 0)
			goto out;
	}
	return buf_steal(&b, NULL);
out:
	buf_free(&b);
	return NULL;
}

/* ---- messages ------------------------------------------------------------------- */

static json_t *text_message(const char *role, const char *text)
{
	return json_pack("{s:s, s:s}", "role", role, "content", text);
}

/* Content, followed by more text; a new reference. */
static json_t *joined(const json_t *content, const char *text)
{
	json_t *parts;

	if (!json_is_array(content))
		return json_sprintf("%s\n\n%s", json_string_value(content), text);
	parts = json_copy((json_t *)(uintptr_t)content); /* it is the turn's */
	if (json_array_append_new(parts, json_pack("{s:s, s:s}", "type", "text", "text", text)) == 0)
		return parts;
	json_decref(parts);
	return NULL;
}

/* Chat templates refuse two messages of one role in a row: the second joins the first. */
static int add_joined(json_t *to, const char *role, const char *text)
{
	json_t *last = json_array_get(to, json_array_size(to) - 1);
	const char *last_role = json_string_value(json_object_get(last, "role"));
	const json_t *content = json_object_get(last, "content");

	if (last_role != NULL && strcmp(last_role, role) == 0 && (json_is_string(content) || json_is_array(content)))
		return json_object_set_new(last, "content", joined(content, text));
	return json_array_append_new(to, text_message(role, text));
}

/* For an LLM without tools: what they found is passed on as text. */
static int add_without_tools(json_t *to, const char *role, const json_t *content)
{
	char *text = content_text(content);
	int result = 0;

	if (text == NULL)
		return -1;
	if (strcmp(role, "tool") == 0) {
		json_t *result_text = json_sprintf("Result of a tool that was run for this question:\n%s", text);

		result = result_text == NULL ? -1 : add_joined(to, "user", json_string_value(result_text));
		json_decref(result_text);
	} else if (*text != '\0') {
		result = add_joined(to, role, text);
	}
	free(text);
	return result;
}

static int add_message(const struct prompt *p, json_t *to, const json_t *message)
{
	static const char *const known[] = {"role", "content", "tool_calls", "tool_call_id", "name"};
	const char *role = json_string_value(json_object_get(message, "role"));
	json_t *content = json_object_get(message, "content");
	json_t *out;

	if (role == NULL)
		return 0;
	if (!p->uses_tools)
		if (!(p->vision && has_image(content)))
			return add_without_tools(to, role, content);
	out = json_object();
	for (size_t i = 0; out != NULL && i < sizeof known / sizeof known[0]; i++) {
		json_t *value = json_object_get(message, known[i]);

		if (value != NULL && json_object_set(out, known[i], value) < 0) {
			json_decref(out);
			return -1;
		}
	}
	if (json_is_array(content) && !(p->vision && has_image(content))) {
		char *text = content_text(content);

		json_object_set_new(out, "content", text == NULL ? NULL : json_string(text));
		free(text);
	}
	return json_array_append_new(to, out);
}

const json_t *prompt_own_message(const struct prompt *p, size_t position)
{
	const json_t *sent = p->uses_tools ? json_array_get(p->as_sent, position) : NULL;
	bool own = json_is_object(sent) && json_integer_value(json_object_get(sent, "instance")) == p->instance;

	return own ? json_object_get(sent, "message") : NULL;
}

static json_t *messages(const struct prompt *p)
{
	json_t *all = json_array();
	const json_t *turn, *message;
	size_t i, j;
	bool none;
	char *system = system_text(p, &none);

	if (all == NULL || (system == NULL && !none))
		goto fail;
	if (system != NULL && json_array_append_new(all, text_message("system", system)) < 0)
		goto fail;
	json_array_foreach(p->turns, i, turn)
	{
		if (i < p->skip_turns)
			continue;
		json_array_foreach(turn, j, message) if (add_message(p, all, message) < 0) goto fail;
	}
	json_array_foreach(p->messages, j, message)
	{
		json_t *own = (json_t *)(uintptr_t)prompt_own_message(p, j);
		json_t *sent = own != NULL ? json_incref(own) : prompt_message(p, (json_t *)(uintptr_t)message);
		int added = sent == NULL ? -1 : own != NULL ? json_array_append(all, own) : add_message(p, all, sent);

		json_decref(sent);
		if (added < 0)
			goto fail;
	}
	if (p->begun != NULL && json_array_append_new(all, json_pack("{s:s, s:s%}", "role", "assistant", "content",
	                                                             p->begun, p->begun_len)) < 0)
		goto fail;
	free(system);
	return all;
fail:
	free(system);
	json_decref(all);
	return NULL;
}

/* What an LLM on /v1/completions gets: the contents, joined by newlines. */
static json_t *as_prompt(const json_t *all)
{
	struct buf b = BUF_INIT(TEXT_MAX);
	const json_t *message;
	json_t *prompt = NULL;
	size_t i;

	json_array_foreach(all, i, message)
	{
		char *text = content_text(json_object_get(message, "content"));
		int failed = text == NULL || (i > 0 && buf_adds(&b, "\n") < 0) || buf_adds(&b, text) < 0;

		free(text);
		if (failed)
			goto out;
	}
	prompt = json_stringn(b.data == NULL ? "" : b.data, b.len);
out:
	buf_free(&b);
	return prompt;
}

/* ---- the body --------------------------------------------------------------------- */

static json_t *stop_strings(const struct config *c)
{
	const struct cfg_list *list = cfg_list(c, CFG_LLM_STOP);
	json_t *stop = json_array();

	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(stop, json_string(list->items[i]));
	return stop;
}

static int add_sampling(const struct prompt *p, json_t *body)
{
	const struct config *c = p->config;
	json_t *stop;

	if (p->cloud)
		return json_object_set_new(body, "temperature", json_real(cfg_real(c, CFG_CLOUD_TEMPERATURE))) |
		       json_object_set_new(body, "max_tokens", json_integer(cfg_int(c, CFG_CLOUD_MAX_TOKENS))) |
		       json_object_set_new(body, "stream", json_true());
	stop = stop_strings(c);
	return json_object_set_new(body, "temperature", json_real(cfg_real(c, CFG_LLM_TEMPERATURE))) |
	       json_object_set_new(body, "top_k", json_integer(cfg_int(c, CFG_LLM_TOP_K))) |
	       json_object_set_new(body, "top_p", json_real(cfg_real(c, CFG_LLM_TOP_P))) |
	       json_object_set_new(body, "max_tokens", json_integer(cfg_int(c, CFG_LLM_MAX_TOKENS))) |
	       json_object_set_new(body, "stream", json_true()) |
	       (json_array_size(stop) > 0 ? json_object_set_new(body, "stop", stop) : (json_decref(stop), 0)) |
	       json_object_set_new(body, "stream_options",
	                           json_pack("{s:b, s:b}", "include_usage", 1, "continuous_usage_stats", 1));
}

static int add_tools(const struct prompt *p, json_t *body)
{
	if (p->tools == NULL)
		return 0;
	return json_object_set_new(body, "tools", json_incref((json_t *)(uintptr_t)p->tools)) |
	       json_object_set_new(body, "tool_choice", json_string(p->tools_used_up ? "none" : "auto"));
}

void prompt_cache_clear(struct prompt_cache *c)
{
	for (size_t i = 0; i < 2; i++)
		for (size_t j = 0; j < 3; j++)
			free(c->tails[i][j]);
	config_unref(c->config);
	memset(c, 0, sizeof *c);
}

/* All that follows the messages: `"temperature":...}`. */
static const char *tail_of(const struct prompt *p, struct prompt_cache *cache)
{
	char **tail = &cache->tails[p->cloud][p->tools == NULL ? 0 : p->tools_used_up ? 2 : 1];
	json_t *body;

	if (cache->config != p->config) {
		prompt_cache_clear(cache);
		cache->config = config_ref((struct config *)(uintptr_t)p->config);
	}
	if (*tail == NULL) {
		body = json_object();
		if (body != NULL && add_sampling(p, body) == 0 && add_tools(p, body) == 0)
			*tail = json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(15));
		json_decref(body);
	}
	return *tail == NULL ? NULL : *tail + 1; /* without its brace */
}

static int add_json(struct buf *to, const char *name, json_t *value)
{
	char *text = value == NULL ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	int result = text == NULL ? -1 : buf_adds(to, name) | buf_adds(to, text) | buf_adds(to, ",");

	free(text);
	json_decref(value);
	return result;
}

char *prompt_body(const struct prompt *p, struct prompt_cache *cache, size_t *len)
{
	struct buf body = BUF_INIT(BODY_MAX);
	const char *tail = tail_of(p, cache);
	json_t *all = messages(p);
	int failed = tail == NULL || all == NULL || add_json(&body, "{\"model\":", json_string(p->model)) < 0;

	if (!failed && p->uses_completions)
		failed = add_json(&body, "\"prompt\":", as_prompt(all)) < 0;
	else if (!failed)
		failed = add_json(&body, "\"messages\":", json_incref(all)) < 0;
	if (!failed && p->begun != NULL && !p->uses_completions)
		failed = buf_adds(&body, CONTINUE_FINAL) < 0;
	if (!failed)
		failed = buf_adds(&body, tail) < 0;
	json_decref(all);
	if (failed) {
		buf_free(&body);
		return NULL;
	}
	return buf_steal(&body, len);
}
