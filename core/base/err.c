/* SPDX-License-Identifier: Apache-2.0 */
#include "core/base/err.h"

#include "core/base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* vsnprintf cuts bytes; a sequence of UTF-8 that is cut is removed, and
 * what must not be shown becomes spaces, so that the text stays one printable line. */
static void tidy(char *text)
{
	size_t len = strlen(text);
	size_t start = len;

	while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
		start--;
	if (start > 0 && (unsigned char)text[start - 1] >= 0xc0) {
		unsigned char lead = (unsigned char)text[start - 1];
		size_t need = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;

		if (len - start < need)
			text[start - 1] = '\0';
	}
	for (const char *end = text + strlen(text), *at = text; at < end;) {
		const char *began = at;
		uint32_t code;

		if (!utf8_next(&at, end, &code))
			memset(text + (began - text), ' ', (size_t)(at - began));
	}
}

int err_set(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL || err_is_set(e))
		return -1;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	tidy(e->text);
	return -1;
}

int err_set_errno(struct err *e, int errnum, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (e == NULL || err_is_set(e))
		return -1;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	len = strlen(e->text);
	snprintf(e->text + len, sizeof e->text - len, ": %s", strerror(errnum));
	tidy(e->text);
	return -1;
}

void err_prefix(struct err *e, const char *fmt, ...)
{
	char text[sizeof e->text];
	va_list ap;
	int len;

	if (e == NULL)
		return;
	va_start(ap, fmt);
	len = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (len >= 0 && (size_t)len < sizeof text)
		snprintf(text + len, sizeof text - (size_t)len, ": %.*s", (int)(sizeof text - (size_t)len), e->text);
	memcpy(e->text, text, sizeof text);
	tidy(e->text);
}
