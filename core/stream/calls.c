/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/calls.h"

#include "core/base/buf.h"
#include "core/base/utf8.h"
#include "core/stream/call_arguments.h"
#include "core/stream/call_name.h"
#include "core/stream/halves.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- assembly ---- */

void calls_init(struct calls *c, const char *const *tools)
{
	*c = (struct calls){.tools = tools};
}

static void call_free(struct call *call)
{
	free(call->id);
	free(call->name);
	free(call->arguments);
	json_decref(call->extra);
}

void calls_clear(struct calls *c)
{
	for (size_t i = 0; i < c->count; i++)
		call_free(&c->items[i]);
	free(c->items);
	free(c->state);
	calls_init(c, c->tools);
}

static struct call *new_call(struct calls *c, long index)
{
	if (c->count == CALLS_MAX)
		return NULL;
	if (c->items == NULL)
		c->items = calloc(CALLS_MAX, sizeof *c->items);
	if (c->state == NULL)
		c->state = calloc(CALLS_MAX, sizeof *c->state);
	if (c->items == NULL || c->state == NULL)
		return NULL;
	c->items[c->count] = (struct call){.id = NULL};
	c->state[c->count] = (struct call_state){.index = index};
	return &c->items[c->count++];
}

static long next_index(const struct calls *c)
{
	long last = c->count == 0 ? -1 : c->state[c->count - 1].index;

	return last < LONG_MAX ? last + 1 : LONG_MIN; /* an index is the server's, any number */
}

static struct call_state *state_of(struct calls *c, const struct call *call)
{
	return &c->state[call - c->items];
}

/* Follows the arguments as far as to know whether their object has ended. */
static void follow(struct call_state *s, const char *text, size_t len)
{
	for (const char *p = text, *end = text + len; p < end; p++) {
		if (s->escaped) {
			s->escaped = false;
		} else if (s->in_string) {
			s->escaped = *p == '\\';
			s->in_string = *p != '"';
		} else if (*p == '"') {
			s->in_string = true;
		} else if (*p == '{') {
			s->closed = false;
			s->depth++;
		} else if (*p == '}' && s->depth > 0) {
			s->closed = --s->depth == 0;
		}
	}
}

/* Nothing is added after a missing part: without it, other arguments would be run. */
static int append(struct calls *c, struct call *call, const char *more, size_t add)
{
	struct call_state *s = state_of(c, call);
	bool placeholder = call->len == 2 && memcmp(call->arguments, "{}", 2) == 0 && add > 0 && *more == '{';
	char *grown;

	/* All so far again, and more: no JSON continues like this. */
	if (!call->cut && (placeholder || (call->len > 0 && *call->arguments == '{' && add >= call->len &&
	                                   memcmp(more, call->arguments, call->len) == 0))) {
		call->len = 0;
		s->depth = 0;
		s->in_string = s->escaped = s->closed = false;
	}
	if (call->cut || add > CALLS_ARGUMENTS_MAX - call->len ||
	    (grown = realloc(call->arguments, call->len + add + 1)) == NULL) {
		call->cut = true;
		return -1;
	}
	memcpy(grown + call->len, more, add);
	grown[call->len + add] = '\0';
	call->arguments = grown;
	call->len += add;
	follow(s, more, add);
	return 0;
}

/* ---- fragments ---- */

struct fragment {
	const json_t *json, *function;
	const char *id, *name;
	const char *arguments; /* NULL: none */
	size_t len;
	char *dumped; /* arguments that came as an object */
	long index;
	bool has_index;
};

/* Some write it as text, or as a number with a fraction. */
static bool read_index(const json_t *value, long *index)
{
	const char *text = json_string_value(value);
	char *end;

	if (json_is_integer(value)) {
		*index = (long)json_integer_value(value);
		return true;
	}
	if (json_is_real(value) && json_real_value(value) > -1e9 && json_real_value(value) < 1e9) {
		*index = (long)json_real_value(value);
		return true;
	}
	if (text == NULL || *text == '\0')
		return false;
	*index = strtol(text, &end, 10);
	return *end == '\0';
}

static const char *text_of(const json_t *object, const char *member)
{
	const char *text = json_string_value(json_object_get(object, member));

	return text != NULL && text[strspn(text, " \t\r\n")] != '\0' ? text : NULL;
}

/* -1: no memory. */
static int read_fragment(struct fragment *f, const json_t *json)
{
	const json_t *arguments;

	*f = (struct fragment){.json = json, .function = json_object_get(json, "function")};
	f->has_index = read_index(json_object_get(json, "index"), &f->index);
	f->id = text_of(json, "id");
	if (!json_is_object(f->function)) { /* some do without, or name the tool there */
		f->name = text_of(json, "function");
		f->function = json;
	}
	if (f->name == NULL)
		f->name = text_of(f->function, "name");
	arguments = json_object_get(f->function, "arguments");
	if (arguments == NULL)
		arguments = json_object_get(f->function, "parameters");
	if (json_is_string(arguments)) {
		f->arguments = json_string_value(arguments);
		f->len = strlen(f->arguments);
	} else if (json_is_object(arguments) || json_array_size(arguments) > 0) {
		f->arguments = f->dumped = json_dumps(arguments, JSON_COMPACT | JSON_REAL_PRECISION(15));
		if (f->dumped == NULL)
			return -1;
		f->len = strlen(f->dumped);
	}
	return 0;
}

static bool begins_object(const struct fragment *f)
{
	const char *p = f->len == 0 ? NULL : call_arguments_skip(f->arguments, f->arguments + f->len);

	return p != NULL && *p == '{';
}

static bool is_tool(const struct calls *c, const char *name)
{
	return call_name_resolve(name, strlen(name), c->tools) != NULL;
}

/* Whether a fragment that names a tool begins another call than the one that is at its place. */
static bool is_another(struct calls *c, const struct call *call, const struct fragment *f)
{
	const struct call_state *s = state_of(c, call);
	bool other_id = f->id != NULL && call->id != NULL && strcmp(f->id, call->id) != 0;
	bool same_id = f->id != NULL && call->id != NULL && !other_id;

	if (f->name == NULL || call->name == NULL)
		return false; /* other servers give each fragment another id, but the name only once */
	if (strcmp(f->name, call->name) == 0) {
		if (other_id)
			return call->len == 0 || s->closed || begins_object(f);
		return !same_id && s->closed && begins_object(f) &&
		       !call_arguments_same("{}", 2, f->arguments, f->len) &&
		       !call_arguments_same("{}", 2, call->arguments, call->len) &&
		       !call_arguments_same(call->arguments, call->len, f->arguments, f->len);
	}
	if (other_id || s->closed)
		return true;
	return is_tool(c, f->name) && (call->len > 0 || is_tool(c, call->name));
}

/* The call that is this one again. */
static struct call *find_same(struct calls *c, const struct fragment *f)
{
	for (size_t i = c->count; i-- > 0 && f->name != NULL && f->arguments != NULL;)
		if (!c->state[i].whole && c->items[i].name != NULL && strcmp(c->items[i].name, f->name) == 0 &&
		    c->items[i].len > 0 &&
		    call_arguments_same(c->items[i].arguments, c->items[i].len, f->arguments, f->len))
			return &c->items[i];
	return NULL;
}

/* The call that the fragment belongs to, an old one or a new one. */
static struct call *find(struct calls *c, const struct fragment *f)
{
	size_t i = f->has_index || f->id != NULL ? c->count : 0;

	for (; i > 0; i--)
		if (f->has_index ? c->state[i - 1].index == f->index && !c->state[i - 1].whole
		                 : c->items[i - 1].id != NULL && strcmp(c->items[i - 1].id, f->id) == 0)
			break;
	if (i == 0 && !f->has_index)
		for (i = c->count; i > 0 && c->state[i - 1].whole;)
			i--;
	if (i > 0 && !is_another(c, &c->items[i - 1], f))
		return &c->items[i - 1];
	return new_call(c, f->has_index ? f->index : next_index(c));
}

/* A name comes whole, once or with each fragment, or in parts. */
static int merge_name(struct calls *c, struct call *call, const char *name)
{
	size_t have = call->name == NULL ? 0 : strlen(call->name);
	char joined[CALLS_NAME_MAX + 1];

	if (name == NULL || (have > 0 && (call->len > 0 || strcmp(call->name, name) == 0)))
		return 0;
	snprintf(joined, sizeof joined, "%.*s%s", (int)have, have > 0 ? call->name : "", name);
	joined[utf8_cut(joined, CALLS_NAME_MAX)] = '\0';
	if (have > 0 && !is_tool(c, joined)) {
		if (is_tool(c, call->name))
			return 0;
		if (strncmp(name, call->name, have) == 0) /* all so far again, and more */
			memmove(joined, joined + have, strlen(joined + have) + 1);
	}
	free(call->name);
	call->name = strdup(joined);
	return call->name == NULL ? -1 : 0;
}

static int add_extra(struct call_state *s, json_t **to, const json_t *from, const char *const *known)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)from, name, value)
	{
		const char *const *k = known;
		size_t len;

		while (*k != NULL && strcmp(*k, name) != 0)
			k++;
		if (*k != NULL || json_is_null(value) || json_equal(json_object_get(*to, name), value))
			continue;
		len = strlen(name) + json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
		if (len > CALLS_EXTRA_MAX - s->extra_len)
			continue;
		s->extra_len += len;
		if ((*to == NULL && (*to = json_object()) == NULL) || json_object_set(*to, name, value) < 0)
			return -1;
	}
	return 0;
}

static int merge_extra(struct calls *c, struct call *call, const struct fragment *f)
{
	static const char *const of_call[] = {"index", "id",        "type",       "function",
	                                      "name",  "arguments", "parameters", NULL};
	static const char *const of_function[] = {"name", "arguments", "parameters", "description", "strict", NULL};
	json_t *function = json_incref(json_object_get(call->extra, "function"));
	int result = add_extra(state_of(c, call), &call->extra, f->json, of_call);

	if (result == 0 && f->function != f->json)
		result = add_extra(state_of(c, call), &function, f->function, of_function);
	if (result == 0 && function != NULL && call->extra == NULL)
		result = (call->extra = json_object()) == NULL ? -1 : 0;
	if (result == 0 && function != NULL)
		result = json_object_set(call->extra, "function", function);
	json_decref(function);
	return result;
}

static int merge_one(struct calls *c, const json_t *json, bool again)
{
	struct fragment f;
	struct call *call = NULL;
	int result = -1;

	if (!json_is_object(json))
		return 0;
	if (read_fragment(&f, json) < 0)
		goto out;
	if (again || (!f.has_index && f.id == NULL))
		call = find_same(c, &f);
	if (call != NULL) {
		result = merge_extra(c, call, &f);
		goto out;
	}
	call = find(c, &f);
	if (call == NULL || (f.id != NULL && call->id == NULL && (call->id = strdup(f.id)) == NULL))
		goto out;
	if (merge_name(c, call, f.name) < 0 || merge_extra(c, call, &f) < 0)
		goto out;
	result = f.arguments == NULL ? 0 : append(c, call, f.arguments, f.len);
out:
	free(f.dumped);
	return result;
}

int calls_merge(struct calls *c, const json_t *fragments, bool again)
{
	const json_t *fragment;
	size_t i;

	if (json_is_object(fragments))
		return merge_one(c, fragments, again);
	json_array_foreach(fragments, i, fragment) if (merge_one(c, fragment, again) < 0) return -1;
	return 0;
}

int calls_add(struct calls *c, const char *name, const char *arguments)
{
	struct call *call = new_call(c, next_index(c));

	if (call == NULL)
		return -1;
	state_of(c, call)->whole = true;
	call->name = strdup(name);
	call->arguments = strdup(arguments);
	call->len = strlen(arguments);
	if (call->name != NULL && call->arguments != NULL)
		return 0;
	call_free(call);
	c->count--;
	return -1;
}

/* ---- the end ---- */

/* The call before it that has its id. */
static const struct call *same_id(const struct calls *c, size_t count, const struct call *call)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(c->items[i].id, call->id) == 0)
			return &c->items[i];
	return NULL;
}

/* Characters that two fragments shared. */
static int join_halves(struct call *call)
{
	struct buf b = BUF_INIT(CALLS_ARGUMENTS_MAX + 1);

	if (buf_add(&b, "", 0) < 0 || halves_join(&b, call->arguments, call->len, true) < 0) {
		buf_free(&b);
		return -1;
	}
	free(call->arguments);
	call->arguments = buf_steal(&b, &call->len);
	return 0;
}

/* -1: no memory. */
static int finish_one(struct call *call, const char *const *tools, bool limited)
{
	const char *tool = call_name_resolve(call->name, strlen(call->name), tools);
	char *object;

	if (tool != NULL && strcmp(tool, call->name) != 0) {
		free(call->name);
		if ((call->name = strdup(tool)) == NULL)
			return -1;
	}
	if (call->len > 0 && (call->cut || call_arguments_are_object(call->arguments, call->len)))
		object = NULL;
	else if (call->len == 0)
		object = strdup("{}");
	else
		object = call_arguments_object(call->arguments, call->len);
	if (call->len == 0 && object == NULL)
		return -1;
	if (object != NULL) {
		free(call->arguments);
		call->arguments = object;
		call->len = strlen(object);
	}
	if (limited && (call->len == 2 || !call_arguments_are_object(call->arguments, call->len)))
		call->cut = true;
	return 0;
}

int calls_finish(struct calls *c, bool limited)
{
	size_t kept = 0;
	int result = 0;

	for (size_t i = 0; i < c->count; i++) {
		struct call *call = &c->items[i];
		const struct call *before;
		char id[32];

		if (c->halves && call->len > 0)
			result |= join_halves(call);
		if (call->name != NULL && result == 0)
			result = finish_one(call, c->tools, limited);
		if (call->name == NULL || result < 0) {
			call_free(call);
			continue;
		}
		before = call->id == NULL ? NULL : same_id(c, kept, call);
		if (before != NULL && strcmp(before->name, call->name) == 0 &&
		    strcmp(before->arguments, call->arguments) == 0) {
			call_free(call);
			continue;
		}
		if (call->id == NULL || before != NULL) {
			snprintf(id, sizeof id, "call%05zu", i); /* Mistral takes just 9 letters and digits */
			free(call->id);
			call->id = strdup(id);
		}
		c->items[kept] = *call;
		c->state[kept++] = c->state[i];
		if (call->id == NULL)
			result = -1;
	}
	c->count = kept;
	return result;
}
