/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/prompt.h"

#include "core/base/buf.h"
#include "core/base/utf8.h"
#include "core/protocol/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT_MAX (64u << 20)
/* vLLM: the last message is not a new one but the beginning of the answer. */
#define CONTINUE_FINAL "\"continue_final_message\":true,\"add_generation_prompt\":false,"
#define BODY_MAX       (256u << 20)

static bool lacks(const struct prompt *p, enum quirk q)
{
	return (p->quirks.set & QUIRK_BIT(q)) != 0;
}

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

static json_t *parts_of(const json_t *content)
{
	if (json_is_array(content))
		return json_copy((json_t *)(uintptr_t)content); /* it is the turn's */
	return json_pack("[{s:s, s:O}]", "type", "text", "text", content);
}

/* Content, followed by more of it; a new reference. */
static json_t *joined(const json_t *content, const json_t *more)
{
	json_t *parts, *rest;
	int failed;

	if (!json_is_array(content) && !json_is_array(more))
		return json_sprintf("%s\n\n%s", json_string_value(content), json_string_value(more));
	parts = parts_of(content);
	rest = parts_of(more);
	failed = parts == NULL || rest == NULL || json_array_extend(parts, rest) < 0;
	json_decref(rest);
	if (!failed)
		return parts;
	json_decref(parts);
	return NULL;
}

static bool is_content(const json_t *content)
{
	return json_is_string(content) || json_is_array(content);
}

/* Chat templates refuse two messages of one role in a row: the second joins the first. Steals it. */
static int add_joined(json_t *to, json_t *message)
{
	json_t *last = json_array_get(to, json_array_size(to) - 1);
	const char *role = json_string_value(json_object_get(message, "role"));
	const char *last_role = json_string_value(json_object_get(last, "role"));
	const json_t *content = json_object_get(last, "content"), *more = json_object_get(message, "content");
	int result;

	if (role == NULL || last_role == NULL || strcmp(last_role, role) != 0 || !is_content(content) ||
	    !is_content(more))
		return json_array_append_new(to, message);
	result = json_object_set_new(last, "content", joined(content, more));
	json_decref(message);
	return result;
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

		result =
			result_text == NULL ? -1 : add_joined(to, text_message("user", json_string_value(result_text)));
		json_decref(result_text);
	} else if (*text != '\0') {
		result = add_joined(to, text_message(role, text));
	}
	free(text);
	return result;
}

/* join: where the last one has the same role, both become one. */
static int add_message(const struct prompt *p, json_t *to, const json_t *message, bool join)
{
	static const char *const known[] = {"role", "content", "tool_calls", "tool_call_id", "name"};
	const char *role = json_string_value(json_object_get(message, "role"));
	json_t *content = json_object_get(message, "content");
	json_t *out;

	if (role == NULL)
		return 0;
	if (!p->uses_tools || lacks(p, QUIRK_ROLES))
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
	return join ? add_joined(to, out) : json_array_append_new(to, out);
}

size_t prompt_result_len(const json_t *message)
{
	const char *role = json_string_value(json_object_get(message, "role"));

	return role != NULL && strcmp(role, "tool") == 0 ? json_string_length(json_object_get(message, "content")) : 0;
}

json_t *prompt_message(const struct prompt *p, json_t *message)
{
	size_t len = prompt_result_len(message), head, tail = p->result_max / 4;
	const char *text;
	json_t *cut;

	if (p->result_max == 0 || len <= p->result_max)
		return json_incref(message);
	text = json_string_value(json_object_get(message, "content"));
	head = utf8_cut(text, p->result_max - tail);
	while (tail > 0 && ((unsigned char)text[len - tail] & 0xc0) == 0x80)
		tail--;
	cut = json_copy(message);
	if (cut == NULL ||
	    json_object_set_new(
		    cut, "content",
		    json_sprintf("%.*s\n[... %zu bytes of this result are left out here, because it does not fit "
	                         "the context window ...]\n%s",
	                         (int)head, text, len - head - tail, text + len - tail)) == 0)
		return cut;
	json_decref(cut);
	return NULL;
}

const json_t *prompt_own_message(const struct prompt *p, size_t position)
{
	const json_t *sent = p->uses_tools ? json_array_get(p->as_sent, position) : NULL;
	bool own = json_is_object(sent) && json_integer_value(json_object_get(sent, "instance")) == p->instance;

	return own ? json_object_get(sent, "message") : NULL;
}

static json_t *messages(const struct prompt *p)
{
	const bool in_user = lacks(p, QUIRK_SYSTEM_ROLE);
	json_t *all = json_array();
	const json_t *turn, *message;
	size_t i, j;
	bool none, join;
	char *system = system_text(p, &none);

	if (all == NULL || (system == NULL && !none))
		goto fail;
	if (system != NULL && json_array_append_new(all, text_message(in_user ? "user" : "system", system)) < 0)
		goto fail;
	join = lacks(p, QUIRK_ROLES) || (in_user && system != NULL);
	json_array_foreach(p->turns, i, turn)
	{
		if (i < p->skip_turns)
			continue;
		json_array_foreach(turn, j, message)
		{
			if (add_message(p, all, message, join) < 0)
				goto fail;
			join = lacks(p, QUIRK_ROLES);
		}
	}
	json_array_foreach(p->messages, j, message)
	{
		json_t *own = (json_t *)(uintptr_t)prompt_own_message(p, j);
		json_t *sent = own != NULL ? json_incref(own) : prompt_message(p, (json_t *)(uintptr_t)message);
		int added = sent == NULL  ? -1
		            : own != NULL ? json_array_append(all, own)
		                          : add_message(p, all, sent, join);

		json_decref(sent);
		if (added < 0)
			goto fail;
		join = lacks(p, QUIRK_ROLES);
	}
	if (p->begun != NULL) {
		json_t *begun = json_pack("{s:s, s:s%}", "role", "assistant", "content", p->begun, p->begun_len);

		if ((join ? add_joined(all, begun) : json_array_append_new(all, begun)) < 0)
			goto fail;
	}
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

static const char *extra_of(const struct prompt *p, bool of_kind)
{
	if (!of_kind)
		return cfg_str(p->config, CFG_LLM_EXTRA);
	return p->kind == NULL ? NULL : cfg_str(p->config, p->kind->extra);
}

/* Members of the settings *.extra, which are valid. */
static int add_extra(const struct prompt *p, json_t *body)
{
	int result = 0;

	for (int of_kind = 0; of_kind < 2; of_kind++) {
		const char *text = extra_of(p, of_kind != 0);
		json_t *extra = text == NULL ? NULL : json_loads(text, 0, NULL);

		if (text != NULL)
			result |= extra == NULL ? -1 : json_object_update(body, extra);
		json_decref(extra);
	}
	if (json_object_get(body, "max_completion_tokens") != NULL)
		json_object_del(body, "max_tokens");
	return result;
}

/* Takes the field at path, "a" or "a.b", out of the body; a parent that is empty then, too. */
static void leave_out(json_t *body, const char *path)
{
	const char *dot = strchr(path, '.');
	char parent[64];
	json_t *inner;

	if (dot == NULL) {
		json_object_del(body, path);
		return;
	}
	snprintf(parent, sizeof parent, "%.*s", (int)(dot - path), path);
	inner = json_object_get(body, parent);
	json_object_del(inner, dot + 1);
	if (json_is_object(inner) && json_object_size(inner) == 0)
		json_object_del(body, parent);
}

static bool has_field(const json_t *body, const char *path)
{
	const char *dot = strchr(path, '.');
	char parent[64];

	if (dot == NULL)
		return json_object_get(body, path) != NULL;
	snprintf(parent, sizeof parent, "%.*s", (int)(dot - path), path);
	return json_object_get(json_object_get(body, parent), dot + 1) != NULL;
}

static const char *const limits[] = {"max_tokens", "max_completion_tokens"};

static int apply_quirks(const struct prompt *p, json_t *body)
{
	json_t *tokens = json_object_get(body, "max_tokens");
	int result = 0;

	if (lacks(p, QUIRK_RENAMED_MAX_TOKENS) && tokens != NULL)
		result = json_object_set(body, "max_completion_tokens", tokens) | json_object_del(body, "max_tokens");
	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
		if (p->quirks.max_tokens > 0 &&
		    json_integer_value(json_object_get(body, limits[i])) > p->quirks.max_tokens)
			result |= json_object_set_new(body, limits[i], json_integer(p->quirks.max_tokens));
	for (unsigned q = 0; q < QUIRKS; q++)
		if (lacks(p, (enum quirk)q) && quirk_field((enum quirk)q) != NULL)
			leave_out(body, quirk_field((enum quirk)q));
	if (lacks(p, QUIRK_MAX_TOKENS))
		json_object_del(body, "max_completion_tokens");
	if (lacks(p, QUIRK_STREAM))
		json_object_del(body, "stream_options"); /* only allowed with stream */
	return result;
}

/* All fields but the model and the messages; NULL: no memory. */
static json_t *fields_of(const struct prompt *p)
{
	json_t *body = json_object();

	if (body != NULL && add_sampling(p, body) == 0 && add_tools(p, body) == 0 && add_extra(p, body) == 0 &&
	    apply_quirks(p, body) == 0)
		return body;
	json_decref(body);
	return NULL;
}

void prompt_adjust(struct prompt *p)
{
	p->quirks.set |= quirks_omitted(p->config, CFG_LLM_OMIT);
	if (p->kind != NULL)
		p->quirks.set |= quirks_omitted(p->config, p->kind->omit);
	if (lacks(p, QUIRK_ROLES))
		p->quirks.set |= QUIRK_BIT(QUIRK_SYSTEM_ROLE);
	if (lacks(p, QUIRK_IMAGES))
		p->vision = false;
	/* Without tool_choice, only an LLM that is offered no tools is sure to answer at last. */
	if (lacks(p, QUIRK_TOOLS) || (lacks(p, QUIRK_TOOL_CHOICE) && p->tools_used_up)) {
		p->uses_tools = false;
		p->tools = NULL;
	}
}

unsigned prompt_sent(const struct prompt *p)
{
	json_t *body = fields_of(p);
	const json_t *message;
	unsigned sent = QUIRK_BIT(QUIRK_ROLES);
	bool none;
	char *system = system_text(p, &none);
	size_t i;

	for (unsigned q = 0; q < QUIRKS; q++)
		if (quirk_field((enum quirk)q) != NULL && has_field(body, quirk_field((enum quirk)q)))
			sent |= QUIRK_BIT(q);
	if ((sent & QUIRK_BIT(QUIRK_MAX_TOKENS)) != 0)
		sent |= QUIRK_BIT(QUIRK_RENAMED_MAX_TOKENS);
	if (has_field(body, "max_completion_tokens"))
		sent |= QUIRK_BIT(QUIRK_MAX_TOKENS);
	if (system != NULL)
		sent |= QUIRK_BIT(QUIRK_SYSTEM_ROLE);
	json_array_foreach(p->messages, i, message) if (p->vision && has_image(json_object_get(message, "content")))
		sent |= QUIRK_BIT(QUIRK_IMAGES);
	if (p->begun != NULL)
		sent |= QUIRK_BIT(QUIRK_CONTINUATION);
	free(system);
	json_decref(body);
	return sent & ~p->quirks.set;
}

int64_t prompt_max_tokens(const struct prompt *p)
{
	int64_t tokens = cfg_int(p->config, p->cloud ? CFG_CLOUD_MAX_TOKENS : CFG_LLM_MAX_TOKENS);

	if (extra_of(p, false) != NULL || extra_of(p, true) != NULL) {
		json_t *body = fields_of(p);

		for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
			if (json_is_integer(json_object_get(body, limits[i])))
				tokens = json_integer_value(json_object_get(body, limits[i]));
		json_decref(body);
	}
	return p->quirks.max_tokens > 0 && p->quirks.max_tokens < tokens ? p->quirks.max_tokens : tokens;
}

/* ---- the part that is cached ------------------------------------------------------ */

void prompt_cache_clear(struct prompt_cache *c)
{
	for (size_t i = 0; i < PROMPT_TAILS; i++)
		free(c->tails[i].json);
	config_unref(c->config);
	memset(c, 0, sizeof *c);
}

static bool is_tail_of(const struct prompt_tail *t, const struct prompt *p)
{
	return t->json != NULL && t->kind == p->kind && t->quirks.set == p->quirks.set &&
	       t->quirks.max_tokens == p->quirks.max_tokens && t->cloud == p->cloud && t->tools == (p->tools != NULL) &&
	       (!t->tools || t->used_up == p->tools_used_up);
}

/* All that follows the messages: `"temperature":...}`. */
static const char *tail_of(const struct prompt *p, struct prompt_cache *cache)
{
	struct prompt_tail *tail;
	json_t *body;
	char *text;

	if (cache->config != p->config) {
		prompt_cache_clear(cache);
		cache->config = config_ref((struct config *)(uintptr_t)p->config);
	}
	for (size_t i = 0; i < PROMPT_TAILS; i++)
		if (is_tail_of(&cache->tails[i], p))
			return cache->tails[i].json + 1; /* without its brace */
	body = fields_of(p);
	text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(15));
	json_decref(body);
	if (text == NULL)
		return NULL;
	tail = &cache->tails[cache->next];
	cache->next = (cache->next + 1) % PROMPT_TAILS;
	free(tail->json);
	*tail = (struct prompt_tail){.json = text,
	                             .kind = p->kind,
	                             .quirks = p->quirks,
	                             .cloud = p->cloud,
	                             .tools = p->tools != NULL,
	                             .used_up = p->tools_used_up};
	return text + 1;
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
	if (!failed && strcmp(tail, "}") == 0)
		body.len--; /* the comma before nothing */
	if (!failed)
		failed = buf_adds(&body, tail) < 0;
	json_decref(all);
	if (failed) {
		buf_free(&body);
		return NULL;
	}
	return buf_steal(&body, len);
}
