/* SPDX-License-Identifier: Apache-2.0 */
/* Calls and values as Python writes them, and the pairs of Gemma, which are close to them. */
#include "core/base/buf.h"
#include "core/stream/text_call.h"

#include <ctype.h>
#include <string.h>

#define TRIPLE_DOUBLE "\"\"\""
#define TRIPLE_SINGLE "'''"

static const char *const string_quotes[] = {TRIPLE_DOUBLE, TRIPLE_SINGLE, "\"", "'"};
/* Gemma's: a token in place of a quote, and no escapes. */
static const char *const token_quotes[] = {"<|\"|>", "<escape>"};

static enum match read_value(struct cursor *c, unsigned depth, json_t **value);

/* ---- strings ---- */

static char unescape(char c)
{
	static const char names[] = "ntrbf", codes[] = "\n\t\r\b\f";
	const char *name = c != '\0' ? strchr(names, c) : NULL;

	return name != NULL ? codes[name - names] : c;
}

/* After the opening quote. */
static enum match read_string(struct cursor *c, const char *quote, bool escapes, json_t **value)
{
	const char *from = c->at;
	struct buf text = BUF_INIT((size_t)(c->end - from) + 1);
	enum match m = MATCH_NO;

	while (c->at < c->end && (m = cursor_take(c, quote)) == MATCH_NO) {
		char ch = *c->at++;

		if (escapes && ch == '\\') {
			if (c->at == c->end)
				break;
			ch = unescape(*c->at++);
		}
		if (buf_add(&text, &ch, 1) < 0)
			break;
	}
	if (m == MATCH_YES)
		*value = json_stringn(text.len > 0 ? text.data : "", text.len);
	buf_free(&text);
	if (m == MATCH_YES)
		return *value != NULL ? MATCH_YES : MATCH_NO;
	return cursor_short(c);
}

static enum match take_quote(struct cursor *c, const char *const *quotes, size_t count, const char **quote)
{
	enum match m = MATCH_NO;

	for (size_t i = 0; i < count && m == MATCH_NO; i++) {
		*quote = quotes[i];
		m = cursor_take(c, quotes[i]);
	}
	return m;
}

/* ---- numbers and words ---- */

static bool is_plain(char c)
{
	return (c & 0x80) == 0 && c != '\0' && (isalnum((unsigned char)c) || strchr("+-._", c) != NULL);
}

/* What is not valid in JSON is a string. */
static json_t *plain_value(const struct span *text)
{
	static const struct {
		const char *python, *json;
	} words[] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
	json_t *value;

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (span_is(text, words[i].python))
			return json_loads(words[i].json, JSON_DECODE_ANY, NULL);
	value = json_loadb(text->text, text->len, JSON_DECODE_ANY, NULL);
	return value != NULL ? value : json_stringn(text->text, text->len);
}

static enum match read_plain(struct cursor *c, json_t **value)
{
	struct span text = {c->at, 0};

	while (c->at < c->end && is_plain(*c->at))
		c->at++;
	if (c->at == c->end && !c->ended)
		return MATCH_MAYBE;
	text.len = (size_t)(c->at - text.text);
	*value = text.len > 0 ? plain_value(&text) : NULL;
	return *value != NULL ? MATCH_YES : MATCH_NO;
}

/* ---- lists and dictionaries ---- */

static enum match read_list(struct cursor *c, char close, unsigned depth, json_t **value)
{
	json_t *list = json_array(), *item;
	enum match m;

	for (c->at++;;) {
		cursor_whitespace(c);
		if (c->at == c->end) {
			m = cursor_short(c);
			break;
		}
		if (*c->at == close) {
			c->at++;
			*value = list;
			return MATCH_YES;
		}
		if (*c->at == ',') {
			c->at++;
			continue;
		}
		if ((m = read_value(c, depth + 1, &item)) != MATCH_YES)
			break;
		if (json_array_append_new(list, item) < 0) {
			m = MATCH_NO;
			break;
		}
	}
	json_decref(list);
	return m;
}

/* A key: a string, or a name as in JavaScript and in what Gemma writes. */
static enum match read_key(struct cursor *c, json_t **key)
{
	struct span name = {c->at, 0};

	if (*c->at == '"' || *c->at == '\'' || *c->at == '<')
		return read_value(c, TEXT_CALL_DEPTH_MAX, key);
	while (c->at < c->end && ((*c->at & 0x80) == 0 && (isalnum((unsigned char)*c->at) || *c->at == '_')))
		c->at++;
	if (c->at == c->end)
		return cursor_short(c);
	name.len = (size_t)(c->at - name.text);
	*key = name.len > 0 ? json_stringn(name.text, name.len) : NULL;
	return *key != NULL ? MATCH_YES : MATCH_NO;
}

static enum match read_pair(struct cursor *c, const char *separators, unsigned depth, json_t *object)
{
	json_t *key = NULL, *value = NULL;
	enum match m = read_key(c, &key);

	if (m == MATCH_YES)
		cursor_whitespace(c);
	if (m == MATCH_YES && c->at == c->end)
		m = cursor_short(c);
	if (m == MATCH_YES)
		m = c->at < c->end && *c->at != '\0' && strchr(separators, *c->at) != NULL ? MATCH_YES : MATCH_NO;
	if (m == MATCH_YES) {
		c->at++;
		cursor_whitespace(c);
		m = c->at == c->end ? cursor_short(c) : read_value(c, depth, &value);
	}
	if (m == MATCH_YES && json_object_setn_new(object, json_string_value(key), json_string_length(key), value) < 0)
		m = MATCH_NO;
	json_decref(key);
	return m;
}

/* Pairs up to the closing bracket. */
static enum match read_pairs(struct cursor *c, char close, const char *separators, unsigned depth, json_t **value)
{
	json_t *object = json_object();
	bool first = true;
	enum match m;

	for (;; first = false) {
		cursor_whitespace(c);
		if (c->at < c->end && !first && *c->at == ',') {
			c->at++;
			cursor_whitespace(c);
		} else if (c->at < c->end && !first && *c->at != close) {
			m = MATCH_NO;
			break;
		}
		if (c->at == c->end) {
			m = cursor_short(c);
			break;
		}
		if (*c->at == close) {
			c->at++;
			*value = object;
			return MATCH_YES;
		}
		if ((m = read_pair(c, separators, depth + 1, object)) != MATCH_YES)
			break;
	}
	json_decref(object);
	return m;
}

static enum match read_value(struct cursor *c, unsigned depth, json_t **value)
{
	const char *quote;
	enum match m;

	if (depth > TEXT_CALL_DEPTH_MAX)
		return MATCH_NO;
	m = take_quote(c, string_quotes, sizeof string_quotes / sizeof string_quotes[0], &quote);
	if (m == MATCH_YES)
		return read_string(c, quote, true, value);
	if (m == MATCH_MAYBE)
		return m;
	m = take_quote(c, token_quotes, sizeof token_quotes / sizeof token_quotes[0], &quote);
	if (m == MATCH_YES)
		return read_string(c, quote, false, value);
	if (m == MATCH_MAYBE)
		return m;
	if (*c->at == '{') {
		c->at++;
		return read_pairs(c, '}', ":", depth, value);
	}
	if (*c->at == '[' || *c->at == '(')
		return read_list(c, *c->at == '[' ? ']' : ')', depth, value);
	return read_plain(c, value);
}

enum match text_call_python_value(struct cursor *c, json_t **value)
{
	return c->at == c->end ? cursor_short(c) : read_value(c, 0, value);
}

enum match text_call_python(struct cursor *c, json_t **arguments)
{
	return read_pairs(c, ')', "=:", 0, arguments);
}

enum match text_call_pairs(struct cursor *c, json_t **arguments)
{
	c->at++;
	return read_pairs(c, '}', ":", 0, arguments);
}
