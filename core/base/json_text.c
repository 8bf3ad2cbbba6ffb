/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/json_text.h"

#include "core/base/utf8.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int json_text_hex4(const unsigned char *p)
{
	int value = 0;

	for (int i = 0; i < 4; i++) {
		int c = p[i], digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			digit = (c | 0x20) - 'a' + 10;
		else
			return -1;
		value = value << 4 | digit;
	}
	return value;
}

/* \uXXXX after the u, a surrogate pair included; 0: none that stands for a character, or NUL. */
static uint32_t take_unicode(const unsigned char **p, const unsigned char *end)
{
	int high, low;

	if (end - *p < 4 || (high = json_text_hex4(*p)) <= 0)
		return 0;
	*p += 4;
	if (high < 0xD800 || high > 0xDFFF)
		return (uint32_t)high;
	if (high > 0xDBFF || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
		return 0;
	low = json_text_hex4(*p + 2);
	if (low < 0xDC00 || low > 0xDFFF)
		return 0;
	*p += 6;
	return 0x10000u + ((uint32_t)(high - 0xD800) << 10) + (uint32_t)(low - 0xDC00);
}

size_t json_text_escape(const unsigned char **p, const unsigned char *end, char out[4])
{
	static const char plain[256] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
	                                ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
	uint32_t code;

	if (end - *p < 2)
		return 0;
	out[0] = plain[(*p)[1]];
	*p += 2;
	if (out[0] != '\0')
		return 1;
	if ((*p)[-1] != 'u' || (code = take_unicode(p, end)) == 0)
		return 0;
	return utf8_encode(code, out);
}

bool json_text_lone_surrogate(const unsigned char *p, const unsigned char *end, size_t *step)
{
	int code, low;

	*step = end - p < 2 ? 1 : p[1] < 0x80 ? 2 : 1;
	if (end - p < 6 || p[1] != 'u' || (code = json_text_hex4(p + 2)) < 0xD800 || code > 0xDFFF)
		return false;
	*step = 6;
	if (code > 0xDBFF || end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return true;
	low = json_text_hex4(p + 8);
	if (low < 0xDC00 || low > 0xDFFF)
		return true;
	*step = 12;
	return false;
}

static inline bool is_special(unsigned char c)
{
	return c == '"' || c == '\\' || c < 0x20 || c >= 0x80;
}

#if defined(__SSE2__)
#include <emmintrin.h>

const unsigned char *json_text_span(const unsigned char *p, const unsigned char *end)
{
	const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p), bad;
		int mask;

		/* Signed: bytes above 0x7f are less than a space as well. */
		bad = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash));
		bad = _mm_or_si128(bad, _mm_cmplt_epi8(v, space));
		mask = _mm_movemask_epi8(bad);
		if (mask != 0)
			return p + __builtin_ctz((unsigned)mask);
	}
	while (p < end && !is_special(*p))
		p++;
	return p;
}
#else
const unsigned char *json_text_span(const unsigned char *p, const unsigned char *end)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	uint64_t v, q, b;

	for (; end - p >= 8; p += 8) {
		memcpy(&v, p, 8);
		q = v ^ ones * '"';
		b = v ^ ones * '\\';
		if (((v | (v - ones * 0x20) | ((q - ones) & ~q) | ((b - ones) & ~b)) & high) != 0)
			break;
	}
	while (p < end && !is_special(*p))
		p++;
	return p;
}
#endif

/* ---- texts that jansson refuses as a whole for one character or number ---- */

/* Passes over one character or escape within a string. */
static int repair_character(const unsigned char **p, const unsigned char *end, const char *mark, struct buf *out)
{
	const unsigned char *from = *p;
	size_t len;

	if (*from == '\\') {
		bool lone = json_text_lone_surrogate(from, end, &len);

		if (len > (size_t)(end - from))
			len = (size_t)(end - from);
		*p += len;
		if (lone || (end - from >= 6 && memcmp(from, "\\u0000", 6) == 0)) {
			*p = from + 6;
			return buf_adds(out, mark);
		}
		return buf_add(out, from, len);
	}
	len = *from < 0x80 ? 1 : utf8_sequence(from, end);
	*p += len > 0 ? len : 1;
	return len > 0 ? buf_add(out, from, len) : buf_adds(out, mark);
}

/* Passes over a number or word: null takes the place of what Python writes, but JSON does not know, and of
 * numbers that no double can hold. */
static int repair_word(const unsigned char **p, const unsigned char *end, struct buf *out)
{
	const unsigned char *from = *p;
	char word[32];
	size_t len;

	while (*p < end && (isalnum(**p) || strchr("+-.", **p) != NULL) && **p != '\0')
		(*p)++;
	len = (size_t)(*p - from);
	snprintf(word, sizeof word, "%.*s", len < sizeof word ? (int)len : 0, (const char *)from);
	if (strcmp(word, "NaN") == 0 || strcmp(word, "Infinity") == 0 || strcmp(word, "-Infinity") == 0 ||
	    (isdigit(from[len - 1]) && (len >= sizeof word || isinf(strtod(word, NULL)))))
		return buf_adds(out, "null");
	return buf_add(out, from, len);
}

int json_text_repair(const char *json, size_t len, const char *mark, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)json, *end = p + len, *from;
	bool in_string = false;
	int result = 0;

	while (p < end && result == 0) {
		from = p;
		if (*p == '"') {
			in_string = !in_string;
			result = buf_add(out, p++, 1);
		} else if (in_string) {
			p = json_text_span(p, end);
			result = buf_add(out, from, (size_t)(p - from));
			if (result == 0 && p < end && *p != '"')
				result = repair_character(&p, end, mark, out);
		} else if (isalnum(*p) || *p == '-') {
			result = repair_word(&p, end, out);
		} else {
			result = buf_add(out, p++, 1);
		}
	}
	return result;
}

/* The first byte at or after p that must be escaped; end if there is none. */
static const unsigned char *find_escaped(const unsigned char *p, const unsigned char *end)
{
	while ((p = json_text_span(p, end)) < end && *p >= 0x80)
		p++;
	return p;
}

/* '\0': it takes six bytes. */
static inline char escape_letter(unsigned char c)
{
	static const char letters[0x20] = {['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};

	return c < 0x20 ? letters[c] : (char)c;
}

static inline size_t escape_len(unsigned char c)
{
	return escape_letter(c) != '\0' ? 2 : 6;
}

bool json_text_measure(const char *text, size_t len, size_t *room)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + len;
	size_t n;

	*room = len;
	while ((p = json_text_span(p, end)) < end) {
		n = *p < 0x80 ? 1 : utf8_sequence(p, end);
		if (n == 0)
			return false;
		if (*p < 0x80)
			*room += escape_len(*p) - 1;
		p += n;
	}
	return true;
}

char *json_text_write(char *to, const char *text, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = (const unsigned char *)text, *end = p + len, *from;

	for (;; p++) {
		from = p;
		p = find_escaped(p, end);
		to = mempcpy(to, from, (size_t)(p - from));
		if (p == end)
			return to;
		*to++ = '\\';
		*to = escape_letter(*p);
		if (*to++ == '\0') { /* another control character */
			memcpy(to - 1, "u00", 3);
			to[2] = hex[*p >> 4];
			to[3] = hex[*p & 15];
			to += 4;
		}
	}
}

int json_text_add(struct buf *out, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + len;
	size_t room = len;
	char *to;

	for (; (p = find_escaped(p, end)) < end; p++)
		room += escape_len(*p) - 1;
	to = buf_reserve(out, room);
	if (to == NULL)
		return -1;
	if (len > 0)
		json_text_write(to, text, len);
	buf_commit(out, room);
	return 0;
}

int json_text_add_between(struct buf *out, const struct buf *before, const char *text, size_t len, const char *after)
{
	const unsigned char *end = (const unsigned char *)text + len;
	const size_t after_len = strlen(after);
	char *to;

	if (find_escaped((const unsigned char *)text, end) < end)
		return buf_add(out, before->data, before->len) < 0 || json_text_add(out, text, len) < 0 ||
		                       buf_add(out, after, after_len) < 0
		               ? -1
		               : 0;
	to = buf_reserve(out, before->len + len + after_len);
	if (to == NULL)
		return -1;
	to = mempcpy(to, before->data, before->len);
	to = mempcpy(to, text, len);
	memcpy(to, after, after_len);
	buf_commit(out, before->len + len + after_len);
	return 0;
}

json_t *json_text_value(const char *text)
{
	json_t *json = json_string(text);
	char *valid;

	if (json != NULL || (valid = utf8_text(text, strlen(text))) == NULL)
		return json;
	json = json_string(valid);
	free(valid);
	return json;
}
