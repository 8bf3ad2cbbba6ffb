#include "core/chat/leak_internal.h"

#include <ctype.h>
#include <string.h>

enum { TYPE = 1, NAME = 2, ARGS = 4, ID = 8, FUNCTION = 16 };

/* The keys of a call, as models write them. */
static const struct {
	const char *key;
	uint8_t member;
} keys[] = {
	{"type", TYPE},           {"name", NAME}, {"parameters", ARGS}, {"arguments", ARGS},
	{"id", ID},               {"function", FUNCTION},
};
#define KEYS    (sizeof keys / sizeof keys[0])
#define ALL_KEYS ((uint8_t)((1u << KEYS) - 1))

static enum leak_verdict json_value(struct leak *l, unsigned char c);
static enum leak_verdict json_after(struct leak *l, unsigned char c);
static enum leak_verdict json_string(struct leak *l, unsigned char c);

bool leak_is_blank(unsigned char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool leak_is_name(unsigned char c)
{
	return c != 0 && c < 0x80 && (isalnum(c) || strchr("_-.:/", c) != NULL);
}

enum leak_verdict leak_go(struct leak *l, enum leak_verdict (*step)(struct leak *l, unsigned char c))
{
	l->step = step;
	return LEAK_MAYBE;
}

/* ---- names ---- */

enum leak_verdict leak_add_to_name(struct leak *l, unsigned char c)
{
	if (!leak_is_name(c) || l->name_len == LEAK_NAME_MAX)
		return LEAK_NO;
	l->name[l->name_len++] = (char)c;
	return LEAK_MAYBE;
}

bool leak_name_is_known(struct leak *l)
{
	l->name[l->name_len] = '\0';
	l->known = l->name_len > 0 && l->is_tool(l->arg, l->name, l->name_len);
	return l->known;
}

/* ---- JSON ---- */

static bool in_call(const struct leak *l) { return l->depth > 0 && l->depth <= l->call_depth; }

static enum leak_verdict json_done(struct leak *l)
{
	return l->known && l->args ? LEAK_CALL : LEAK_NO;
}

static enum leak_verdict json_escape(struct leak *l, unsigned char c)
{
	if (c == '\0' || strchr("\"\\/bfnrtu", c) == NULL)
		return LEAK_NO;
	return leak_go(l, json_string);
}

static enum leak_verdict json_string(struct leak *l, unsigned char c)
{
	if (c == '"')
		return leak_go(l, json_after);
	if (c == '\\')
		return leak_go(l, json_escape);
	return c < 0x20 ? LEAK_NO : LEAK_MAYBE;
}

/* The string "function", nothing else. */
static enum leak_verdict json_type(struct leak *l, unsigned char c)
{
	if (l->word[l->matched] == '\0')
		return c == '"' ? leak_go(l, json_after) : LEAK_NO;
	return (unsigned char)l->word[l->matched++] == c ? LEAK_MAYBE : LEAK_NO;
}

static enum leak_verdict json_name(struct leak *l, unsigned char c)
{
	if (c != '"')
		return leak_add_to_name(l, c);
	return leak_name_is_known(l) ? leak_go(l, json_after) : LEAK_NO;
}

static enum leak_verdict json_scalar(struct leak *l, unsigned char c)
{
	if (c < 0x80 && (isalnum(c) || c == '+' || c == '-' || c == '.'))
		return LEAK_MAYBE;
	return json_after(l, c);
}

static enum leak_verdict json_colon(struct leak *l, unsigned char c)
{
	if (leak_is_blank(c))
		return LEAK_MAYBE;
	return c == ':' ? leak_go(l, json_value) : LEAK_NO;
}

/* A key of a call: only what can still become one of its members is waited for. */
static enum leak_verdict json_call_key(struct leak *l, unsigned char c)
{
	for (size_t i = 0; i < KEYS; i++) {
		const char *rest = keys[i].key + l->matched;

		if ((l->keys & 1u << i) == 0)
			continue;
		if (c == '"' && *rest == '\0') {
			l->member = keys[i].member;
			if ((l->seen & l->member) != 0)
				return LEAK_NO;
			l->seen |= l->member;
			return leak_go(l, json_colon);
		}
		if (*rest == '\0' || (unsigned char)*rest != c)
			l->keys &= (uint8_t)~(1u << i);
	}
	l->matched++;
	return l->keys != 0 ? LEAK_MAYBE : LEAK_NO;
}

static enum leak_verdict json_key_escape(struct leak *l, unsigned char c);

static enum leak_verdict json_plain_key(struct leak *l, unsigned char c)
{
	if (c == '"')
		return leak_go(l, json_colon);
	if (c == '\\')
		return leak_go(l, json_key_escape);
	return c < 0x20 ? LEAK_NO : LEAK_MAYBE;
}

static enum leak_verdict json_key_escape(struct leak *l, unsigned char c)
{
	(void)c;
	return leak_go(l, json_plain_key);
}

static enum leak_verdict json_key(struct leak *l, unsigned char c)
{
	if (leak_is_blank(c))
		return LEAK_MAYBE;
	if (c != '"')
		return LEAK_NO;
	l->keys = ALL_KEYS;
	l->matched = 0;
	return leak_go(l, in_call(l) ? json_call_key : json_plain_key);
}

static enum leak_verdict json_close(struct leak *l)
{
	l->depth--;
	if (l->depth == 0)
		return json_done(l);
	if (l->depth < l->call_depth)
		l->call_depth = l->depth;
	return leak_go(l, json_after);
}

static enum leak_verdict json_first_key(struct leak *l, unsigned char c)
{
	return c == '}' ? json_close(l) : json_key(l, c);
}

static enum leak_verdict json_first_item(struct leak *l, unsigned char c)
{
	return c == ']' ? json_close(l) : json_value(l, c);
}

static enum leak_verdict json_open(struct leak *l, bool object)
{
	if (l->depth == LEAK_DEPTH_MAX)
		return LEAK_NO;
	l->objects = (l->objects & ~(1ull << l->depth)) | (uint64_t)object << l->depth;
	l->depth++;
	return leak_go(l, object ? json_first_key : json_first_item);
}

/* The value of a member of the call. */
static enum leak_verdict json_member(struct leak *l, unsigned char c)
{
	l->matched = 0;
	l->word = "function";
	switch (l->member) {
	case TYPE:
		return c == '"' ? leak_go(l, json_type) : LEAK_NO;
	case FUNCTION:
		if (c == '{' && l->call_depth == 1) {
			l->call_depth = 2;
			return json_open(l, true);
		}
		if ((l->seen & NAME) != 0)
			return LEAK_NO;
		l->seen |= NAME;
		return c == '"' ? leak_go(l, json_name) : LEAK_NO;
	case NAME:
		return c == '"' ? leak_go(l, json_name) : LEAK_NO;
	case ID:
		return c == '"' ? leak_go(l, json_string) : LEAK_NO;
	default:
		l->args = true;
		if (c == '{')
			return json_open(l, true);
		return c == '"' ? leak_go(l, json_string) : c == 'n' ? leak_go(l, json_scalar) : LEAK_NO;
	}
}

static enum leak_verdict json_value(struct leak *l, unsigned char c)
{
	if (leak_is_blank(c))
		return LEAK_MAYBE;
	if (in_call(l))
		return json_member(l, c);
	if (c == '{' || c == '[')
		return json_open(l, c == '{');
	if (c == '"')
		return leak_go(l, json_string);
	return c == '-' || (c < 0x80 && isalnum(c)) ? leak_go(l, json_scalar) : LEAK_NO;
}

static enum leak_verdict json_after(struct leak *l, unsigned char c)
{
	bool object = (l->objects >> (l->depth - 1) & 1) != 0;

	l->step = json_after;
	if (leak_is_blank(c))
		return LEAK_MAYBE;
	if (c == ',')
		return leak_go(l, object ? json_key : json_value);
	return c == (object ? '}' : ']') ? json_close(l) : LEAK_NO;
}

/* The opening brace of a call, or of arguments alone. */
static enum leak_verdict json_begin(struct leak *l, unsigned call_depth)
{
	l->from = l->fed;
	l->call_depth = call_depth;
	l->args |= call_depth == 0;
	return json_open(l, true);
}

/* ---- <function=NAME> with JSON or <parameter=...> ---- */

static enum leak_verdict function_body(struct leak *l, unsigned char c);

static enum leak_verdict parameter_value(struct leak *l, unsigned char c)
{
	static const char end[] = "</parameter>";

	if (c != (unsigned char)end[l->matched])
		l->matched = 0;
	if (c == (unsigned char)end[l->matched])
		l->matched++;
	return end[l->matched] == '\0' ? leak_go(l, function_body) : LEAK_MAYBE;
}

static enum leak_verdict parameter_name(struct leak *l, unsigned char c)
{
	l->matched = 0;
	if (c == '>')
		return leak_go(l, parameter_value);
	return leak_is_name(c) ? LEAK_MAYBE : LEAK_NO;
}

static enum leak_verdict function_tag(struct leak *l, unsigned char c)
{
	if (l->matched == 1)
		l->word = c == 'p' ? "<parameter=" : "</function>";
	if ((unsigned char)l->word[l->matched++] != c)
		return LEAK_NO;
	if (l->word[l->matched] != '\0')
		return LEAK_MAYBE;
	if (c == '=')
		return leak_go(l, parameter_name);
	return LEAK_CALL;
}

static enum leak_verdict function_body(struct leak *l, unsigned char c)
{
	if (leak_is_blank(c))
		return LEAK_MAYBE;
	if (c == '{' && !l->parameters)
		return json_begin(l, 0);
	if (c != '<')
		return LEAK_NO;
	if (!l->parameters)
		l->from = l->fed;
	l->parameters = l->args = true;
	l->matched = 1;
	return leak_go(l, function_tag);
}

static enum leak_verdict function_name(struct leak *l, unsigned char c)
{
	if (c != '>')
		return leak_add_to_name(l, c);
	return leak_name_is_known(l) ? leak_go(l, function_body) : LEAK_NO;
}

static enum leak_verdict function_word(struct leak *l, unsigned char c)
{
	if ((unsigned char)l->word[l->matched++] != c)
		return LEAK_NO;
	return l->word[l->matched] == '\0' ? leak_go(l, function_name) : LEAK_MAYBE;
}

/* ---- [TOOL_CALLS]NAME[CALL_ID]...[ARGS]{...} ---- */

#define MISTRAL_TAGS_MAX 64

static enum leak_verdict mistral_tags(struct leak *l, unsigned char c)
{
	if (c == '{')
		return json_begin(l, 0);
	if (++l->matched > MISTRAL_TAGS_MAX)
		return LEAK_NO;
	return leak_is_name(c) || leak_is_blank(c) || c == '[' || c == ']' ? LEAK_MAYBE : LEAK_NO;
}

static enum leak_verdict mistral_name(struct leak *l, unsigned char c)
{
	if (c != '[' && c != '{' && !leak_is_blank(c))
		return leak_add_to_name(l, c);
	l->matched = 0;
	l->step = mistral_tags;
	return leak_name_is_known(l) ? mistral_tags(l, c) : LEAK_NO;
}

/* ---- beginnings ---- */

static enum leak_verdict begin(struct leak *l, unsigned char c)
{
	if (c == '{')
		return json_begin(l, 1);
	if (leak_is_blank(c) && (l->fed > 0 || l->form != LEAK_JSON))
		return LEAK_MAYBE;
	if (c == '[' && !l->array && l->form != LEAK_TAGGED) {
		l->array = true;
		return LEAK_MAYBE;
	}
	if (c == '<' && l->form == LEAK_TAGGED) {
		l->word = "<function=";
		l->matched = 1;
		return leak_go(l, function_word);
	}
	if (l->form == LEAK_PYTHON) {
		l->step = leak_python_name;
		return leak_python_name(l, c);
	}
	if (l->form != LEAK_MISTRAL || l->array)
		return LEAK_NO;
	l->step = mistral_name;
	return mistral_name(l, c);
}

static enum leak_verdict fence_word(struct leak *l, unsigned char c)
{
	if ((unsigned char)l->word[l->matched++] != c)
		return LEAK_NO;
	return leak_go(l, l->word[l->matched] == '\0' ? begin : fence_word);
}

static enum leak_verdict fence(struct leak *l, unsigned char c)
{
	l->word = "json";
	l->step = c == 'j' ? fence_word : begin;
	return l->step(l, c);
}

void leak_begin(struct leak *l, enum leak_form form, leak_is_tool_fn *is_tool, void *arg)
{
	memset(l, 0, sizeof *l);
	l->form = form;
	l->is_tool = is_tool;
	l->arg = arg;
	l->step = form == LEAK_FUNCTION ? function_name : form == LEAK_FENCED ? fence : begin;
}

enum leak_verdict leak_feed(struct leak *l, unsigned char c)
{
	enum leak_verdict verdict = l->step(l, c);

	if (verdict != LEAK_NO)
		l->fed++;
	return verdict;
}

bool leak_is_mendable(const struct leak *l, bool ended)
{
	if (!l->known || !l->args || l->depth == 0)
		return false;
	if (l->step != json_after && l->step != json_scalar)
		return false;
	return ended || (l->step == json_after && in_call(l));
}
