/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/call_name.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_one_of(char c, const char *these)
{
	return c != '\0' && strchr(these, c) != NULL;
}

/* Letters of any case are the same, and so are - and _. */
static bool is_same(const char *name, const char *end, const char *tool)
{
	for (; name < end && *tool != '\0'; name++, tool++)
		if (tolower((unsigned char)(*name == '-' ? '_' : *name)) !=
		    tolower((unsigned char)(*tool == '-' ? '_' : *tool)))
			return false;
	return name == end && *tool == '\0';
}

static const char *find(const char *name, const char *end, const char *const *tools)
{
	for (const char *const *t = tools; *t != NULL; t++)
		if (strlen(*t) == (size_t)(end - name) && memcmp(*t, name, (size_t)(end - name)) == 0)
			return *t;
	for (const char *const *t = tools; *t != NULL; t++)
		if (is_same(name, end, *t))
			return *t;
	return NULL;
}

/* Where the name ends without ".call" and without a number after it. */
static const char *without_suffix(const char *name, const char *end)
{
	static const char method[] = ".call";
	const char *from;

	if ((size_t)(end - name) > sizeof method - 1 &&
	    memcmp(end - (sizeof method - 1), method, sizeof method - 1) == 0)
		end -= sizeof method - 1;
	for (from = end; from > name && is_digit(from[-1]); from--)
		continue;
	return from > name && from < end && is_one_of(from[-1], ":_-") ? from - 1 : end;
}

const char *call_name_resolve(const char *name, size_t len, const char *const *tools)
{
	static const char around[] = " \t\r\n\"'`";
	static const char glued[] = "functions"; /* Kimi: functions.NAME:0, where a server dropped what joins them */
	const char *token = memmem(name, len, "<|", 2), *end = token != NULL ? token : name + len, *bare, *found;

	if (tools == NULL)
		return NULL;
	for (; name < end && is_one_of(*name, around); name++)
		continue;
	for (; end > name && (is_one_of(end[-1], around) || is_one_of(end[-1], "()")); end--)
		continue;
	bare = without_suffix(name, end);
	for (const char *from = name; from <= bare; from++) {
		if (from > name && !is_one_of(from[-1], ".:/"))
			continue;
		if ((found = find(from, end, tools)) != NULL || (found = find(from, bare, tools)) != NULL)
			return found;
	}
	if ((size_t)(bare - name) <= sizeof glued - 1 || memcmp(name, glued, sizeof glued - 1) != 0)
		return NULL;
	for (name += sizeof glued - 1; bare > name && is_digit(bare[-1]); bare--)
		continue;
	return find(name + (name < bare && *name == '_'), bare, tools);
}
