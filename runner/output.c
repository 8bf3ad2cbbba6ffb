/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/output.h"

#include "core/base/utf8.h"

#include <stdlib.h>
#include <string.h>

/* The length of the bytes at the end that may be the beginning of a character. */
static size_t unfinished(const char *bytes, size_t len)
{
	for (size_t back = 1; back <= 3 && back <= len; back++) {
		unsigned char c = (unsigned char)bytes[len - back];

		if ((c & 0xc0) == 0x80)
			continue;
		return (c >= 0xf0 && back < 4) || (c >= 0xe0 && back < 3) || (c >= 0xc0 && back < 2) ? back : 0;
	}
	return 0;
}

char *output_text(struct output *o, const char *bytes, size_t len)
{
	size_t all_len = o->len + len, rest;
	char *all = malloc(all_len + 1), *text;

	if (all == NULL)
		return NULL;
	memcpy(all, o->rest, o->len);
	if (len > 0)
		memcpy(all + o->len, bytes, len);
	rest = len > 0 ? unfinished(all, all_len) : 0;
	memcpy(o->rest, all + all_len - rest, rest);
	o->len = rest;
	text = utf8_text(all, all_len - rest);
	free(all);
	return text;
}
