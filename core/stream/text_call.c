/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/text_call.h"

#include "core/stream/call_name.h"

#include <ctype.h>
#include <string.h>

/* Between a name and its arguments. */
#define GAP_MAX 128

/* ---- NAME and its arguments ---- */

/* One thing that may stand between a name and its arguments: whitespace, tokens, [ARGS] and the like, the
 * beginning of a fence. */
static enum match skip_gap(struct cursor *c)
{
	static const char *const words[] = {"<tool_sep>", "```json", "```", "json", "code", "commentary", "analysis"};
	enum match m;

	if (cursor_is_whitespace(*c->at) || *c->at == '[' || *c->at == ']' || *c->at == '_' ||
	    isupper((unsigned char)*c->at)) {
		c->at++;
		return MATCH_YES;
	}
	if ((m = cursor_token(c)) != MATCH_NO)
		return m;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if ((m = cursor_take(c, words[i])) != MATCH_NO)
			return m;
	return MATCH_NO;
}

/* An id of Mistral's: [CALL_ID]a1b2[ARGS]. */
static bool is_call_id(const struct cursor *c, const char *from)
{
	static const char word[] = "[CALL_ID]";

	return (size_t)(c->at - from) >= sizeof word - 1 &&
	       memmem(from, (size_t)(c->at - from), word, sizeof word - 1) != NULL && isalnum((unsigned char)*c->at);
}

/* Whether a { begins pairs, and not JSON: its first key has no quotes. */
static enum match begins_pairs(struct cursor c)
{
	c.at++;
	cursor_whitespace(&c);
	if (c.at == c.end)
		return cursor_short(&c);
	return *c.at == '"' || *c.at == '}' ? MATCH_NO : MATCH_YES;
}

static enum match read_arguments(struct cursor *c, bool wrapped, json_t **arguments)
{
	const char *from = c->at;
	enum match m;

	while (c->at < c->end && *c->at != '{') {
		struct cursor token = *c;

		if (c->at - from > GAP_MAX)
			return MATCH_NO;
		if (is_call_id(c, from)) {
			c->at++;
			continue;
		}
		if (*c->at == '<' && (m = cursor_take(&token, "<|tool_arg:start|>")) != MATCH_NO) {
			if (m == MATCH_MAYBE)
				return m;
			break;
		}
		m = skip_gap(c);
		if (m == MATCH_MAYBE)
			return m;
		if (m == MATCH_NO)
			break;
	}
	if (c->at == c->end && !c->ended)
		return MATCH_MAYBE;
	if (c->at < c->end && *c->at == '{') {
		m = begins_pairs(*c);
		if (m == MATCH_MAYBE)
			return m;
		return m == MATCH_YES ? text_call_pairs(c, arguments) : text_call_json_value(c, arguments);
	}
	if (!wrapped || (c->at < c->end && *c->at != '<'))
		return MATCH_NO;
	*arguments = json_object();
	m = text_call_parameters(c, *arguments);
	if (m == MATCH_YES && c->at < c->end && *c->at != '<')
		m = MATCH_NO;
	if (m != MATCH_YES) {
		json_decref(*arguments);
		*arguments = NULL;
	}
	return m;
}

static enum match read_by_name(struct text_call_body *b, struct cursor *c, const char **tool, json_t **arguments)
{
	const bool wrapped = b->wrapper->kind == WRAPPER_CALL;
	struct span name;
	enum match m = cursor_name(c, &name);

	if (m != MATCH_YES)
		return m;
	if (span_is(&name, "print") && !b->print && c->at < c->end && *c->at == '(') {
		c->at++;
		b->print = true;
		cursor_whitespace(c);
		m = cursor_name(c, &name);
		if (m != MATCH_YES)
			return m;
	}
	*tool = call_name_resolve(name.text, name.len, b->tools);
	if (*tool == NULL)
		return MATCH_NO;
	if (c->at < c->end && *c->at == '(') {
		c->at++;
		return text_call_python(c, arguments);
	}
	if (!wrapped && b->wrapper->kind != WRAPPER_HEADER)
		return MATCH_NO;
	return read_arguments(c, wrapped, arguments);
}

/* ---- what stands before a call ---- */

/* DeepSeek V3 writes the kind of the call before its name. */
static enum match skip_kind(struct cursor *c)
{
	enum match m = cursor_take(c, "function");

	return m == MATCH_YES ? cursor_token(c) : m;
}

/* The opening of a wrapper within another one; head: one that is part of its call, so it is not passed. */
static enum match skip_opening(struct cursor *c, bool *head)
{
	enum match result = MATCH_NO;

	for (const struct wrapper_text *t = wrapper_texts(c->at, (size_t)(c->end - c->at)); t != NULL; t = t->next) {
		const struct wrapper *w = t->wrapper;
		struct cursor next = *c;
		enum match m;

		if (!t->opening || w->kind != WRAPPER_CALL || (w->flags & WRAPPER_START) != 0)
			continue;
		m = cursor_take(&next, w->opening);
		if (m == MATCH_YES) {
			*head = (w->flags & WRAPPER_HEAD) != 0;
			if (!*head)
				c->at = next.at;
			return m;
		}
		if (m == MATCH_MAYBE)
			result = m;
	}
	return result;
}

/* ```json and the like, within a wrapper. */
static enum match skip_fence(struct cursor *c)
{
	struct span word;
	enum match m = cursor_take(c, "```");

	return m == MATCH_YES ? cursor_until(c, "\n", &word) : m;
}

static enum match skip_before(struct text_call_body *b, struct cursor *c)
{
	const char first = *c->at;
	enum match m = MATCH_NO;
	bool head = false;

	if (cursor_is_whitespace(first)) {
		cursor_whitespace(c);
		return MATCH_YES;
	}
	if (b->wrapper->kind == WRAPPER_CALL || b->wrapper->kind == WRAPPER_FENCE) {
		struct cursor next = *c;

		if (first == '<' || first == '[' || first == ']')
			m = skip_opening(&next, &head);
		if (head)
			return MATCH_NO;
		if (m == MATCH_NO && first == '<')
			m = cursor_token(&next);
		else if (m == MATCH_NO && first == ']')
			m = cursor_take(&next, MINIMAX_TOKEN);
		else if (first == 'f')
			m = skip_kind(&next);
		else if (first == '`')
			m = skip_fence(&next);
		if (m != MATCH_NO) {
			c->at = next.at;
			return m;
		}
	}
	if (first != '[' || b->array)
		return MATCH_NO;
	c->at++;
	b->array = true;
	return MATCH_YES;
}

enum match text_call_read(struct text_call_body *b, struct cursor *c, struct text_call *call)
{
	struct text_call_body in = *b;
	json_t *arguments = NULL, *object = NULL;
	const bool wrapped = b->wrapper->kind == WRAPPER_CALL;
	enum match m;

	do {
		if (c->at == c->end)
			return cursor_short(c);
		m = skip_before(&in, c);
	} while (m == MATCH_YES);
	if (m == MATCH_MAYBE)
		return m;
	if (*c->at == '{' && wrapped && c->at + 1 < c->end && c->at[1] == '\'') {
		m = text_call_python_value(c, &object);
		if (m == MATCH_YES && !text_call_of_object(object, b, &call->tool, &arguments))
			m = MATCH_NO;
		json_decref(object);
	} else if (*c->at == '{') {
		m = text_call_json(c, b, &call->tool, &arguments);
	} else if (*c->at == '<') {
		m = text_call_tag(c, b, &call->tool, &arguments);
	} else {
		m = read_by_name(&in, c, &call->tool, &arguments);
	}
	if (m != MATCH_YES)
		return m;
	call->arguments = json_is_string(arguments)
	                          ? strndup(json_string_value(arguments), json_string_length(arguments))
	                          : json_dumps(arguments, JSON_COMPACT | JSON_ENCODE_ANY);
	json_decref(arguments);
	if (call->arguments == NULL)
		return MATCH_NO;
	*b = in;
	return MATCH_YES;
}

/* ---- what stands after one ---- */

enum match text_call_separator(struct text_call_body *b, struct cursor *c)
{
	enum match result = MATCH_NO, m;
	struct cursor next = *c;

	if (c->at == c->end)
		return cursor_short(c);
	if (cursor_is_whitespace(*c->at) || *c->at == ';' || *c->at == ',') {
		c->at++;
		return MATCH_YES;
	}
	if ((*c->at == ']' && b->array) || (*c->at == ')' && b->print)) {
		b->array = b->array && *c->at != ']';
		b->print = b->print && *c->at != ')';
		c->at++;
		return MATCH_YES;
	}
	if (*c->at == '`' && (b->wrapper->kind == WRAPPER_CALL || b->wrapper->kind == WRAPPER_FENCE))
		return cursor_take(c, "```");
	for (const struct wrapper_text *t = wrapper_texts(c->at, (size_t)(c->end - c->at)); t != NULL; t = t->next) {
		if (t->opening || t->wrapper->kind != WRAPPER_CALL || (t->wrapper->flags & WRAPPER_TOKEN) != 0)
			continue;
		next = *c;
		m = cursor_take(&next, t->text);
		if (m == MATCH_YES) {
			c->at = next.at;
			return m;
		}
		if (m == MATCH_MAYBE)
			result = m;
	}
	return result;
}

/* ---- a call and its surroundings ---- */

/* The name of a fence that may be a call, and the line end after it. */
static enum match read_fence(struct cursor *c)
{
	static const char *const names[] = {"\n", "json\n", "tool_code\n", "tool_call\n", "tool_calls\n", "xml\n"};
	enum match result = MATCH_NO;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		enum match m = cursor_take(c, names[i]);

		if (m == MATCH_YES)
			return m;
		if (m == MATCH_MAYBE)
			result = m;
	}
	return result;
}

/* A token of a chat template, with a row or without. */
static enum match read_token(struct cursor *c)
{
	enum match result = cursor_token(c);

	for (const struct wrapper_text *t = wrapper_texts(c->at, (size_t)(c->end - c->at));
	     t != NULL && result != MATCH_YES; t = t->next) {
		enum match m = (t->wrapper->flags & (WRAPPER_TOKEN | WRAPPER_ALWAYS)) != 0 ? cursor_take(c, t->text)
		                                                                           : MATCH_NO;

		result = m != MATCH_NO ? m : result;
	}
	return result;
}

/* After a fence that may be the whole answer: only whitespace and tokens until the end. */
static enum match read_text_end(struct cursor *c)
{
	enum match m;

	for (;;) {
		cursor_whitespace(c);
		if (c->at == c->end)
			return c->ended ? MATCH_YES : MATCH_MAYBE;
		if ((m = read_token(c)) != MATCH_YES)
			return m;
	}
}

/* What follows a call that counts only with its surroundings. */
static enum match read_surroundings(struct text_call_body *b, struct cursor *c, enum text_call_need need)
{
	struct text_call call;
	enum match m;

	for (;;) {
		while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
			c->at++;
		if (c->at == c->end)
			return c->ended ? MATCH_YES : MATCH_MAYBE;
		if (need == TEXT_CALL_LINE_END && (*c->at == '\n' || *c->at == '\r'))
			return MATCH_YES;
		if (need == TEXT_CALL_LINE_END && (*c->at == ',' || *c->at == ';'))
			return MATCH_NO;
		if (need == TEXT_CALL_TEXT_END && *c->at == '`') {
			m = cursor_take(c, "```");
			return m == MATCH_YES ? read_text_end(c) : m;
		}
		m = text_call_separator(b, c);
		if (m == MATCH_NO && need == TEXT_CALL_LINE_END && (m = read_token(c)) == MATCH_YES)
			return m;
		if (m == MATCH_NO) {
			m = text_call_read(b, c, &call);
			if (m == MATCH_YES)
				free(call.arguments);
		}
		if (m != MATCH_YES)
			return m;
	}
}

enum match text_call_read_as(struct text_call_body *b, struct cursor *c, enum text_call_need need,
                             struct text_call *call)
{
	struct cursor after;
	struct text_call_body around;
	enum match m = need == TEXT_CALL_TEXT_END ? read_fence(c) : MATCH_YES;

	if (m == MATCH_YES)
		m = text_call_read(b, c, call);
	if (m != MATCH_YES || need == TEXT_CALL_ANYWHERE)
		return m;
	after = *c;
	around = *b;
	m = read_surroundings(&around, &after, need);
	if (m != MATCH_YES) {
		free(call->arguments);
		c->at = after.at;
	}
	return m;
}
