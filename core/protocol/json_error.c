/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/json_error.h"

#include "core/base/json_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define DEPTH_MAX 900 /* Python gives up at about a thousand */

struct walk {
	const unsigned char *begin, *p, *end;
	const unsigned char *at;   /* of the error */
	const unsigned char *half; /* the first half of a surrogate pair without the other one; NULL: none */
	const char *message;
	unsigned depth;
};

static bool fail(struct walk *w, const unsigned char *at, const char *message)
{
	w->at = at;
	w->message = message;
	return false;
}

static void skip_whitespace(struct walk *w)
{
	while (w->p < w->end && (*w->p == ' ' || *w->p == '\t' || *w->p == '\n' || *w->p == '\r'))
		w->p++;
}

static bool take(struct walk *w, int c)
{
	if (w->p == w->end || *w->p != c)
		return false;
	w->p++;
	return true;
}

/* A string whose opening quote has been read. */
static bool walk_string(struct walk *w)
{
	const unsigned char *open = w->p - 1, *escape;
	size_t step;

	for (; w->p < w->end && *w->p != '"'; w->p++) {
		if (*w->p < 0x20)
			return fail(w, w->p, "Invalid control character at");
		if (*w->p != '\\')
			continue;
		escape = w->p++;
		if (w->p == w->end)
			break;
		if (strchr("\"\\/bfnrtu", *w->p) == NULL || *w->p == '\0')
			return fail(w, escape, "Invalid \\escape");
		if (*w->p == 'u' && (w->end - w->p < 5 || json_text_hex4(w->p + 1) < 0))
			return fail(w, w->p, "Invalid \\uXXXX escape");
		if (json_text_lone_surrogate(escape, w->end, &step) && w->half == NULL)
			w->half = escape;
		w->p = escape + step - 1;
	}
	if (w->p == w->end)
		return fail(w, open, "Unterminated string starting at");
	w->p++;
	return true;
}

static size_t walk_digits(struct walk *w)
{
	const unsigned char *from = w->p;

	while (w->p < w->end && *w->p >= '0' && *w->p <= '9')
		w->p++;
	return (size_t)(w->p - from);
}

/* As Python does: the caller checks what follows the longest number. */
static bool walk_number(struct walk *w)
{
	const unsigned char *from = w->p, *back;

	(void)take(w, '-');
	if (!take(w, '0') && walk_digits(w) == 0)
		return fail(w, from, "Expecting value");
	back = w->p;
	if (take(w, '.') && walk_digits(w) == 0)
		w->p = back;
	back = w->p;
	if (w->p < w->end && (*w->p | 0x20) == 'e') {
		w->p++;
		if (!take(w, '-'))
			(void)take(w, '+');
		if (walk_digits(w) == 0)
			w->p = back;
	}
	return true;
}

static bool walk_word(struct walk *w)
{
	static const char *const words[] = {"null", "true", "false", "NaN", "Infinity", "-Infinity"};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		size_t len = strlen(words[i]);

		if ((size_t)(w->end - w->p) >= len && memcmp(w->p, words[i], len) == 0) {
			w->p += len;
			return true;
		}
	}
	return false;
}

static bool walk_value(struct walk *w);

static bool walk_member(struct walk *w)
{
	if (!take(w, '"'))
		return fail(w, w->p, "Expecting property name enclosed in double quotes");
	if (!walk_string(w))
		return false;
	skip_whitespace(w);
	if (!take(w, ':'))
		return fail(w, w->p, "Expecting ':' delimiter");
	skip_whitespace(w);
	return walk_value(w);
}

/* After the opening bracket. */
static bool walk_container(struct walk *w, bool (*walk_item)(struct walk *w), int close)
{
	skip_whitespace(w);
	if (take(w, close))
		return true;
	if (++w->depth > DEPTH_MAX)
		return fail(w, w->p, "Too deeply nested");
	for (;;) {
		if (!walk_item(w))
			return false;
		skip_whitespace(w);
		if (take(w, close))
			break;
		if (!take(w, ','))
			return fail(w, w->p, "Expecting ',' delimiter");
		skip_whitespace(w);
	}
	w->depth--;
	return true;
}

static bool walk_value(struct walk *w)
{
	if (take(w, '"'))
		return walk_string(w);
	if (take(w, '{'))
		return walk_container(w, walk_member, '}');
	if (take(w, '['))
		return walk_container(w, walk_value, ']');
	return walk_word(w) || walk_number(w);
}

static size_t characters(const unsigned char *p, const unsigned char *end)
{
	size_t count = 0;

	for (; p < end; p++)
		count += (*p & 0xC0) != 0x80;
	return count;
}

void json_error_find(const char *text, size_t len, struct json_error *e)
{
	struct walk w = {.begin = (const unsigned char *)text};

	w.p = w.begin;
	w.end = w.begin + len;
	skip_whitespace(&w);
	if (walk_value(&w)) {
		skip_whitespace(&w);
		if (w.p < w.end)
			fail(&w, w.p, "Extra data");
	}
	e->message = w.message;
	e->offset = w.message != NULL ? characters(w.begin, w.at) : 0;
	e->half = w.half != NULL ? (size_t)(w.half - w.begin) : SIZE_MAX;
}
