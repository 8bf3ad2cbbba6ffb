/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/utf8.h"

#include <stdlib.h>
#include <string.h>

size_t utf8_sequence(const unsigned char *p, const unsigned char *end)
{
	/* The range of the second byte is what rules out overlong forms and surrogates. */
	unsigned char c = *p, low = 0x80, high = 0xBF;
	size_t len;

	if (c < 0x80)
		return 1;
	if (c < 0xC2 || c > 0xF4)
		return 0;
	len = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
	if (c == 0xE0)
		low = 0xA0;
	else if (c == 0xED)
		high = 0x9F;
	else if (c == 0xF0)
		low = 0x90;
	else if (c == 0xF4)
		high = 0x8F;
	if ((size_t)(end - p) < len || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xC0) != 0x80)
			return 0;
	return len;
}

size_t utf8_cut(const char *text, size_t max)
{
	size_t len = strnlen(text, max + 1);

	if (len <= max)
		return len;
	len = max;
	while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
		len--;
	return len;
}

char *utf8_text(const char *bytes, size_t len)
{
	const unsigned char *p = (const unsigned char *)bytes, *end = p + len;
	char *text = malloc(len + 1), *to = text;

	if (text == NULL)
		return NULL;
	while (p < end) {
		size_t n = *p == '\0' ? 0 : utf8_sequence(p, end);

		if (n == 0)
			*to++ = '?';
		for (size_t i = 0; i < n; i++)
			*to++ = (char)p[i];
		p += n == 0 ? 1 : n;
	}
	*to = '\0';
	return text;
}

size_t utf8_encode(uint32_t code, char out[4])
{
	static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
	size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	if (len == 1) {
		out[0] = (char)code;
		return 1;
	}
	for (size_t i = len - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (code & 0x3F));
		code >>= 6;
	}
	out[0] = (char)(lead[len] | code);
	return len;
}

int utf8_hex4(const unsigned char *p)
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

bool utf8_lone_surrogate(const unsigned char *p, const unsigned char *end, size_t *step)
{
	int code, low;

	*step = end - p < 2 ? 1 : p[1] < 0x80 ? 2 : 1;
	if (end - p < 6 || p[1] != 'u' || (code = utf8_hex4(p + 2)) < 0xD800 || code > 0xDFFF)
		return false;
	*step = 6;
	if (code > 0xDBFF || end - p < 12 || p[6] != '\\' || p[7] != 'u')
		return true;
	low = utf8_hex4(p + 8);
	if (low < 0xDC00 || low > 0xDFFF)
		return true;
	*step = 12;
	return false;
}

static inline int special(unsigned char c)
{
	return c == '"' || c == '\\' || c < 0x20 || c >= 0x80;
}

#if defined(__SSE2__)
#include <emmintrin.h>

const unsigned char *utf8_json_span(const unsigned char *p, const unsigned char *end)
{
	const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), space = _mm_set1_epi8(0x20);

	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p), bad;
		int mask;

		/* Signed: bytes above 0x7f are less than a blank as well. */
		bad = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash));
		bad = _mm_or_si128(bad, _mm_cmplt_epi8(v, space));
		mask = _mm_movemask_epi8(bad);
		if (mask != 0)
			return p + __builtin_ctz((unsigned)mask);
	}
	while (p < end && !special(*p))
		p++;
	return p;
}
#else
const unsigned char *utf8_json_span(const unsigned char *p, const unsigned char *end)
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
	while (p < end && !special(*p))
		p++;
	return p;
}
#endif
