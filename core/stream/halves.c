/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/halves.h"

#include "core/base/utf8.h"

#include <string.h>

#define BYTES      0x10F000u /* marks: this and the byte */
#define SURROGATES 0x10F800u /* this and the surrogate's distance from 0xD800 */
#define MARK       4         /* its length */

void halves_mark_surrogate(uint32_t surrogate, char out[4])
{
	utf8_encode(SURROGATES + (surrogate - 0xD800), out);
}

void halves_mark_byte(unsigned char byte, char out[4])
{
	utf8_encode(BYTES + byte, out);
}

/* What the mark at p means: a surrogate, a byte, 0: it is no mark. */
static uint32_t half_at(const char *p, const char *end)
{
	const unsigned char *u = (const unsigned char *)p;
	uint32_t code;

	if (end - p < MARK || u[0] != 0xF4 || u[1] != 0x8F)
		return 0;
	code = 0x10F000u + ((uint32_t)(u[2] & 0x3F) << 6) + (u[3] & 0x3F);
	if (code >= SURROGATES)
		return code - SURROGATES + 0xD800;
	return code - BYTES < 0x100 ? code - BYTES : 0;
}

/* The character of the marks at p, decoded; *used: their length. 0: there is none; *open: it may go
 * on with the next text. */
static size_t decode(const char *p, const char *end, char out[4], size_t *used, bool *open)
{
	uint32_t half = half_at(p, end), low;
	unsigned char bytes[4];
	size_t n = 0, len, want;

	*used = MARK;
	*open = false;
	if (half >= 0xD800) {
		*open = half < 0xDC00 && end - p == MARK;
		low = half_at(p + MARK, end);
		if (half >= 0xDC00 || low < 0xDC00)
			return 0;
		*used = MARK + MARK;
		return utf8_encode(0x10000u + ((half - 0xD800) << 10) + (low - 0xDC00), out);
	}
	for (; n < sizeof bytes && (half = half_at(p + n * MARK, end)) != 0 && half < 0x100; n++)
		bytes[n] = (unsigned char)half;
	len = utf8_sequence(bytes, bytes + n);
	if (len > 0) {
		memcpy(out, bytes, len);
		*used = len * MARK;
		return len;
	}
	want = bytes[0] < 0xC2 || bytes[0] > 0xF4 ? 0 : bytes[0] < 0xE0 ? 2 : bytes[0] < 0xF0 ? 3 : 4;
	*open = n < want && (size_t)(end - p) == n * MARK;
	for (size_t i = 1; i < n && *open; i++)
		*open = (bytes[i] & 0xC0) == 0x80;
	if (*open)
		*used = n * MARK;
	return 0;
}

ptrdiff_t halves_join(struct buf *out, const char *text, size_t len, bool last)
{
	const char *p = text, *end = text + len, *mark;
	char decoded[4];
	size_t used, n;
	bool open;

	while (p < end) {
		for (mark = p; mark < end && half_at(mark, end) == 0; mark++)
			continue;
		if (buf_add(out, p, (size_t)(mark - p)) < 0)
			return -1;
		p = mark;
		if (p == end)
			break;
		n = decode(p, end, decoded, &used, &open);
		if (open && !last)
			break;
		if ((n > 0 ? buf_add(out, decoded, n) : buf_add(out, "\xef\xbf\xbd", 3)) < 0)
			return -1;
		p += used;
	}
	return p - text;
}
