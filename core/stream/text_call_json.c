/* SPDX-License-Identifier: Apache-2.0 */
/* Calls and arguments as JSON. */
#include "core/base/buf.h"
#include "core/stream/call_name.h"
#include "core/stream/text_call.h"

#include <ctype.h>
#include <string.h>

/* ---- the shape of a call ---- */

enum { NAME = 1, ARGUMENTS, FUNCTION, TYPE, ID };

/* The keys of a call, as models write them. */
static const struct {
	const char *key;
	int member;
} keys[] = {
	{"name", NAME},       {"tool_name", NAME},    {"arguments", ARGUMENTS}, {"parameters", ARGUMENTS},
	{"args", ARGUMENTS},  {"function", FUNCTION}, {"type", TYPE},           {"id", ID},
	{"tool_call_id", ID}, {"index", ID},
};

static const char *const types[] = {"function", "tool_call", "function_call", "tool_use"};

/* What is open where a value is read. */
struct open {
	uint64_t objects; /* a bit for each level: it is an object */
	unsigned depth;
	bool closable; /* only closing brackets are missing */
};

/* ---- values ---- */

/* After the opening quote. */
static enum match skip_string(struct cursor *c)
{
	for (; c->at < c->end; c->at++) {
		if (*c->at == '"') {
			c->at++;
			return MATCH_YES;
		}
		if (*c->at == '\\' && ++c->at == c->end)
			break;
	}
	return cursor_short(c);
}

static bool is_scalar(char c)
{
	return (c & 0x80) == 0 && (isalnum((unsigned char)c) || c == '+' || c == '-' || c == '.');
}

static enum match skip_value(struct cursor *c, struct open *o)
{
	enum { VALUE, ITEM, KEY, MEMBER, COLON, AFTER } next = VALUE;
	enum match m;

	*o = (struct open){0};
	for (;;) {
		cursor_whitespace(c);
		o->closable = next == AFTER;
		if (c->at == c->end)
			return cursor_short(c);
		const char ch = *c->at;
		const bool object = o->depth > 0 && (o->objects >> (o->depth - 1) & 1) != 0;
		const bool closes = (next == AFTER && ch == (object ? '}' : ']')) || (next == MEMBER && ch == '}') ||
		                    (next == ITEM && ch == ']');

		if (closes) {
			c->at++;
			o->depth--;
			next = AFTER;
		} else if (next == AFTER && ch == ',') {
			c->at++;
			next = object ? KEY : VALUE;
		} else if (next == COLON && ch == ':') {
			c->at++;
			next = VALUE;
		} else if (next == AFTER || next == COLON) {
			return MATCH_NO;
		} else if (ch == '"') {
			c->at++;
			if ((m = skip_string(c)) != MATCH_YES)
				return m;
			next = next == KEY || next == MEMBER ? COLON : AFTER;
		} else if (next == KEY || next == MEMBER) {
			return MATCH_NO;
		} else if (ch == '{' || ch == '[') {
			if (o->depth == TEXT_CALL_DEPTH_MAX)
				return MATCH_NO;
			c->at++;
			o->objects = (o->objects & ~(1ull << o->depth)) | (uint64_t)(ch == '{') << o->depth;
			o->depth++;
			next = ch == '{' ? MEMBER : ITEM;
		} else if (is_scalar(ch)) {
			while (c->at < c->end && is_scalar(*c->at))
				c->at++;
			if (c->at == c->end && !c->ended)
				return MATCH_MAYBE;
			next = AFTER;
		} else {
			return MATCH_NO;
		}
		if (next == AFTER && o->depth == 0)
			return MATCH_YES;
	}
}

/* What was read, with the brackets that are missing. Control characters in strings, which JSON forbids and
 * models write, are escaped. NULL: it is not valid, or no memory. */
static json_t *load(const char *text, size_t len, const struct open *o)
{
	struct buf whole = BUF_INIT(len * 6 + TEXT_CALL_DEPTH_MAX + 1);
	json_t *value = NULL;
	bool in_string = false, failed = false;

	for (size_t i = 0; i < len && !failed; i++) {
		if (in_string && (unsigned char)text[i] < 0x20) {
			failed = buf_addf(&whole, "\\u%04x", (unsigned)text[i]) < 0;
			continue;
		}
		if (text[i] == '"')
			in_string = !in_string;
		failed = buf_add(&whole, &text[i], 1) < 0;
		if (in_string && text[i] == '\\' && i + 1 < len && (unsigned char)text[i + 1] >= 0x20)
			failed |= buf_add(&whole, &text[++i], 1) < 0;
	}
	for (unsigned level = o->depth; level > 0; level--)
		failed |= buf_adds(&whole, (o->objects >> (level - 1) & 1) != 0 ? "}" : "]") < 0;
	if (!failed)
		value = json_loadb(whole.data, whole.len, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
	buf_free(&whole);
	return value;
}

enum match text_call_json_value(struct cursor *c, json_t **value)
{
	const char *from = c->at;
	struct open o;
	enum match m = skip_value(c, &o);

	if (m == MATCH_NO && c->ended && c->at == c->end && o.closable)
		m = MATCH_YES;
	if (m != MATCH_YES)
		return m;
	*value = load(from, (size_t)(c->at - from), &o);
	return *value != NULL ? MATCH_YES : MATCH_NO;
}

/* ---- calls ---- */

struct call {
	const struct text_call_body *body;
	const char *tool;
	json_t *arguments;
};

/* The string that begins at the cursor, where it is one of those that may stand there. */
static enum match read_key(struct cursor *c, const struct call *call, int *member)
{
	const char *from = c->at + 1;
	size_t len;
	enum match m;

	c->at++;
	m = skip_string(c);
	if (m == MATCH_NO)
		return m;
	len = (size_t)(c->at - from) - (m == MATCH_YES);
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		const size_t key_len = strlen(keys[i].key);

		if ((m == MATCH_YES ? len == key_len : len <= key_len) && memcmp(keys[i].key, from, len) == 0) {
			*member = keys[i].member;
			return m;
		}
	}
	/* Apertus: {"NAME": {...}} */
	*member = 0;
	if (call->body->wrapper->kind == WRAPPER_CALL && call->tool == NULL &&
	    (m == MATCH_MAYBE || call_name_resolve(from, len, call->body->tools) != NULL))
		return m;
	c->at = from; /* wherever it became clear */
	return MATCH_NO;
}

static enum match read_string(struct cursor *c, struct span *text)
{
	enum match m;

	if (*c->at != '"')
		return MATCH_NO;
	text->text = ++c->at;
	m = skip_string(c);
	text->len = (size_t)(c->at - text->text) - (m == MATCH_YES);
	return m;
}

static enum match read_name(struct cursor *c, struct call *call)
{
	struct cursor name;
	struct span text;
	enum match m;

	if (call->tool != NULL || *c->at != '"')
		return MATCH_NO;
	name = (struct cursor){c->at + 1, c->end, c->ended};
	m = cursor_name(&name, &text);
	c->at = m == MATCH_NO ? c->at : name.at;
	if (m == MATCH_YES)
		m = cursor_take(c, "\"");
	if (m != MATCH_YES)
		return m;
	call->tool = call_name_resolve(text.text, text.len, call->body->tools);
	return call->tool != NULL ? MATCH_YES : MATCH_NO;
}

static enum match read_type(struct cursor *c)
{
	struct span text = {c->at, 0};
	enum match m = read_string(c, &text);

	for (size_t i = 0; m != MATCH_NO && i < sizeof types / sizeof types[0]; i++)
		if ((m == MATCH_YES ? text.len == strlen(types[i]) : text.len <= strlen(types[i])) &&
		    memcmp(text.text, types[i], text.len) == 0)
			return m;
	c->at = text.text;
	return MATCH_NO;
}

static enum match read_arguments(struct cursor *c, struct call *call)
{
	enum match m;

	if (call->arguments != NULL || (*c->at != '{' && *c->at != '"' && *c->at != 'n'))
		return MATCH_NO;
	m = text_call_json_value(c, &call->arguments);
	if (m == MATCH_YES && json_is_null(call->arguments)) {
		json_decref(call->arguments);
		call->arguments = json_object();
	}
	return m;
}

static enum match read_object(struct cursor *c, struct call *call, bool within);

static enum match read_member(struct cursor *c, struct call *call, int member, const struct span *key, bool within)
{
	struct open o;

	switch (member) {
	case NAME:
		return read_name(c, call);
	case ARGUMENTS:
		return read_arguments(c, call);
	case FUNCTION:
		return *c->at == '{' && !within ? read_object(c, call, true) : read_name(c, call);
	case TYPE:
		return read_type(c);
	case ID:
		return *c->at == '{' || *c->at == '[' ? MATCH_NO : skip_value(c, &o);
	default:
		call->tool = call_name_resolve(key->text, key->len, call->body->tools);
		return read_arguments(c, call);
	}
}

static bool is_whole(const struct call *call)
{
	return call->tool != NULL && call->arguments != NULL;
}

/* From the opening brace on. Where the call is whole, what cannot continue it closes it. */
static enum match read_object(struct cursor *c, struct call *call, bool within)
{
	enum match m;
	int member;

	for (c->at++;; c->at++) {
		struct span key;

		cursor_whitespace(c);
		if (c->at == c->end)
			return cursor_short(c);
		if (*c->at != '"')
			return MATCH_NO;
		key.text = c->at + 1;
		if ((m = read_key(c, call, &member)) != MATCH_YES)
			return m;
		key.len = (size_t)(c->at - key.text) - 1;
		cursor_whitespace(c);
		if ((m = cursor_take(c, ":")) != MATCH_YES)
			return m;
		cursor_whitespace(c);
		if (c->at == c->end)
			return cursor_short(c);
		if ((m = read_member(c, call, member, &key, within)) != MATCH_YES)
			return m;
		cursor_whitespace(c);
		if (c->at == c->end)
			return c->ended && is_whole(call) ? MATCH_YES : cursor_short(c);
		if (*c->at == '}') {
			c->at++;
			return MATCH_YES;
		}
		if (*c->at != ',')
			return is_whole(call) ? MATCH_YES : MATCH_NO;
	}
}

enum match text_call_json(struct cursor *c, const struct text_call_body *b, const char **tool, json_t **arguments)
{
	struct call call = {.body = b};
	enum match m = read_object(c, &call, false);

	/* In a wrapper, a call without arguments is one as well. */
	if (m == MATCH_YES && call.arguments == NULL && b->wrapper->kind == WRAPPER_CALL)
		call.arguments = json_object();
	if (m == MATCH_YES && !is_whole(&call))
		m = MATCH_NO;
	if (m != MATCH_YES) {
		json_decref(call.arguments);
		return m;
	}
	*tool = call.tool;
	*arguments = call.arguments;
	return m;
}

bool text_call_of_object(const json_t *object, const struct text_call_body *b, const char **tool, json_t **arguments)
{
	const json_t *inner = json_object_get(object, "function"), *name = NULL, *found = NULL;

	if (json_is_object(inner))
		object = inner;
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		if (name == NULL && (keys[i].member == NAME || keys[i].member == FUNCTION))
			name = json_object_get(object, keys[i].key);
		if (found == NULL && keys[i].member == ARGUMENTS)
			found = json_object_get(object, keys[i].key);
	}
	if (!json_is_string(name) || (found != NULL && !json_is_object(found)))
		return false;
	*tool = call_name_resolve(json_string_value(name), json_string_length(name), b->tools);
	if (*tool == NULL)
		return false;
	*arguments = found != NULL ? json_deep_copy(found) : json_object();
	return *arguments != NULL;
}
