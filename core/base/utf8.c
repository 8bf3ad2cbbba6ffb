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
