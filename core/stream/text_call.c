/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/text_call_internal.h"

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

static enum text_call_verdict json_value(struct text_call *l, unsigned char c);
static enum text_call_verdict json_after(struct text_call *l, unsigned char c);
static enum text_call_verdict json_string(struct text_call *l, unsigned char c);

bool text_call_is_blank(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool text_call_is_name(unsigned char c)
{
	return c != 0 && c < 0x80 && (isalnum(c) || strchr("_-.:/", c) != NULL);
}

enum text_call_verdict text_call_go(struct text_call *l,
                                    enum text_call_verdict (*step)(struct text_call *l, unsigned char c))
{
	l->step = step;
	return TEXT_CALL_MAYBE;
}

/* ---- names ---- */

enum text_call_verdict text_call_add_to_name(struct text_call *l, unsigned char c)
{
	if (!text_call_is_name(c) || l->name_len == TEXT_CALL_NAME_MAX)
		return TEXT_CALL_NO;
	l->name[l->name_len++] = (char)c;
	return TEXT_CALL_MAYBE;
}

bool text_call_name_is_known(struct text_call *l)
{
	l->name[l->name_len] = '\0';
	l->known = l->name_len > 0 && l->is_tool(l->arg, l->name, l->name_len);
	return l->known;
}

/* ---- JSON ---- */

static bool in_call(const struct text_call *l)
{
	return l->depth > 0 && l->depth <= l->call_depth;
}

static enum text_call_verdict json_done(struct text_call *l)
{
	return l->known && l->args ? TEXT_CALL_CALL : TEXT_CALL_NO;
}

static enum text_call_verdict json_escape(struct text_call *l, unsigned char c)
{
	if (c == '\0' || strchr("\"\\/bfnrtu", c) == NULL)
		return TEXT_CALL_NO;
	return text_call_go(l, json_string);
}

static enum text_call_verdict json_string(struct text_call *l, unsigned char c)
{
	if (c == '"')
		return text_call_go(l, json_after);
	if (c == '\\')
		return text_call_go(l, json_escape);
	return c < 0x20 ? TEXT_CALL_NO : TEXT_CALL_MAYBE;
}

/* The string "function", nothing else. */
static enum text_call_verdict json_type(struct text_call *l, unsigned char c)
{
	if (l->word[l->matched] == '\0')
		return c == '"' ? text_call_go(l, json_after) : TEXT_CALL_NO;
	return (unsigned char)l->word[l->matched++] == c ? TEXT_CALL_MAYBE : TEXT_CALL_NO;
}

static enum text_call_verdict json_name(struct text_call *l, unsigned char c)
{
	if (c != '"')
		return text_call_add_to_name(l, c);
	return text_call_name_is_known(l) ? text_call_go(l, json_after) : TEXT_CALL_NO;
}

static enum text_call_verdict json_scalar(struct text_call *l, unsigned char c)
{
	if (c < 0x80 && (isalnum(c) || c == '+' || c == '-' || c == '.'))
		return TEXT_CALL_MAYBE;
	return json_after(l, c);
}

static enum text_call_verdict json_colon(struct text_call *l, unsigned char c)
{
	if (text_call_is_blank(c))
		return TEXT_CALL_MAYBE;
	return c == ':' ? text_call_go(l, json_value) : TEXT_CALL_NO;
}

/* A key of a call: only what can still become one of its members is waited for. */
static enum text_call_verdict json_call_key(struct text_call *l, unsigned char c)
{
	for (size_t i = 0; i < KEYS; i++) {
		const char *rest = keys[i].key + l->matched;

		if ((l->keys & 1u << i) == 0)
			continue;
		if (c == '"' && *rest == '\0') {
			l->member = keys[i].member;
			if ((l->seen & l->member) != 0)
				return TEXT_CALL_NO;
			l->seen |= l->member;
			return text_call_go(l, json_colon);
		}
		if (*rest == '\0' || (unsigned char)*rest != c)
			l->keys &= (uint8_t) ~(1u << i);
	}
	l->matched++;
	return l->keys != 0 ? TEXT_CALL_MAYBE : TEXT_CALL_NO;
}

static enum text_call_verdict json_key_escape(struct text_call *l, unsigned char c);

static enum text_call_verdict json_plain_key(struct text_call *l, unsigned char c)
{
	if (c == '"')
		return text_call_go(l, json_colon);
	if (c == '\\')
		return text_call_go(l, json_key_escape);
	return c < 0x20 ? TEXT_CALL_NO : TEXT_CALL_MAYBE;
}

static enum text_call_verdict json_key_escape(struct text_call *l, unsigned char c)
{
	(void)c;
	return text_call_go(l, json_plain_key);
}

static enum text_call_verdict json_key(struct text_call *l, unsigned char c)
{
	if (text_call_is_blank(c))
		return TEXT_CALL_MAYBE;
	if (c != '"')
		return TEXT_CALL_NO;
	l->keys = ALL_KEYS;
	l->matched = 0;
	return text_call_go(l, in_call(l) ? json_call_key : json_plain_key);
}

static enum text_call_verdict json_close(struct text_call *l)
{
	l->depth--;
	if (l->depth == 0)
		return json_done(l);
	if (l->depth < l->call_depth)
		l->call_depth = l->depth;
	return text_call_go(l, json_after);
}

static enum text_call_verdict json_first_key(struct text_call *l, unsigned char c)
{
	return c == '}' ? json_close(l) : json_key(l, c);
}

static enum text_call_verdict json_first_item(struct text_call *l, unsigned char c)
{
	return c == ']' ? json_close(l) : json_value(l, c);
}

static enum text_call_verdict json_open(struct text_call *l, bool object)
{
	if (l->depth == TEXT_CALL_DEPTH_MAX)
		return TEXT_CALL_NO;
	l->objects = (l->objects & ~(1ull << l->depth)) | (uint64_t)object << l->depth;
	l->depth++;
	return text_call_go(l, object ? json_first_key : json_first_item);
}

/* The value of a member of the call. */
static enum text_call_verdict json_member(struct text_call *l, unsigned char c)
{
	l->matched = 0;
	l->word = "function";
	switch (l->member) {
	case TYPE:
		return c == '"' ? text_call_go(l, json_type) : TEXT_CALL_NO;
	case FUNCTION:
		if (c == '{' && l->call_depth == 1) {
			l->call_depth = 2;
			return json_open(l, true);
		}
		if ((l->seen & NAME) != 0)
			return TEXT_CALL_NO;
		l->seen |= NAME;
		return c == '"' ? text_call_go(l, json_name) : TEXT_CALL_NO;
	case NAME:
		return c == '"' ? text_call_go(l, json_name) : TEXT_CALL_NO;
	case ID:
		return c == '"' ? text_call_go(l, json_string) : TEXT_CALL_NO;
	default:
		l->args = true;
		if (c == '{')
			return json_open(l, true);
		return c == '"' ? text_call_go(l, json_string) : c == 'n' ? text_call_go(l, json_scalar) : TEXT_CALL_NO;
	}
}

static enum text_call_verdict json_value(struct text_call *l, unsigned char c)
{
	if (text_call_is_blank(c))
		return TEXT_CALL_MAYBE;
	if (in_call(l))
		return json_member(l, c);
	if (c == '{' || c == '[')
		return json_open(l, c == '{');
	if (c == '"')
		return text_call_go(l, json_string);
	return c == '-' || (c < 0x80 && isalnum(c)) ? text_call_go(l, json_scalar) : TEXT_CALL_NO;
}

static enum text_call_verdict json_after(struct text_call *l, unsigned char c)
{
	bool object = (l->objects >> (l->depth - 1) & 1) != 0;

	l->step = json_after;
	if (text_call_is_blank(c))
		return TEXT_CALL_MAYBE;
	if (c == ',')
		return text_call_go(l, object ? json_key : json_value);
	return c == (object ? '}' : ']') ? json_close(l) : TEXT_CALL_NO;
}

/* The opening brace of a call, or of arguments alone. */
static enum text_call_verdict json_begin(struct text_call *l, unsigned call_depth)
{
	l->from = l->fed;
	l->call_depth = call_depth;
	l->args |= call_depth == 0;
	return json_open(l, true);
}

/* ---- <function=NAME> with JSON or <parameter=...> ---- */

static enum text_call_verdict function_body(struct text_call *l, unsigned char c);

static enum text_call_verdict parameter_value(struct text_call *l, unsigned char c)
{
	static const char end[] = "</parameter>";

	if (c != (unsigned char)end[l->matched])
		l->matched = 0;
	if (c == (unsigned char)end[l->matched])
		l->matched++;
	return end[l->matched] == '\0' ? text_call_go(l, function_body) : TEXT_CALL_MAYBE;
}

static enum text_call_verdict parameter_name(struct text_call *l, unsigned char c)
{
	l->matched = 0;
	if (c == '>')
		return text_call_go(l, parameter_value);
	return text_call_is_name(c) ? TEXT_CALL_MAYBE : TEXT_CALL_NO;
}

static enum text_call_verdict function_tag(struct text_call *l, unsigned char c)
{
	if (l->matched == 1)
		l->word = c == 'p' ? "<parameter=" : "</function>";
	if ((unsigned char)l->word[l->matched++] != c)
		return TEXT_CALL_NO;
	if (l->word[l->matched] != '\0')
		return TEXT_CALL_MAYBE;
	if (c == '=')
		return text_call_go(l, parameter_name);
	return TEXT_CALL_CALL;
}

static enum text_call_verdict function_body(struct text_call *l, unsigned char c)
{
	if (text_call_is_blank(c))
		return TEXT_CALL_MAYBE;
	if (c == '{' && !l->parameters)
		return json_begin(l, 0);
	if (c != '<')
		return TEXT_CALL_NO;
	if (!l->parameters)
		l->from = l->fed;
	l->parameters = l->args = true;
	l->matched = 1;
	return text_call_go(l, function_tag);
}

static enum text_call_verdict function_name(struct text_call *l, unsigned char c)
{
	if (c != '>')
		return text_call_add_to_name(l, c);
	return text_call_name_is_known(l) ? text_call_go(l, function_body) : TEXT_CALL_NO;
}

static enum text_call_verdict function_word(struct text_call *l, unsigned char c)
{
	if ((unsigned char)l->word[l->matched++] != c)
		return TEXT_CALL_NO;
	return l->word[l->matched] == '\0' ? text_call_go(l, function_name) : TEXT_CALL_MAYBE;
}

/* ---- [TOOL_CALLS]NAME[CALL_ID]...[ARGS]{...} ---- */

#define MISTRAL_TAGS_MAX 64

static enum text_call_verdict mistral_tags(struct text_call *l, unsigned char c)
{
	if (c == '{')
		return json_begin(l, 0);
	if (++l->matched > MISTRAL_TAGS_MAX)
		return TEXT_CALL_NO;
	return text_call_is_name(c) || text_call_is_blank(c) || c == '[' || c == ']' ? TEXT_CALL_MAYBE : TEXT_CALL_NO;
}

static enum text_call_verdict mistral_name(struct text_call *l, unsigned char c)
{
	if (c != '[' && c != '{' && !text_call_is_blank(c))
		return text_call_add_to_name(l, c);
	l->matched = 0;
	l->step = mistral_tags;
	return text_call_name_is_known(l) ? mistral_tags(l, c) : TEXT_CALL_NO;
}

/* ---- beginnings ---- */

static enum text_call_verdict begin(struct text_call *l, unsigned char c)
{
	if (c == '{')
		return json_begin(l, 1);
	if (text_call_is_blank(c) && (l->fed > 0 || l->form != TEXT_CALL_JSON))
		return TEXT_CALL_MAYBE;
	if (c == '[' && !l->array && l->form != TEXT_CALL_TAGGED) {
		l->array = true;
		return TEXT_CALL_MAYBE;
	}
	if (c == '<' && l->form == TEXT_CALL_TAGGED) {
		l->word = "<function=";
		l->matched = 1;
		return text_call_go(l, function_word);
	}
	if (l->form == TEXT_CALL_PYTHON) {
		l->step = text_call_python_name;
		return text_call_python_name(l, c);
	}
	if (l->form != TEXT_CALL_MISTRAL || l->array)
		return TEXT_CALL_NO;
	l->step = mistral_name;
	return mistral_name(l, c);
}

static enum text_call_verdict fence_word(struct text_call *l, unsigned char c)
{
	if ((unsigned char)l->word[l->matched++] != c)
		return TEXT_CALL_NO;
	return text_call_go(l, l->word[l->matched] == '\0' ? begin : fence_word);
}

static enum text_call_verdict fence(struct text_call *l, unsigned char c)
{
	l->word = "json";
	l->step = c == 'j' ? fence_word : begin;
	return l->step(l, c);
}

void text_call_begin(struct text_call *l, enum text_call_form form, text_call_is_tool_fn *is_tool, void *arg)
{
	memset(l, 0, sizeof *l);
	l->form = form;
	l->is_tool = is_tool;
	l->arg = arg;
	l->step = form == TEXT_CALL_FUNCTION ? function_name : form == TEXT_CALL_FENCED ? fence : begin;
}

enum text_call_verdict text_call_feed(struct text_call *l, unsigned char c)
{
	enum text_call_verdict verdict = l->step(l, c);

	if (verdict != TEXT_CALL_NO)
		l->fed++;
	return verdict;
}

bool text_call_is_mendable(const struct text_call *l, bool ended)
{
	if (!l->known || !l->args || l->depth == 0)
		return false;
	if (l->step != json_after && l->step != json_scalar)
		return false;
	return ended || (l->step == json_after && in_call(l));
}
