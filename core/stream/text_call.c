/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/text_call.h"

#include <ctype.h>
#include <string.h>

enum { TYPE = 1, NAME = 2, ARGS = 4, ID = 8, FUNCTION = 16 };

/* The keys of a call, as models write them. */
static const struct {
	const char *key;
	uint8_t member;
} keys[] = {
	{"type", TYPE}, {"name", NAME}, {"parameters", ARGS}, {"arguments", ARGS}, {"id", ID}, {"function", FUNCTION},
};
#define KEYS     (sizeof keys / sizeof keys[0])
#define ALL_KEYS ((uint8_t)((1u << KEYS) - 1))

static enum text_call_verdict json_value(struct text_call *t, unsigned char c);
static enum text_call_verdict json_after(struct text_call *t, unsigned char c);
static enum text_call_verdict json_string(struct text_call *t, unsigned char c);

bool text_call_is_whitespace(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool text_call_is_name(unsigned char c)
{
	return c != 0 && c < 0x80 && (isalnum(c) || strchr("_-.:/", c) != NULL);
}

enum text_call_verdict text_call_go(struct text_call *t,
                                    enum text_call_verdict (*step)(struct text_call *t, unsigned char c))
{
	t->step = step;
	return TEXT_CALL_MAYBE;
}

/* ---- names ---- */

enum text_call_verdict text_call_add_to_name(struct text_call *t, unsigned char c)
{
	if (!text_call_is_name(c) || t->name_len == TEXT_CALL_NAME_MAX)
		return TEXT_CALL_NO;
	t->name[t->name_len++] = (char)c;
	return TEXT_CALL_MAYBE;
}

bool text_call_name_is_known(struct text_call *t)
{
	t->name[t->name_len] = '\0';
	t->known = false;
	for (const char *const *tool = t->tools; *tool != NULL && !t->known; tool++)
		t->known = strcmp(*tool, t->name) == 0;
	return t->known;
}

/* ---- JSON ---- */

static bool in_call(const struct text_call *t)
{
	return t->depth > 0 && t->depth <= t->call_depth;
}

static enum text_call_verdict json_done(struct text_call *t)
{
	return t->known && t->args ? TEXT_CALL_CALL : TEXT_CALL_NO;
}

static enum text_call_verdict json_escape(struct text_call *t, unsigned char c)
{
	if (c == '\0' || strchr("\"\\/bfnrtu", c) == NULL)
		return TEXT_CALL_NO;
	return text_call_go(t, json_string);
}

static enum text_call_verdict json_string(struct text_call *t, unsigned char c)
{
	if (c == '"')
		return text_call_go(t, json_after);
	if (c == '\\')
		return text_call_go(t, json_escape);
	return c < 0x20 ? TEXT_CALL_NO : TEXT_CALL_MAYBE;
}

/* The string "function", nothing else. */
static enum text_call_verdict json_type(struct text_call *t, unsigned char c)
{
	if (t->word[t->matched] == '\0')
		return c == '"' ? text_call_go(t, json_after) : TEXT_CALL_NO;
	return (unsigned char)t->word[t->matched++] == c ? TEXT_CALL_MAYBE : TEXT_CALL_NO;
}

static enum text_call_verdict json_name(struct text_call *t, unsigned char c)
{
	if (c != '"')
		return text_call_add_to_name(t, c);
	return text_call_name_is_known(t) ? text_call_go(t, json_after) : TEXT_CALL_NO;
}

static enum text_call_verdict json_scalar(struct text_call *t, unsigned char c)
{
	if (c < 0x80 && (isalnum(c) || c == '+' || c == '-' || c == '.'))
		return TEXT_CALL_MAYBE;
	return json_after(t, c);
}

static enum text_call_verdict json_colon(struct text_call *t, unsigned char c)
{
	if (text_call_is_whitespace(c))
		return TEXT_CALL_MAYBE;
	return c == ':' ? text_call_go(t, json_value) : TEXT_CALL_NO;
}

/* A key of a call: only what can still become one of its members is waited for. */
static enum text_call_verdict json_call_key(struct text_call *t, unsigned char c)
{
	for (size_t i = 0; i < KEYS; i++) {
		const char *rest = keys[i].key + t->matched;

		if ((t->keys & 1u << i) == 0)
			continue;
		if (c == '"' && *rest == '\0') {
			t->member = keys[i].member;
			if ((t->seen & t->member) != 0)
				return TEXT_CALL_NO;
			t->seen |= t->member;
			return text_call_go(t, json_colon);
		}
		if (*rest == '\0' || (unsigned char)*rest != c)
			t->keys &= (uint8_t) ~(1u << i);
	}
	t->matched++;
	return t->keys != 0 ? TEXT_CALL_MAYBE : TEXT_CALL_NO;
}

static enum text_call_verdict json_key_escape(struct text_call *t, unsigned char c);

static enum text_call_verdict json_plain_key(struct text_call *t, unsigned char c)
{
	if (c == '"')
		return text_call_go(t, json_colon);
	if (c == '\\')
		return text_call_go(t, json_key_escape);
	return c < 0x20 ? TEXT_CALL_NO : TEXT_CALL_MAYBE;
}

static enum text_call_verdict json_key_escape(struct text_call *t, unsigned char c)
{
	(void)c;
	return text_call_go(t, json_plain_key);
}

static enum text_call_verdict json_key(struct text_call *t, unsigned char c)
{
	if (text_call_is_whitespace(c))
		return TEXT_CALL_MAYBE;
	if (c != '"')
		return TEXT_CALL_NO;
	t->keys = ALL_KEYS;
	t->matched = 0;
	return text_call_go(t, in_call(t) ? json_call_key : json_plain_key);
}

static enum text_call_verdict json_close(struct text_call *t)
{
	t->depth--;
	if (t->depth == 0)
		return json_done(t);
	if (t->depth < t->call_depth)
		t->call_depth = t->depth;
	return text_call_go(t, json_after);
}

static enum text_call_verdict json_first_key(struct text_call *t, unsigned char c)
{
	return c == '}' ? json_close(t) : json_key(t, c);
}

static enum text_call_verdict json_first_item(struct text_call *t, unsigned char c)
{
	return c == ']' ? json_close(t) : json_value(t, c);
}

static enum text_call_verdict json_open(struct text_call *t, bool object)
{
	if (t->depth == TEXT_CALL_DEPTH_MAX)
		return TEXT_CALL_NO;
	t->objects = (t->objects & ~(1ull << t->depth)) | (uint64_t)object << t->depth;
	t->depth++;
	return text_call_go(t, object ? json_first_key : json_first_item);
}

/* The value of a member of the call. */
static enum text_call_verdict json_member(struct text_call *t, unsigned char c)
{
	t->matched = 0;
	t->word = "function";
	switch (t->member) {
	case TYPE:
		return c == '"' ? text_call_go(t, json_type) : TEXT_CALL_NO;
	case FUNCTION:
		if (c == '{' && t->call_depth == 1) {
			t->call_depth = 2;
			return json_open(t, true);
		}
		if ((t->seen & NAME) != 0)
			return TEXT_CALL_NO;
		t->seen |= NAME;
		return c == '"' ? text_call_go(t, json_name) : TEXT_CALL_NO;
	case NAME:
		return c == '"' ? text_call_go(t, json_name) : TEXT_CALL_NO;
	case ID:
		return c == '"' ? text_call_go(t, json_string) : TEXT_CALL_NO;
	default:
		t->args = true;
		if (c == '{')
			return json_open(t, true);
		return c == '"' ? text_call_go(t, json_string) : c == 'n' ? text_call_go(t, json_scalar) : TEXT_CALL_NO;
	}
}

static enum text_call_verdict json_value(struct text_call *t, unsigned char c)
{
	if (text_call_is_whitespace(c))
		return TEXT_CALL_MAYBE;
	if (in_call(t))
		return json_member(t, c);
	if (c == '{' || c == '[')
		return json_open(t, c == '{');
	if (c == '"')
		return text_call_go(t, json_string);
	return c == '-' || (c < 0x80 && isalnum(c)) ? text_call_go(t, json_scalar) : TEXT_CALL_NO;
}

static enum text_call_verdict json_after(struct text_call *t, unsigned char c)
{
	bool object = (t->objects >> (t->depth - 1) & 1) != 0;

	t->step = json_after;
	if (text_call_is_whitespace(c))
		return TEXT_CALL_MAYBE;
	if (c == ',')
		return text_call_go(t, object ? json_key : json_value);
	return c == (object ? '}' : ']') ? json_close(t) : TEXT_CALL_NO;
}

/* The opening brace of a call, or of arguments alone. */
static enum text_call_verdict json_begin(struct text_call *t, unsigned call_depth)
{
	t->from = t->fed;
	t->call_depth = call_depth;
	t->args |= call_depth == 0;
	return json_open(t, true);
}

/* ---- <function=NAME> with JSON or <parameter=...> ---- */

static enum text_call_verdict function_body(struct text_call *t, unsigned char c);

static enum text_call_verdict parameter_value(struct text_call *t, unsigned char c)
{
	static const char end[] = "</parameter>";

	if (c != (unsigned char)end[t->matched])
		t->matched = 0;
	if (c == (unsigned char)end[t->matched])
		t->matched++;
	return end[t->matched] == '\0' ? text_call_go(t, function_body) : TEXT_CALL_MAYBE;
}

static enum text_call_verdict parameter_name(struct text_call *t, unsigned char c)
{
	t->matched = 0;
	if (c == '>')
		return text_call_go(t, parameter_value);
	return text_call_is_name(c) ? TEXT_CALL_MAYBE : TEXT_CALL_NO;
}

static enum text_call_verdict function_tag(struct text_call *t, unsigned char c)
{
	if (t->matched == 1)
		t->word = c == 'p' ? "<parameter=" : "</function>";
	if ((unsigned char)t->word[t->matched++] != c)
		return TEXT_CALL_NO;
	if (t->word[t->matched] != '\0')
		return TEXT_CALL_MAYBE;
	if (c == '=')
		return text_call_go(t, parameter_name);
	return TEXT_CALL_CALL;
}

static enum text_call_verdict function_body(struct text_call *t, unsigned char c)
{
	if (text_call_is_whitespace(c))
		return TEXT_CALL_MAYBE;
	if (c == '{' && !t->parameters)
		return json_begin(t, 0);
	if (c != '<')
		return TEXT_CALL_NO;
	if (!t->parameters)
		t->from = t->fed;
	t->parameters = t->args = true;
	t->matched = 1;
	return text_call_go(t, function_tag);
}

static enum text_call_verdict function_name(struct text_call *t, unsigned char c)
{
	if (c != '>')
		return text_call_add_to_name(t, c);
	return text_call_name_is_known(t) ? text_call_go(t, function_body) : TEXT_CALL_NO;
}

static enum text_call_verdict function_word(struct text_call *t, unsigned char c)
{
	if ((unsigned char)t->word[t->matched++] != c)
		return TEXT_CALL_NO;
	return t->word[t->matched] == '\0' ? text_call_go(t, function_name) : TEXT_CALL_MAYBE;
}

/* ---- [TOOL_CALLS]NAME[CALL_ID]...[ARGS]{...} ---- */

#define MISTRAL_TAGS_MAX 64

static enum text_call_verdict mistral_tags(struct text_call *t, unsigned char c)
{
	if (c == '{')
		return json_begin(t, 0);
	if (++t->matched > MISTRAL_TAGS_MAX)
		return TEXT_CALL_NO;
	return text_call_is_name(c) || text_call_is_whitespace(c) || c == '[' || c == ']' ? TEXT_CALL_MAYBE
	                                                                                  : TEXT_CALL_NO;
}

static enum text_call_verdict mistral_name(struct text_call *t, unsigned char c)
{
	if (c != '[' && c != '{' && !text_call_is_whitespace(c))
		return text_call_add_to_name(t, c);
	t->matched = 0;
	t->step = mistral_tags;
	return text_call_name_is_known(t) ? mistral_tags(t, c) : TEXT_CALL_NO;
}

/* ---- beginnings ---- */

static enum text_call_verdict begin(struct text_call *t, unsigned char c)
{
	if (c == '{')
		return json_begin(t, 1);
	if (text_call_is_whitespace(c) && (t->fed > 0 || t->form != TEXT_CALL_JSON))
		return TEXT_CALL_MAYBE;
	if (c == '[' && !t->array && t->form != TEXT_CALL_TAGGED) {
		t->array = true;
		return TEXT_CALL_MAYBE;
	}
	if (c == '<' && t->form == TEXT_CALL_TAGGED) {
		t->word = "<function=";
		t->matched = 1;
		return text_call_go(t, function_word);
	}
	if (t->form == TEXT_CALL_PYTHON) {
		t->step = text_call_python_name;
		return text_call_python_name(t, c);
	}
	if (t->form != TEXT_CALL_MISTRAL || t->array)
		return TEXT_CALL_NO;
	t->step = mistral_name;
	return mistral_name(t, c);
}

static enum text_call_verdict fence_word(struct text_call *t, unsigned char c)
{
	if ((unsigned char)t->word[t->matched++] != c)
		return TEXT_CALL_NO;
	return text_call_go(t, t->word[t->matched] == '\0' ? begin : fence_word);
}

static enum text_call_verdict fence(struct text_call *t, unsigned char c)
{
	t->word = "json";
	t->step = c == 'j' ? fence_word : begin;
	return t->step(t, c);
}

void text_call_begin(struct text_call *t, enum text_call_form form, const char *const *tools)
{
	memset(t, 0, sizeof *t);
	t->form = form;
	t->tools = tools;
	t->step = form == TEXT_CALL_FUNCTION ? function_name : form == TEXT_CALL_FENCED ? fence : begin;
}

enum text_call_verdict text_call_feed(struct text_call *t, unsigned char c)
{
	enum text_call_verdict verdict = t->step(t, c);

	if (verdict != TEXT_CALL_NO)
		t->fed++;
	return verdict;
}

bool text_call_is_closable(const struct text_call *t, bool ended)
{
	if (!t->known || !t->args || t->depth == 0)
		return false;
	if (t->step != json_after && t->step != json_scalar)
		return false;
	return ended || (t->step == json_after && in_call(t));
}
