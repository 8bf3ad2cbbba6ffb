/* SPDX-License-Identifier: Apache-2.0 */
/* jansson reads text byte by byte, some 15 ns each, and takes up to 240 bytes for a value. So long strings
 * are decoded here, and a short one that begins with NUL takes the place of each while jansson reads the
 * rest; and text with more values than its length justifies is refused before anything is built. */
#include "core/protocol/json_body.h"

#include "core/base/buf.h"
#include "core/base/json_text.h"
#include "core/base/utf8.h"
#include "core/protocol/json_error.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUES_MAX      10000u
#define VALUES_ALWAYS   1000u
#define VALUE_TEXT      16u   /* bytes of text for each value beyond VALUES_ALWAYS */
#define NUMBER_MAX      4300u /* digits, as in Python */
#define LONG_STRING     4096u
#define PLACEHOLDER_LEN 14u /* of "\u000012345678" without its quotes */

struct long_string {
	size_t at, len; /* of its text between the quotes */
	json_t *value;
};

struct scan {
	const unsigned char *begin, *end;
	size_t values_left;
	struct long_string *strings;
	size_t count, cap;
	bool has_nul; /* a string begins with NUL, so none may take the place of another */
	const char *refusal;
	const unsigned char *refused_at;
	const char *fault_message;  /* where Python finds none */
	const unsigned char *fault; /* of a long string; NULL: none */
};

/* Decodes a string as jansson does; NULL: it has a fault, or there is no memory. */
static json_t *decode(struct scan *s, const unsigned char *p, const unsigned char *end)
{
	static const char nul[] = "\\u0000";
	struct buf text = BUF_INIT((size_t)(end - p));
	json_t *value = NULL;
	const unsigned char *from;
	char decoded[4];
	size_t len;

	if (buf_reserve(&text, (size_t)(end - p)) == NULL)
		return NULL;
	for (;;) {
		from = p;
		p = json_text_span(p, end);
		buf_add(&text, from, (size_t)(p - from));
		if (p == end)
			break;
		from = p;
		if (*p != '\\') {
			len = *p < 0x20 ? 0 : utf8_sequence(p, end);
			buf_add(&text, p, len);
			p += len;
			s->fault_message = "Invalid UTF-8";
		} else if (end - p >= 6 && memcmp(p, nul, 6) == 0) {
			len = 1;
			buf_add(&text, "", 1);
			p += 6;
		} else {
			len = json_text_escape(&p, end, decoded);
			buf_add(&text, decoded, len);
			s->fault_message = "Number or character out of range";
		}
		if (len == 0) {
			s->fault = from;
			goto out;
		}
	}
	value = json_stringn_nocheck(text.data, text.len);
out:
	buf_free(&text);
	return value;
}

static void add_long_string(struct scan *s, const unsigned char *from, const unsigned char *to)
{
	json_t *value;

	if (s->count == s->cap) {
		size_t cap = s->cap == 0 ? 8 : 2 * s->cap;
		struct long_string *more = realloc(s->strings, cap * sizeof *more);

		if (more == NULL)
			return;
		s->strings = more;
		s->cap = cap;
	}
	value = decode(s, from, to);
	if (value != NULL)
		s->strings[s->count++] = (struct long_string){
			.at = (size_t)(from - s->begin), .len = (size_t)(to - from), .value = value};
}

static void forget_strings(struct scan *s)
{
	while (s->count > 0)
		json_decref(s->strings[--s->count].value);
}

static bool is_key(const unsigned char *p, const unsigned char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p < end && *p == ':';
}

/* A string, whose opening quote is at p; returns what is after it. */
static const unsigned char *pass_string(struct scan *s, const unsigned char *p)
{
	const unsigned char *from = ++p;

	while ((p = json_text_span(p, s->end)) < s->end && *p != '"')
		p += *p == '\\' && p + 1 < s->end ? 2 : 1;
	if (p >= s->end) {
		s->fault = from - 1;
		s->fault_message = "Unterminated string starting at";
		return s->end;
	}
	if ((size_t)(p - from) > LONG_STRING && !is_key(p + 1, s->end))
		add_long_string(s, from, p);
	else if (p - from >= 6 && memcmp(from, "\\u0000", 6) == 0)
		s->has_nul = true;
	return p + 1;
}

/* Counts commas and brackets, which are as many as there are values, finds long strings, and long numbers,
 * which are read again and again. What is no JSON may be miscounted: it is refused anyway. */
static void scan(struct scan *s)
{
	const unsigned char *p = s->begin;

	while (p < s->end && s->fault == NULL) {
		const unsigned char *from = p;

		if (*p == '"') {
			p = pass_string(s, p);
			continue;
		}
		while (p < s->end && (*p >= '0' && *p <= '9') && (size_t)(p - from) <= NUMBER_MAX)
			p++;
		if ((size_t)(p - from) > NUMBER_MAX) {
			s->refusal = "Exceeds the limit of digits of a number";
			s->refused_at = from;
			return;
		}
		if (p > from)
			continue;
		if ((*p == ',' || *p == '[' || *p == '{') && s->values_left-- == 0) {
			s->refusal = "Too many values";
			s->refused_at = p;
			return;
		}
		p++;
	}
}

/* The text with placeholders. */
static int add_short(const struct scan *s, const char *body, size_t len, struct buf *out)
{
	char placeholder[PLACEHOLDER_LEN + 1];
	size_t at = 0;

	for (size_t i = 0; i < s->count; i++) {
		const struct long_string *l = &s->strings[i];

		snprintf(placeholder, sizeof placeholder, "\\u0000%08x", (unsigned)i);
		if (buf_add(out, body + at, l->at - at) < 0 || buf_adds(out, placeholder) < 0)
			return -1;
		at = l->at + l->len;
	}
	return buf_add(out, body + at, len - at);
}

/* The value in the place of a placeholder (a new reference); NULL: value is none. */
static json_t *original_of(const struct scan *s, const json_t *value)
{
	const char *text = json_string_value(value);

	if (text == NULL || json_string_length(value) < 2 || text[0] != '\0')
		return NULL;
	return json_incref(s->strings[strtoul(text + 1, NULL, 16)].value);
}

/* Returns value, or what it stands for (value is stolen then). As deep as jansson builds. */
static json_t *put_back(const struct scan *s, json_t *value)
{
	json_t *item, *original = original_of(s, value);
	size_t i;

	if (original != NULL) {
		json_decref(value);
		return original;
	}
	json_array_foreach(value, i, item) json_array_set_new(value, i, put_back(s, json_incref(item)));
	for (void *at = json_object_iter(value); at != NULL; at = json_object_iter_next(value, at))
		json_object_iter_set_new(value, at, put_back(s, json_incref(json_object_iter_value(at))));
	return value;
}

static json_t *load(const char *text, size_t len, json_error_t *error)
{
	const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
	json_t *root = json_loadb(text, len, flags, error);

	if (root == NULL && json_error_code(error) == json_error_numeric_overflow)
		root = json_loadb(text, len, flags | JSON_DECODE_INT_AS_REAL, error);
	return root;
}

/* Where in the whole text what jansson found in the short one is. */
static size_t whole_offset(const struct scan *s, int position)
{
	size_t offset = position > 0 ? (size_t)position : 0;

	for (size_t i = 0; i < s->count && s->strings[i].at < offset; i++)
		offset += s->strings[i].len - PLACEHOLDER_LEN;
	return offset;
}

static void explain(const struct scan *s, const char *body, size_t len, const json_error_t *error,
                    struct json_body_error *e)
{
	struct json_error found;

	json_error_find(body, len, &found);
	*e = (struct json_body_error){.message = found.message, .offset = found.offset};
	if (found.message != NULL)
		return;
	/* Python takes what jansson does not: halves of surrogate pairs, NaN, 1e999. */
	if (s->fault != NULL) {
		*e = (struct json_body_error){.message = s->fault_message, .offset = (size_t)(s->fault - s->begin)};
		return;
	}
	e->message = json_error_code(error) == json_error_invalid_utf8 ? "Invalid UTF-8"
	                                                               : "Number or character out of range";
	e->offset = whole_offset(s, error->position);
}

json_t *json_body_parse(const char *body, size_t len, struct json_body_error *e)
{
	struct scan s = {.begin = (const unsigned char *)body, .values_left = VALUES_ALWAYS + len / VALUE_TEXT};
	struct buf text = BUF_INIT(len + PLACEHOLDER_LEN);
	json_error_t error = {.text = ""};
	json_t *root = NULL;

	*e = (struct json_body_error){.message = NULL};
	s.end = s.begin + len;
	if (s.values_left > VALUES_MAX)
		s.values_left = VALUES_MAX;
	scan(&s);
	if (s.refusal != NULL) {
		*e = (struct json_body_error){.message = s.refusal, .offset = (size_t)(s.refused_at - s.begin)};
		goto out;
	}
	if (s.has_nul)
		forget_strings(&s);
	errno = 0;
	if (s.fault != NULL)
		;
	else if (s.count == 0)
		root = load(body, len, &error);
	else if (add_short(&s, body, len, &text) == 0)
		root = load(text.data, text.len, &error);
	else
		errno = ENOMEM;
	if (root == NULL && errno != ENOMEM)
		explain(&s, body, len, &error, e);
	else if (root != NULL && s.count > 0)
		root = put_back(&s, root);
out:
	forget_strings(&s);
	free(s.strings);
	buf_free(&text);
	return root;
}
