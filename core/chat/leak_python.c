/* Calls as Python writes them: NAME(key="value", n=1), NAME.call(...). */
#include "core/chat/leak_internal.h"

#include "core/base/buf.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

#define METHOD ".call"

static enum leak_verdict key(struct leak *l, unsigned char c);

/* Behind a value. */
static enum leak_verdict after(struct leak *l, unsigned char c)
{
	if (c == ')')
		return LEAK_CALL;
	if (c == ',')
		return leak_go(l, key);
	return leak_is_blank(c) ? leak_go(l, after) : LEAK_NO;
}

static enum leak_verdict string(struct leak *l, unsigned char c);

static enum leak_verdict escaped(struct leak *l, unsigned char c)
{
	(void)c;
	return leak_go(l, string);
}

static enum leak_verdict string(struct leak *l, unsigned char c)
{
	if (c == '\\')
		return leak_go(l, escaped);
	return c == (unsigned char)*l->word ? leak_go(l, after) : LEAK_MAYBE;
}

static bool is_plain(unsigned char c) { return c < 0x80 && (isalnum(c) || strchr("+-._", c) != NULL) && c != 0; }

static enum leak_verdict plain(struct leak *l, unsigned char c)
{
	return is_plain(c) ? LEAK_MAYBE : after(l, c);
}

static enum leak_verdict value(struct leak *l, unsigned char c)
{
	if (leak_is_blank(c))
		return LEAK_MAYBE;
	if (c != '"' && c != '\'')
		return is_plain(c) ? leak_go(l, plain) : LEAK_NO;
	l->word = c == '"' ? "\"" : "'";
	return leak_go(l, string);
}

static enum leak_verdict key(struct leak *l, unsigned char c)
{
	if (c == '=' && l->matched > 0)
		return leak_go(l, value);
	if (c == ')' && l->matched == 0)
		return LEAK_CALL;
	if (!leak_is_blank(c) && !(c < 0x80 && (isalnum(c) || c == '_')))
		return LEAK_NO;
	l->matched += !leak_is_blank(c);
	return LEAK_MAYBE;
}

enum leak_verdict leak_python_name(struct leak *l, unsigned char c)
{
	const size_t method = sizeof METHOD - 1;

	if (c != '(')
		return leak_add_to_name(l, c);
	if (l->name_len > method && memcmp(l->name + l->name_len - method, METHOD, method) == 0)
		l->name_len -= method;
	l->from = l->fed + 1;
	l->matched = 0;
	l->python = l->args = true;
	return leak_name_is_known(l) ? leak_go(l, key) : LEAK_NO;
}

/* ---- the arguments of what was recognised ---- */

/* The string that begins at *p (its quote); *p moves behind it. */
static json_t *string_value(const char **p, const char *end)
{
	static const char names[] = "ntrbf", codes[] = "\n\t\r\b\f";
	struct buf out = BUF_INIT((size_t)(end - *p));
	const char quote = *(*p)++, *name;
	json_t *result = NULL;

	for (; *p < end && **p != quote; ++*p) {
		char c = **p;

		if (c == '\\' && *p + 1 < end) {
			c = *++*p;
			name = c != '\0' ? strchr(names, c) : NULL;
			c = name != NULL ? codes[name - names] : c;
		}
		if (buf_add(&out, &c, 1) < 0)
			goto out;
	}
	++*p;
	result = json_stringn(out.len > 0 ? out.data : "", out.len);
out:
	buf_free(&out);
	return result;
}

/* A number or a word: what is none of JSON's is kept as a string. */
static json_t *plain_value(const char **p, const char *end)
{
	static const struct {
		const char *python, *json;
	} words[] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
	const char *from = *p;
	json_t *result;

	while (*p < end && is_plain((unsigned char)**p))
		++*p;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if ((size_t)(*p - from) == strlen(words[i].python) && memcmp(from, words[i].python, (size_t)(*p - from)) == 0)
			return json_loads(words[i].json, JSON_DECODE_ANY, NULL);
	result = json_loadb(from, (size_t)(*p - from), JSON_DECODE_ANY, NULL);
	return result != NULL ? result : json_stringn(from, (size_t)(*p - from));
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && (leak_is_blank((unsigned char)*p) || *p == ','))
		p++;
	return p;
}

json_t *leak_python_arguments(const char *text, size_t len)
{
	const char *p = text, *end = text + len, *name, *stop;
	json_t *arguments = json_object(), *one;
	size_t name_len;

	while ((p = skip_blanks(p, end)) < end && *p != ')') {
		name = p;
		stop = memchr(p, '=', (size_t)(end - p));
		if (stop == NULL)
			break;
		for (name_len = (size_t)(stop - name); name_len > 0 && leak_is_blank((unsigned char)name[name_len - 1]);)
			name_len--;
		p = skip_blanks(stop + 1, end);
		if (p == end)
			break;
		one = *p == '"' || *p == '\'' ? string_value(&p, end) : plain_value(&p, end);
		if (json_object_setn_new(arguments, name, name_len, one) < 0) {
			json_decref(arguments);
			return NULL;
		}
	}
	return arguments;
}
