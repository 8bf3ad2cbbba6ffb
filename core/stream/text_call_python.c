/* SPDX-License-Identifier: Apache-2.0 */
/* Calls as Python writes them: NAME(key="value", n=1), NAME.call(...). */
#include "core/stream/text_call.h"

#include "core/base/buf.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

#define METHOD ".call"

static enum text_call_verdict key(struct text_call *t, unsigned char c);

/* After a value. */
static enum text_call_verdict after(struct text_call *t, unsigned char c)
{
	if (c == ')')
		return TEXT_CALL_CALL;
	if (c == ',')
		return text_call_go(t, key);
	return text_call_is_whitespace(c) ? text_call_go(t, after) : TEXT_CALL_NO;
}

static enum text_call_verdict string(struct text_call *t, unsigned char c);

static enum text_call_verdict escaped(struct text_call *t, unsigned char c)
{
	(void)c;
	return text_call_go(t, string);
}

static enum text_call_verdict string(struct text_call *t, unsigned char c)
{
	if (c == '\\')
		return text_call_go(t, escaped);
	return c == (unsigned char)*t->word ? text_call_go(t, after) : TEXT_CALL_MAYBE;
}

static bool is_plain(unsigned char c)
{
	return c < 0x80 && (isalnum(c) || strchr("+-._", c) != NULL) && c != 0;
}

static enum text_call_verdict plain(struct text_call *t, unsigned char c)
{
	return is_plain(c) ? TEXT_CALL_MAYBE : after(t, c);
}

static enum text_call_verdict value(struct text_call *t, unsigned char c)
{
	if (text_call_is_whitespace(c))
		return TEXT_CALL_MAYBE;
	if (c != '"' && c != '\'')
		return is_plain(c) ? text_call_go(t, plain) : TEXT_CALL_NO;
	t->word = c == '"' ? "\"" : "'";
	return text_call_go(t, string);
}

static enum text_call_verdict key(struct text_call *t, unsigned char c)
{
	if (c == '=' && t->matched > 0)
		return text_call_go(t, value);
	if (c == ')' && t->matched == 0)
		return TEXT_CALL_CALL;
	if (!text_call_is_whitespace(c) && !(c < 0x80 && (isalnum(c) || c == '_')))
		return TEXT_CALL_NO;
	t->matched += !text_call_is_whitespace(c);
	return TEXT_CALL_MAYBE;
}

enum text_call_verdict text_call_python_name(struct text_call *t, unsigned char c)
{
	const size_t method = sizeof METHOD - 1;

	if (c != '(')
		return text_call_add_to_name(t, c);
	if (t->name_len > method && memcmp(t->name + t->name_len - method, METHOD, method) == 0)
		t->name_len -= method;
	t->from = t->fed + 1;
	t->matched = 0;
	t->python = t->args = true;
	return text_call_name_is_known(t) ? text_call_go(t, key) : TEXT_CALL_NO;
}

/* ---- the arguments of what was recognised ---- */

/* The string that begins at *p (its quote); *p moves past it. */
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

/* A number or a word; what is not valid in JSON becomes a string. */
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
		if ((size_t)(*p - from) == strlen(words[i].python) &&
		    memcmp(from, words[i].python, (size_t)(*p - from)) == 0)
			return json_loads(words[i].json, JSON_DECODE_ANY, NULL);
	result = json_loadb(from, (size_t)(*p - from), JSON_DECODE_ANY, NULL);
	return result != NULL ? result : json_stringn(from, (size_t)(*p - from));
}

static const char *skip_whitespace(const char *p, const char *end)
{
	while (p < end && (text_call_is_whitespace((unsigned char)*p) || *p == ','))
		p++;
	return p;
}

json_t *text_call_python_arguments(const char *text, size_t len)
{
	const char *p = text, *end = text + len, *name, *stop;
	json_t *arguments = json_object(), *one;
	size_t name_len;

	while ((p = skip_whitespace(p, end)) < end && *p != ')') {
		name = p;
		stop = memchr(p, '=', (size_t)(end - p));
		if (stop == NULL)
			break;
		for (name_len = (size_t)(stop - name);
		     name_len > 0 && text_call_is_whitespace((unsigned char)name[name_len - 1]);)
			name_len--;
		p = skip_whitespace(stop + 1, end);
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
