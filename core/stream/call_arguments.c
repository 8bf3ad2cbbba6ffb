/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/call_arguments.h"

#include "core/base/buf.h"
#include "core/stream/calls.h"

#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define TAG_MAX 64

const char *call_arguments_skip(const char *p, const char *end)
{
	while (p < end && strchr(" \t\r\n", *p) != NULL && *p != '\0')
		p++;
	return p;
}

/* After the tag, <...> or [TOOL_CALLS], at p, or p where there is none. */
static const char *skip_tag(const char *p, const char *end)
{
	const char *from = p, *limit = end - p > TAG_MAX ? p + TAG_MAX : end;
	char close = *p++ == '[' ? ']' : '>';

	while (p < limit && *p != close &&
	       (close == ']' ? isupper((unsigned char)*p) || *p == '_' || *p == '/' : strchr("<{}\"\n", *p) == NULL))
		p++;
	return p < limit && *p == close && p > from + 1 ? p + 1 : from;
}

/* What models and servers leave around the arguments: template tokens, fences; after them commas
 * and closing brackets. */
static const char *skip_debris(const char *p, const char *end, bool after)
{
	const char *from;

	do {
		from = p = call_arguments_skip(p, end);
		if (end - p >= 3 && memcmp(p, "```", 3) == 0)
			for (p += 3; p < end && isalnum((unsigned char)*p); p++)
				continue;
		else if (p < end && (*p == '<' || *p == '['))
			p = skip_tag(p, end);
		else if (after && p < end && strchr("}]),;", *p) != NULL)
			p++;
	} while (p > from);
	return p;
}

struct whole {
	json_t *object; /* NULL: none that has members */
	bool empty;     /* an empty object, or what stands for one */
};

static bool take_object(struct whole *w, json_t *object)
{
	if (json_object_size(object) == 0)
		w->empty = true;
	else if (w->object == NULL)
		w->object = json_incref(object);
	else
		return json_equal(w->object, object);
	return true;
}

static bool take_values(struct whole *w, const char *text, size_t len, unsigned depth);

static bool take_value(struct whole *w, json_t *value, unsigned depth)
{
	if (json_is_object(value))
		return take_object(w, value);
	if (json_is_string(value) && depth < 3)
		return take_values(w, json_string_value(value), json_string_length(value), depth + 1);
	if (json_is_array(value) && json_array_size(value) == 1 && json_is_object(json_array_get(value, 0)))
		return take_object(w, json_array_get(value, 0));
	w->empty = true;
	return json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0);
}

/* False: there is something else in it, or two objects that are not the same. */
static bool take_values(struct whole *w, const char *text, size_t len, unsigned depth)
{
	const char *p = text, *end = text + len;
	bool good = true;

	while (good && (p = skip_debris(p, end, w->object != NULL || w->empty)) < end) {
		json_error_t at;
		json_t *value = json_loadb(p, (size_t)(end - p),
		                           JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY | JSON_ALLOW_NUL, &at);

		good = value != NULL && take_value(w, value, depth);
		p += value != NULL ? at.position : 0;
		json_decref(value);
	}
	w->empty = w->empty || (good && depth > 0);
	return good;
}

/* A copy in which control characters of strings are escaped, \' is ', and no comma is left before a
 * closing bracket: each has one meaning only. */
static char *repaired(const char *text, size_t len, size_t *out_len)
{
	struct buf b = BUF_INIT(CALLS_ARGUMENTS_MAX * 6 + 1);
	const char *end = text + len, *next;
	bool in_string = false;
	int failed = buf_add(&b, "", 0);

	for (const char *p = text; p < end && failed == 0; p++) {
		if (in_string && *p == '\\' && p + 1 < end) {
			p++;
			failed = *p == '\'' ? buf_add(&b, p, 1) : buf_add(&b, p - 1, 2);
			continue;
		}
		if (*p == '"')
			in_string = !in_string;
		if (in_string && (unsigned char)*p < ' ') {
			failed = buf_addf(&b, "\\u%04x", (unsigned)*p);
			continue;
		}
		next = *p == ',' && !in_string ? call_arguments_skip(p + 1, end) : p;
		if (next > p && next < end && (*next == '}' || *next == ']'))
			continue;
		failed = buf_add(&b, p, 1);
	}
	if (failed == 0 && b.len > 0)
		return buf_steal(&b, out_len);
	buf_free(&b);
	return NULL;
}

char *call_arguments_object(const char *text, size_t len)
{
	struct whole w = {NULL, false};
	bool good = take_values(&w, text, len, 0);
	char *copy = NULL, *found = NULL;

	if (!good) {
		json_decref(w.object);
		w = (struct whole){NULL, false};
		copy = repaired(text, len, &len);
		good = copy != NULL && take_values(&w, copy, len, 0);
		free(copy);
	}
	if (good && (w.object != NULL || w.empty))
		found = w.object != NULL ? json_dumps(w.object, JSON_COMPACT | JSON_REAL_PRECISION(15)) : strdup("{}");
	json_decref(w.object);
	return found;
}

bool call_arguments_are_object(const char *text, size_t len)
{
	json_t *json = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
	bool object = json_is_object(json) && (json_object_size(json) > 0 || len == 2);

	json_decref(json);
	return object;
}

bool call_arguments_same(const char *a, size_t a_len, const char *b, size_t b_len)
{
	const char *a_end = a + a_len, *b_end = b + b_len;
	bool in_string = false, escaped = false;

	for (;;) {
		if (!in_string) {
			a = call_arguments_skip(a, a_end);
			b = call_arguments_skip(b, b_end);
		}
		if (a == a_end || b == b_end)
			return a == a_end && b == b_end;
		if (*a != *b)
			return false;
		if (*a == '"' && !escaped)
			in_string = !in_string;
		escaped = in_string && *a == '\\' && !escaped;
		a++;
		b++;
	}
}
