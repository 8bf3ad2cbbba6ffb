/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/calls.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Letters of any case are the same, and so are - and _. */
static bool is_same_name(const char *name, const char *end, const char *tool)
{
	for (; name < end && *tool != '\0'; name++, tool++)
		if (tolower((unsigned char)(*name == '-' ? '_' : *name)) !=
		    tolower((unsigned char)(*tool == '-' ? '_' : *tool)))
			return false;
	return name == end && *tool == '\0';
}

static const char *find_tool(const char *name, const char *end, const char *const *tools)
{
	for (const char *const *t = tools; *t != NULL; t++)
		if (strlen(*t) == (size_t)(end - name) && memcmp(*t, name, (size_t)(end - name)) == 0)
			return *t;
	for (const char *const *t = tools; *t != NULL; t++)
		if (is_same_name(name, end, *t))
			return *t;
	return NULL;
}

const char *call_name_resolve(const char *name, const char *const *tools)
{
	static const char around[] = " \t\r\n\"'`";
	static const char glued[] = "functions"; /* Kimi: functions.NAME:0, where a server dropped what joins them */
	const char *token = strstr(name, "<|"), *end = token != NULL ? token : name + strlen(name), *from, *found;

	if (tools == NULL)
		return NULL;
	for (; name < end && strchr(around, *name) != NULL; name++)
		continue;
	for (; end > name && (strchr(around, end[-1]) != NULL || strchr("()", end[-1]) != NULL); end--)
		continue;
	if ((found = find_tool(name, end, tools)) != NULL)
		return found;
	for (from = end; from > name && is_digit(from[-1]); from--)
		continue;
	if (from > name && from < end && strchr(":_-", from[-1]) != NULL)
		end = from - 1;
	for (from = end; from > name && strchr(".:/", from[-1]) == NULL; from--)
		continue;
	if ((found = find_tool(from, end, tools)) != NULL)
		return found;
	if ((size_t)(end - from) <= sizeof glued - 1 || memcmp(from, glued, sizeof glued - 1) != 0)
		return NULL;
	for (from += sizeof glued - 1; end > from && is_digit(end[-1]); end--)
		continue;
	return find_tool(from + (*from == '_'), end, tools);
}

/* ---- assembly ---- */

void calls_init(struct calls *c)
{
	memset(c, 0, sizeof *c);
}

static void call_free(struct call *call)
{
	free(call->id);
	free(call->name);
	free(call->arguments);
}

void calls_clear(struct calls *c)
{
	for (size_t i = 0; i < c->count; i++)
		call_free(&c->items[i]);
	calls_init(c);
}

/* Nothing is added after a missing part: without it, other arguments would be run. */
static int append(struct call *call, const char *more)
{
	size_t add = strlen(more);
	char *grown;

	if (call->cut || add > CALLS_ARGUMENTS_MAX - call->len ||
	    (grown = realloc(call->arguments, call->len + add + 1)) == NULL) {
		call->cut = true;
		return -1;
	}
	memcpy(grown + call->len, more, add + 1);
	call->arguments = grown;
	call->len += add;
	return 0;
}

static struct call *new_call(struct calls *c, long index)
{
	if (c->count == CALLS_MAX)
		return NULL;
	c->index[c->count] = index;
	c->whole[c->count] = false;
	return &c->items[c->count++];
}

static long next_index(const struct calls *c)
{
	long last = c->count == 0 ? -1 : c->index[c->count - 1];

	return last < LONG_MAX ? last + 1 : LONG_MIN; /* an index is the server's, any number */
}

/* Some servers give each of their calls the index 0: a name and another id begin a new one.
 * Others give each fragment another id, but the name only once. */
static bool is_another(const struct call *call, const char *id, const char *name)
{
	return id != NULL && call->id != NULL && strcmp(call->id, id) != 0 && name != NULL && call->name != NULL;
}

/* A fragment without an index continues the last call, unless it brings another id. */
static struct call *find(struct calls *c, const json_t *fragment, const char *id, const char *name)
{
	const json_t *index = json_object_get(fragment, "index");

	if (json_is_integer(index)) {
		long n = (long)json_integer_value(index);

		for (size_t i = c->count; i-- > 0;)
			if (c->index[i] == n && !c->whole[i])
				return is_another(&c->items[i], id, name) ? new_call(c, n) : &c->items[i];
		return new_call(c, n);
	}
	if (c->count > 0 && !c->whole[c->count - 1]) {
		struct call *last = &c->items[c->count - 1];

		if (id == NULL || (last->id != NULL && strcmp(last->id, id) == 0))
			return last;
	}
	return new_call(c, next_index(c));
}

static int merge_arguments(struct call *call, const json_t *arguments)
{
	char *text;
	int result;

	if (json_is_string(arguments))
		return append(call, json_string_value(arguments));
	if (!json_is_object(arguments))
		return 0;
	text = json_dumps(arguments, JSON_COMPACT);
	result = text == NULL ? -1 : append(call, text);
	free(text);
	return result;
}

static int merge_one(struct calls *c, const json_t *fragment)
{
	const char *id = json_string_value(json_object_get(fragment, "id"));
	const json_t *function = json_object_get(fragment, "function");
	const char *name = json_string_value(json_object_get(function, "name"));
	struct call *call;

	if (!json_is_object(fragment))
		return 0;
	if (id != NULL && *id == '\0')
		id = NULL;
	if (name != NULL && *name == '\0')
		name = NULL;
	call = find(c, fragment, id, name);
	if (call == NULL)
		return -1;
	if (id != NULL && call->id == NULL && (call->id = strdup(id)) == NULL)
		return -1;
	/* Names come whole, once; a server that repeats them does not double them. */
	if (name != NULL && call->name == NULL && (call->name = strdup(name)) == NULL)
		return -1;
	return merge_arguments(call, json_object_get(function, "arguments"));
}

int calls_merge(struct calls *c, const json_t *fragments)
{
	const json_t *fragment;
	size_t i;

	if (json_is_object(fragments))
		return merge_one(c, fragments);
	json_array_foreach(fragments, i, fragment) if (merge_one(c, fragment) < 0) return -1;
	return 0;
}

int calls_add(struct calls *c, const char *name, const char *arguments)
{
	struct call *call = new_call(c, next_index(c));

	if (call == NULL)
		return -1;
	c->whole[c->count - 1] = true;
	call->name = strdup(name);
	call->arguments = strdup(arguments);
	call->len = strlen(arguments);
	return call->name == NULL || call->arguments == NULL ? -1 : 0;
}

static bool is_taken(const struct calls *c, size_t count, const char *id)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(c->items[i].id, id) == 0)
			return true;
	return false;
}

int calls_finish(struct calls *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->count; i++) {
		struct call *call = &c->items[i];
		char id[32];

		if (call->name == NULL) {
			call_free(call);
			continue;
		}
		if (call->id == NULL || is_taken(c, kept, call->id)) {
			snprintf(id, sizeof id, "call%05zu", i); /* Mistral takes just 9 letters and digits */
			free(call->id);
			call->id = strdup(id);
		}
		if (call->arguments == NULL)
			call->arguments = strdup("{}");
		c->items[kept] = *call;
		c->index[kept++] = c->index[i];
		if (call->id == NULL || call->arguments == NULL) {
			memmove(&c->items[kept], &c->items[i + 1], (c->count - i - 1) * sizeof c->items[0]);
			c->count = kept + (c->count - i - 1);
			return -1;
		}
	}
	c->count = kept;
	return 0;
}
