/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/json_text.h"

#include "core/base/utf8.h"

#include <stdint.h>
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
