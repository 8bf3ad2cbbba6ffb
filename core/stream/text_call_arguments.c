/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of a recognised call, as JSON. */
#include "core/base/buf.h"
#include "core/stream/text_call.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static char *dump(json_t *arguments)
{
	return json_dumps(arguments, JSON_COMPACT | JSON_ENCODE_ANY);
}

/* The member parameters or arguments, in the call itself or in its function. */
static json_t *find_arguments(const json_t *call)
{
	const json_t *levels[] = {call, json_object_get(call, "function")};

	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
		json_t *found = json_object_get(levels[i], "arguments");

		if (found == NULL)
			found = json_object_get(levels[i], "parameters");
		if (found != NULL)
			return found;
	}
	return NULL;
}

static char *json_arguments(const struct text_call *t, const char *text, size_t len)
{
	struct buf whole = BUF_INIT(len + TEXT_CALL_DEPTH_MAX);
	json_t *root = NULL, *arguments;
	char *result = NULL;

	if (buf_add(&whole, text, len) < 0)
		goto out;
	for (unsigned level = t->depth; level > 0; level--)
		if (buf_adds(&whole, (t->objects >> (level - 1) & 1) != 0 ? "}" : "]") < 0)
			goto out;
	root = json_loadb(whole.data, whole.len, JSON_ALLOW_NUL, NULL);
	if (root == NULL)
		goto out;
	arguments = t->call_depth == 0 ? root : find_arguments(root);
	if (json_is_string(arguments))
		result = strdup(json_string_value(arguments));
	else if (json_is_null(arguments))
		result = strdup("{}");
	else if (arguments != NULL)
		result = dump(arguments);
out:
	json_decref(root);
	buf_free(&whole);
	return result;
}

/* A parameter's value without the line ends that the form puts around it. */
static json_t *parameter(const char *from, const char *to)
{
	if (from < to && *from == '\n')
		from++;
	if (from < to && to[-1] == '\n')
		to--;
	return json_stringn(from, (size_t)(to - from));
}

static char *parameter_arguments(const char *text, size_t len)
{
	static const char open[] = "<parameter=", close[] = "</parameter>";
	const char *p = text, *end = text + len, *name, *value, *stop;
	json_t *arguments = json_object();
	char *result = NULL;

	while ((p = memmem(p, (size_t)(end - p), open, sizeof open - 1)) != NULL) {
		name = p + sizeof open - 1;
		value = memchr(name, '>', (size_t)(end - name));
		stop = value != NULL ? memmem(value, (size_t)(end - value), close, sizeof close - 1) : NULL;
		if (stop == NULL)
			break;
		if (json_object_setn_new(arguments, name, (size_t)(value - name), parameter(value + 1, stop)) < 0)
			goto out;
		p = stop + sizeof close - 1;
	}
	result = dump(arguments);
out:
	json_decref(arguments);
	return result;
}

static char *python_arguments(const char *text, size_t len)
{
	json_t *arguments = text_call_python_arguments(text, len);
	char *result = arguments != NULL ? dump(arguments) : NULL;

	json_decref(arguments);
	return result;
}

char *text_call_arguments(const struct text_call *t, const char *text, size_t len)
{
	if (t->python)
		return python_arguments(text + t->from, len - t->from);
	if (t->parameters)
		return parameter_arguments(text + t->from, len - t->from);
	return json_arguments(t, text + t->from, len - t->from);
}
