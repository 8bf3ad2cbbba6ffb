/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/content.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define SPACE " \t"

static bool is_word(const char *at, size_t len, const char *word)
{
	return strlen(word) == len && strncasecmp(at, word, len) == 0;
}

/* Whether the parameters of a coding, up to a comma, have a weight of zero: "; q=0.000". */
static bool is_refused(const char *at)
{
	at += strspn(at, SPACE ";");
	if (strncasecmp(at, "q=0", 3) != 0)
		return false;
	at += 3;
	if (*at == '.')
		at += 1 + strspn(at + 1, "0");
	return strchr(SPACE ",;", *at) != NULL;
}

bool content_accepts_gzip(const char *value)
{
	bool any = false, gzip = false, found = false;

	while (value != NULL && *value != '\0') {
		size_t len = strcspn(value += strspn(value, SPACE ","), SPACE ",;");

		if (is_word(value, len, "gzip") || is_word(value, len, "x-gzip")) {
			found = true;
			gzip = gzip || !is_refused(value + len);
		} else if (is_word(value, len, "*")) {
			any = !is_refused(value + len);
		}
		value += strcspn(value, ",");
	}
	return found ? gzip : any;
}

bool content_is_known(const char *value, const char *tag)
{
	while (value != NULL && *value != '\0') {
		size_t len;

		value += strspn(value, SPACE ",");
		if (*value == '*')
			return true;
		if (strncmp(value, "W/", 2) == 0)
			value += 2;
		/* A tag may contain commas. */
		len = *value == '"' ? strcspn(value + 1, "\"") + 2 : strcspn(value, ",");
		if (strncmp(value, tag, len) == 0 && tag[len] == '\0')
			return true;
		value += len <= strlen(value) ? len : strlen(value);
	}
	return false;
}
