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

/* Sorted. Joiners (U+200C, U+200D) are parts of words and emoji. */
static const struct {
	uint32_t first, last;
} unsafe[] = {
	{0x00, 0x1F},       /* C0 */
	{0x7F, 0x9F},       /* DEL, C1 */
	{0x061C, 0x061C},   /* Arabic letter mark */
	{0x200E, 0x200F},   /* marks of direction */
	{0x2028, 0x202E},   /* separators of lines and paragraphs, embeddings, overrides */
	{0x2066, 0x206F},   /* isolates, deprecated formats */
	{0xD800, 0xDFFF},   /* surrogates */
	{0xFFF9, 0xFFFB},   /* annotations */
	{0xE0000, 0xE007F}, /* tags, which are invisible */
};

/* utf8_sequence, and a surrogate that was encoded like any other code point. */
static size_t sequence_or_surrogate(const unsigned char *p, const unsigned char *end)
{
	if (end - p >= 3 && p[0] == 0xED && p[1] >= 0xA0 && p[1] <= 0xBF && (p[2] & 0xC0) == 0x80)
		return 3;
	return utf8_sequence(p, end);
}

bool utf8_next(const char **at, const char *end, uint32_t *code)
{
	static const unsigned char lead_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
	const unsigned char *p = (const unsigned char *)*at;
	size_t len = sequence_or_surrogate(p, (const unsigned char *)end);

	*code = *p;
	*at += len > 0 ? len : 1;
	if (len == 0)
		return false;
	*code &= lead_bits[len];
	for (size_t i = 1; i < len; i++)
		*code = *code << 6 | (p[i] & 0x3F);
	for (size_t i = 0; i < sizeof unsafe / sizeof unsafe[0]; i++)
		if (*code >= unsafe[i].first && *code <= unsafe[i].last)
			return false;
	return true;
}

size_t utf8_whitespace(const unsigned char *p, const unsigned char *end)
{
	static const char others[][4] = {
		"\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\xa8",
		"\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
	};

	if (*p <= ' ')
		return *p == ' ' || (*p >= '\t' && *p <= '\r') || *p >= 0x1c;
	if (*p < 0xc2 || *p > 0xe3)
		return 0;
	if (end - p >= 3 && p[0] == 0xe2 && p[1] == 0x80 && p[2] >= 0x80 && p[2] <= 0x8a) /* U+2000 to U+200A */
		return 3;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		size_t len = strlen(others[i]);

		if ((size_t)(end - p) >= len && memcmp(p, others[i], len) == 0)
			return len;
	}
	return 0;
}

static bool is_invisible(uint32_t code)
{
	static const uint32_t codes[] = {0xAD,   0x34F,  0x115F, 0x1160, 0x180E, 0x200B, 0x200C, 0x200D, 0x2060,
	                                 0x2061, 0x2062, 0x2063, 0x2064, 0x2800, 0x3164, 0xFEFF, 0xFFA0};

	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (code == codes[i])
			return true;
	return false;
}

bool utf8_is_blank(const char *text)
{
	const char *at = text, *end = text + strlen(text);
	uint32_t code;

	while (at < end) {
		size_t space = utf8_whitespace((const unsigned char *)at, (const unsigned char *)end);

		if (space > 0)
			at += space;
		else if (utf8_next(&at, end, &code) && !is_invisible(code))
			return false;
	}
	return true;
}

void utf8_disarm(char *text)
{
	const char *at = text, *end = text + strlen(text);
	uint32_t code;

	while (at < end) {
		const char *began = at;

		if (!utf8_next(&at, end, &code))
			memset(text + (began - text), '?', (size_t)(at - began));
	}
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
