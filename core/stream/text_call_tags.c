/* SPDX-License-Identifier: Apache-2.0 */
/* Calls and parameters as tags. Models differ in the names of the tags, their prefixes (<minimax:invoke>,
 * <｜DSML｜invoke>) and where the name stands (<function=NAME>, <invoke name="NAME">), so tags are read as such. */
#include "core/base/buf.h"
#include "core/stream/call_name.h"
#include "core/stream/text_call.h"

#include <string.h>

#define TAG_MAX 256

/* Of what a tag is made. */
static const struct {
	const char *open, *close, *end;
} forms[] = {
	{"<|open|>", "<|close|>", "<|sep|>"}, /* Kimi K3; before the other, which its tokens resemble */
	{"<", "</", ">"},
};

/* Parameters of Solar, which are no tags. */
static const struct {
	const char *key, *value, *end;
} tokens = {"<|tool_arg:start|>", "<|tool_arg:value|>", "<|tool_arg:end|>"};

enum kind { CALL, PARAMETER, KEY, VALUE, TYPE, OTHER };

static const struct {
	const char *word;
	enum kind kind;
} words[] = {
	{"function", CALL},       {"invoke", CALL},     {"call", CALL},          {"tool", CALL},
	{"parameter", PARAMETER}, {"param", PARAMETER}, {"argument", PARAMETER}, {"arg", PARAMETER},
	{"arg_key", KEY},         {"arg_value", VALUE}, {"arg_type", TYPE},
};

struct tag {
	enum kind kind;
	bool closing;
	size_t form;
	struct span full; /* its word with the prefix */
	struct span word; /* without */
	struct span name; /* of what it is: =NAME, name="NAME", key="NAME", tool="NAME"; text NULL: none */
	bool json;        /* string="false", or a type other than string: its content is JSON */
};

/* ---- one tag ---- */

static bool is_end_of_word(char c)
{
	return cursor_is_whitespace(c) || c == '=';
}

static struct span unquoted(struct span s)
{
	span_strip(&s);
	if (s.len >= 2 && (s.text[0] == '"' || s.text[0] == '\'') && s.text[s.len - 1] == s.text[0])
		return (struct span){s.text + 1, s.len - 2};
	return s;
}

/* The attributes: KEY="value" or KEY=value. */
static void read_attributes(struct tag *t, struct span text)
{
	static const char *const names[] = {"name", "key", "tool"};

	for (;;) {
		struct span key, value;
		const char *equals, *end, quote_or_blank = ' ';

		span_strip(&text);
		equals = memchr(text.text, '=', text.len);
		if (text.len == 0 || equals == NULL)
			return;
		key = (struct span){text.text, (size_t)(equals - text.text)};
		span_strip(&key);
		value = (struct span){equals + 1, text.len - (size_t)(equals + 1 - text.text)};
		span_strip(&value);
		const bool quoted = value.len > 0 && (*value.text == '"' || *value.text == '\'');
		end = value.len == 0
		              ? NULL
		              : memchr(value.text + quoted, quoted ? *value.text : quote_or_blank, value.len - quoted);
		if (end == NULL) {
			text.len = 0;
		} else {
			text = (struct span){end + 1, value.len - (size_t)(end + 1 - value.text)};
			value.len = (size_t)(end + quoted - value.text);
		}
		value = unquoted(value);
		for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
			if (span_is(&key, names[i]) && t->name.text == NULL)
				t->name = value;
		t->json |= (span_is(&key, "string") && span_is(&value, "false")) ||
		           (span_is(&key, "type") && !span_is(&value, "string"));
	}
}

/* The word after its last prefix. */
static struct span without_prefix(struct span word)
{
	for (size_t i = word.len; i > 0; i--) {
		const char c = word.text[i - 1];

		if (c == ':' || c == '|' || c == '\x9c') /* the last byte of a bar of full width */
			return (struct span){word.text + i, word.len - i};
	}
	return word;
}

static void sort_out(struct tag *t, struct span inside)
{
	size_t n = 0;

	span_strip(&inside);
	while (n < inside.len && !is_end_of_word(inside.text[n]))
		n++;
	t->full = (struct span){inside.text, n};
	t->word = without_prefix(t->full);
	t->kind = OTHER;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (span_is(&t->word, words[i].word))
			t->kind = words[i].kind;
	inside = (struct span){inside.text + n, inside.len - n};
	if (inside.len > 0 && *inside.text == '=')
		t->name = unquoted((struct span){inside.text + 1, inside.len - 1});
	else
		read_attributes(t, inside);
}

static enum match read_tag(struct cursor *c, struct tag *t)
{
	enum match m = MATCH_NO;
	struct cursor inside;
	struct span text;

	*t = (struct tag){0};
	for (size_t i = 0; i < sizeof forms / sizeof forms[0] && m == MATCH_NO; i++) {
		t->form = i;
		m = cursor_take(c, forms[i].close);
		t->closing = m == MATCH_YES;
		if (m == MATCH_NO)
			m = cursor_take(c, forms[i].open);
	}
	if (m != MATCH_YES)
		return m;
	inside = *c;
	m = cursor_until(&inside, forms[t->form].end, &text);
	if (m == MATCH_YES ? text.len > TAG_MAX : c->end - c->at > TAG_MAX)
		return MATCH_NO;
	if (m != MATCH_YES)
		return m;
	c->at = inside.at;
	sort_out(t, text);
	return MATCH_YES;
}

/* ---- parameters ---- */

/* What a model puts around a value: a line end on each side, CDATA. */
static struct span bare(struct span s)
{
	static const char open[] = "<![CDATA[", close[] = "]]>";

	if (s.len >= sizeof MINIMAX_TOKEN - 1 &&
	    memcmp(s.text + s.len - (sizeof MINIMAX_TOKEN - 1), MINIMAX_TOKEN, sizeof MINIMAX_TOKEN - 1) == 0)
		s.len -= sizeof MINIMAX_TOKEN - 1;
	if (s.len > 0 && *s.text == '\n')
		s = (struct span){s.text + 1, s.len - 1};
	if (s.len > 0 && s.text[s.len - 1] == '\n')
		s.len--;
	if (s.len >= sizeof open + sizeof close - 2 && span_starts(&s, open) &&
	    memcmp(s.text + s.len - (sizeof close - 1), close, sizeof close - 1) == 0)
		s = (struct span){s.text + sizeof open - 1, s.len - (sizeof open - 1) - (sizeof close - 1)};
	return s;
}

static enum match set(json_t *arguments, struct span key, struct span text, bool json)
{
	struct span value = bare(text);
	json_t *one = json ? json_loadb(value.text, value.len, JSON_DECODE_ANY, NULL) : NULL;

	if (one == NULL)
		one = json_stringn(value.text, value.len);
	return json_object_setn_new(arguments, key.text, key.len, one) == 0 ? MATCH_YES : MATCH_NO;
}

/* Up to the closing tag of t, or of something around it where the model left that out. */
static enum match read_content(struct cursor *c, const struct tag *t, struct span *content)
{
	struct buf close = BUF_INIT(TAG_MAX + 32);
	const char *const missing[] = {"\n<parameter=", "\n</function>"};
	struct cursor after = *c;
	enum match m = MATCH_NO;

	if (buf_addf(&close, "%s%.*s%s", forms[t->form].close, (int)t->full.len, t->full.text, forms[t->form].end) == 0)
		m = cursor_until(&after, close.data, content);
	buf_free(&close);
	for (size_t i = 0; t->kind == PARAMETER && i < sizeof missing / sizeof missing[0]; i++) {
		struct cursor other = {c->at, m == MATCH_YES ? content->text + content->len : c->end, c->ended};
		struct span until;

		if (cursor_until(&other, missing[i], &until) != MATCH_YES)
			continue;
		*content = until;
		after.at = until.text + until.len;
		m = MATCH_YES;
	}
	if (m == MATCH_YES)
		c->at = after.at;
	return m;
}

static void skip_between(struct cursor *c)
{
	cursor_whitespace(c);
	while (c->at < c->end && *c->at == ']' && cursor_take(c, MINIMAX_TOKEN) == MATCH_YES)
		cursor_whitespace(c);
}

/* <arg_key>KEY</arg_key> <arg_value>value</arg_value>, after the first tag. */
static enum match read_key_and_value(struct cursor *c, const struct tag *first, json_t *arguments)
{
	struct tag t = *first;
	struct span key = {0}, value = {0};
	bool json = false;
	enum match m = read_content(c, &t, &key);

	while (m == MATCH_YES && t.kind != VALUE) {
		skip_between(c);
		m = c->at == c->end ? cursor_short(c) : read_tag(c, &t);
		if (m == MATCH_YES)
			m = !t.closing && (t.kind == VALUE || t.kind == TYPE) ? read_content(c, &t, &value) : MATCH_NO;
		if (m == MATCH_YES && t.kind == TYPE)
			json = !span_is(&value, "string");
	}
	if (m != MATCH_YES)
		return m;
	span_strip(&key);
	return set(arguments, key, value, json);
}

static enum match read_tokens(struct cursor *c, json_t *arguments)
{
	struct span key = {0}, value = {0};
	enum match m = cursor_take(c, tokens.key);

	if (m == MATCH_YES)
		m = cursor_until(c, tokens.value, &key);
	if (m == MATCH_YES)
		m = cursor_until(c, tokens.end, &value);
	return m == MATCH_YES ? set(arguments, key, value, false) : m;
}

enum match text_call_parameters(struct cursor *c, json_t *arguments)
{
	for (;;) {
		struct cursor next;
		struct span content;
		struct tag t;
		enum match m;

		skip_between(c);
		if (c->at == c->end)
			return c->ended ? MATCH_YES : MATCH_MAYBE;
		if (*c->at == ']' && !c->ended && (size_t)(c->end - c->at) < sizeof MINIMAX_TOKEN - 1)
			return MATCH_MAYBE;
		if (*c->at != '<')
			return MATCH_YES;
		next = *c;
		m = read_tokens(&next, arguments);
		if (m == MATCH_NO) {
			next = *c;
			m = cursor_token(&next);
			if (m == MATCH_YES && span_starts(&(struct span){c->at, (size_t)(c->end - c->at)}, "<|open|>"))
				m = MATCH_NO;
			else if (m == MATCH_YES)
				return MATCH_YES;
		}
		if (m == MATCH_NO) {
			next = *c;
			m = read_tag(&next, &t);
			if (m == MATCH_NO || (m == MATCH_YES && (t.closing || t.kind == CALL)))
				return MATCH_YES;
			if (m == MATCH_YES && t.kind == KEY)
				m = read_key_and_value(&next, &t, arguments);
			else if (m == MATCH_YES && (t.kind == PARAMETER || t.kind == OTHER)) {
				const struct span key = t.name.text != NULL ? t.name : t.word;

				if (t.kind == PARAMETER && t.name.text == NULL)
					return MATCH_NO;
				m = read_content(&next, &t, &content);
				if (m == MATCH_YES)
					m = set(arguments, key, content, t.json);
			} else if (m == MATCH_YES) {
				m = MATCH_NO;
			}
		}
		if (m != MATCH_YES)
			return m;
		c->at = next.at;
	}
}

/* ---- a call ---- */

/* <function=NAME{...}>, where the arguments stand in the tag. */
static enum match read_head(struct cursor *c, struct tag *t, bool *arguments_follow)
{
	static const char word[] = "<function=";
	struct cursor head = *c;
	enum match m = cursor_take(&head, word);

	*arguments_follow = false;
	if (m == MATCH_YES)
		m = cursor_name(&head, &t->name);
	if (m == MATCH_YES && head.at < head.end && *head.at == '{') {
		*c = head;
		*arguments_follow = true;
		return MATCH_YES;
	}
	return m == MATCH_MAYBE ? m : read_tag(c, t);
}

enum match text_call_tag(struct cursor *c, const struct text_call_body *b, const char **tool, json_t **arguments)
{
	struct tag t = {0}, closing;
	json_t *found = NULL;
	bool in_tag;
	enum match m = read_head(c, &t, &in_tag);

	if (m != MATCH_YES)
		return m;
	if (!in_tag && (t.closing || t.kind != CALL || t.name.text == NULL))
		return MATCH_NO;
	*tool = call_name_resolve(t.name.text, t.name.len, b->tools);
	if (*tool == NULL)
		return MATCH_NO;
	cursor_whitespace(c);
	if (c->at == c->end && !c->ended)
		return MATCH_MAYBE;
	if (c->at < c->end && *c->at == '{') {
		m = text_call_json_value(c, &found);
		if (m == MATCH_YES && in_tag && c->at < c->end && *c->at == '>')
			c->at++;
		else if (m == MATCH_YES && in_tag && c->at == c->end && !c->ended)
			m = MATCH_MAYBE;
	} else {
		found = json_object();
		m = text_call_parameters(c, found);
		if (m == MATCH_YES && c->ended && c->at == c->end && json_object_size(found) == 0)
			m = MATCH_NO; /* cut off before its parameters */
		else if (m == MATCH_YES && c->at < c->end && *c->at != '<' && *c->at != ']')
			m = MATCH_NO;
	}
	if (m == MATCH_YES) {
		struct cursor after = *c;

		skip_between(&after);
		m = after.at == after.end ? cursor_short(c) : *after.at == '<' ? read_tag(&after, &closing) : MATCH_NO;
		if (m == MATCH_YES && closing.closing && closing.kind == CALL)
			c->at = after.at;
		m = m == MATCH_MAYBE ? m : MATCH_YES;
	}
	if (m != MATCH_YES) {
		json_decref(found);
		return m;
	}
	*arguments = found;
	return m;
}
