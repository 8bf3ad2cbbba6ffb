/* SPDX-License-Identifier: Apache-2.0 */
/* What a request has beside the model and the messages: sampling, tools, what the settings add and
 * leave out, and what the LLM refuses. */
#include "core/turn/prompt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	       (p->tool_choice != NULL && !p->tools_used_up
	                ? json_object_set(body, "tool_choice", (json_t *)(uintptr_t)p->tool_choice)
	                : json_object_set_new(body, "tool_choice", json_string(p->tools_used_up ? "none" : "auto")));
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

/* Servers know one of the two names, or both. */
static int rename_limit(const struct prompt *p, json_t *body)
{
	json_t *tokens = json_object_get(body, "max_tokens");

	if (!prompt_lacks(p, QUIRK_RENAMED_MAX_TOKENS) || tokens == NULL)
		return 0;
	return json_object_set(body, "max_completion_tokens", tokens) | json_object_del(body, "max_tokens");
}

static int apply_quirks(const struct prompt *p, json_t *body)
{
	int result = rename_limit(p, body);

	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
		if (p->quirks.max_tokens > 0 &&
		    json_integer_value(json_object_get(body, limits[i])) > p->quirks.max_tokens)
			result |= json_object_set_new(body, limits[i], json_integer(p->quirks.max_tokens));
	for (unsigned q = 0; q < QUIRKS; q++)
		if (prompt_lacks(p, (enum quirk)q) && quirk_field((enum quirk)q) != NULL)
			leave_out(body, quirk_field((enum quirk)q));
	if (prompt_lacks(p, QUIRK_MAX_TOKENS))
		json_object_del(body, "max_completion_tokens");
	if (prompt_lacks(p, QUIRK_STREAM))
		json_object_del(body, "stream_options"); /* only allowed with stream */
	return result;
}

/* What the service cannot do without: it reads a stream, and counts. */
static int add_stream(const struct prompt *p, json_t *body)
{
	json_t *options = json_pack("{s:b}", "include_usage", 1);

	if (!p->cloud && options != NULL)
		json_object_set_new(options, "continuous_usage_stats", json_true());
	return json_object_set_new(body, "stream", json_true()) | json_object_set_new(body, "stream_options", options);
}

static int take_out(json_t *body, const char *const *names)
{
	for (; *names != NULL; names++)
		json_object_del(body, *names);
	return 0;
}

/* The client's fields, and ours around them: its own are left as they are, but for the name of the limit. */
static int add_given(const struct prompt *p, json_t *body)
{
	static const char *const ours[] = {"stream", "stream_options", NULL};
	static const char *const continuing[] = {"continue_final_message", "add_generation_prompt", NULL};
	static const char *const tools[] = {"tools", "tool_choice", NULL};
	json_t *given = json_copy((json_t *)(uintptr_t)p->fields);
	const json_t *limit = json_object_get(given, "max_completion_tokens");
	int result = given == NULL ? -1 : take_out(given, ours);

	if (p->begun != NULL)
		take_out(given, continuing);
	if (!p->plain) {
		take_out(given, tools); /* they are among ours */
		if (limit != NULL || json_object_get(given, "max_tokens") != NULL)
			json_object_del(body, "max_tokens");
	}
	result |= json_object_update(body, given);
	json_decref(given);
	return result;
}

/* All fields but the model and the messages; NULL: no memory. */
static json_t *fields_of(const struct prompt *p)
{
	json_t *body = json_object();

	if (body == NULL)
		return NULL;
	if (p->plain) {
		if (add_stream(p, body) == 0 && add_extra(p, body) == 0 && apply_quirks(p, body) == 0 &&
		    add_given(p, body) == 0 && rename_limit(p, body) == 0)
			return body;
	} else if (add_sampling(p, body) == 0 && add_tools(p, body) == 0 && add_extra(p, body) == 0 &&
	           (p->fields == NULL || (add_stream(p, body) == 0 && add_given(p, body) == 0)) &&
	           apply_quirks(p, body) == 0) {
		return body;
	}
	json_decref(body);
	return NULL;
}

/* Where the window holds no more than the longest answer, no prompt fits: half of it is left to the prompt. */
static void fit_answer(struct prompt *p)
{
	if (p->context > 1 && !p->plain && !prompt_lacks(p, QUIRK_MAX_TOKENS) && p->context <= prompt_max_tokens(p))
		p->quirks.max_tokens = p->context / 2;
}

void prompt_adjust(struct prompt *p)
{
	p->quirks.set |= quirks_omitted(p->config, CFG_LLM_OMIT);
	if (p->kind != NULL)
		p->quirks.set |= quirks_omitted(p->config, p->kind->omit);
	if (prompt_lacks(p, QUIRK_ROLES))
		p->quirks.set |= QUIRK_BIT(QUIRK_SYSTEM_ROLE);
	if (prompt_lacks(p, QUIRK_IMAGES))
		p->vision = false;
	/* Without tool_choice, only an LLM that is offered no tools is sure to answer at last. */
	if (prompt_lacks(p, QUIRK_TOOLS) || (prompt_lacks(p, QUIRK_TOOL_CHOICE) && p->tools_used_up)) {
		p->uses_tools = false;
		p->tools = NULL;
	}
	fit_answer(p);
}

unsigned prompt_fields_sent(const struct prompt *p)
{
	json_t *body = fields_of(p);
	unsigned sent = 0;

	for (unsigned q = 0; q < QUIRKS; q++)
		if (quirk_field((enum quirk)q) != NULL && has_field(body, quirk_field((enum quirk)q)))
			sent |= QUIRK_BIT(q);
	if ((sent & QUIRK_BIT(QUIRK_MAX_TOKENS)) != 0)
		sent |= QUIRK_BIT(QUIRK_RENAMED_MAX_TOKENS);
	if (has_field(body, "max_completion_tokens"))
		sent |= QUIRK_BIT(QUIRK_MAX_TOKENS);
	/* What the client wants is left as it is: a refusal of that is for the client to know. */
	for (unsigned q = 0; p->plain && q < QUIRKS; q++)
		if (quirk_field((enum quirk)q) != NULL && has_field(p->fields, quirk_field((enum quirk)q)) &&
		    q != QUIRK_STREAM && q != QUIRK_INCLUDE_USAGE && q != QUIRK_CONTINUOUS_USAGE &&
		    q != QUIRK_STREAM_OPTIONS)
			sent &= ~QUIRK_BIT(q);
	json_decref(body);
	return sent;
}

int64_t prompt_max_tokens(const struct prompt *p)
{
	int64_t tokens = p->plain ? 0 : cfg_int(p->config, p->cloud ? CFG_CLOUD_MAX_TOKENS : CFG_LLM_MAX_TOKENS);

	if (p->fields != NULL || extra_of(p, false) != NULL || extra_of(p, true) != NULL) {
		json_t *body = fields_of(p);

		for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++)
			if (json_is_integer(json_object_get(body, limits[i])))
				tokens = json_integer_value(json_object_get(body, limits[i]));
		json_decref(body);
	}
	return p->quirks.max_tokens > 0 && p->quirks.max_tokens < tokens ? p->quirks.max_tokens : tokens;
}

const json_t *prompt_own_message(const struct prompt *p, size_t position)
{
	const bool as_they_came =
		p->uses_tools && !prompt_lacks(p, QUIRK_ROLES) && !prompt_lacks(p, QUIRK_OWN_MESSAGES);
	const json_t *sent = as_they_came ? json_array_get(p->as_sent, position) : NULL;
	bool own = json_is_object(sent) && json_integer_value(json_object_get(sent, "instance")) == p->instance;

	return own ? json_object_get(sent, "message") : NULL;
}

char *prompt_own_tail(const struct prompt *p)
{
	json_t *body = fields_of(p);
	char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(15));

	json_decref(body);
	if (text != NULL)
		memmove(text, text + 1, strlen(text)); /* without its brace */
	return text;
}
