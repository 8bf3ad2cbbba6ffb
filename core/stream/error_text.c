/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/error_text.h"

#include "core/base/utf8.h"

#include <string.h>

/* The first line of text that is not empty. A control character becomes a space, a byte that
 * is not UTF-8 a question mark. */
static void set_line(char *out, size_t size, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + len;
	size_t n = 0, step;

	while (p < end && *p <= ' ')
		p++;
	for (; p < end && *p != '\n' && *p != '\r'; p += step) {
		step = utf8_sequence(p, end);
		if (n + (step == 0 ? 1 : step) >= size)
			break;
		if (step == 0) {
			step = 1;
			out[n++] = '?';
			continue;
		}
		memcpy(out + n, *p < ' ' || *p == 0x7f ? (const unsigned char *)" " : p, step);
		n += step;
	}
	while (n > 0 && out[n - 1] == ' ')
		n--;
	out[n] = '\0';
}

/* FastAPI's detail: a string, or an array of objects with a msg. */
static const json_t *detail_message(const json_t *detail)
{
	const json_t *first = json_is_array(detail) ? json_array_get(detail, 0) : detail;

	if (json_is_string(first))
		return first;
	for (const char *const *key = (const char *const[]){"msg", "message", "error", NULL}; *key != NULL; key++)
		if (json_is_string(json_object_get(first, *key)))
			return json_object_get(first, *key);
	return NULL;
}

/* The message of an error; NULL: there is none. */
static const json_t *error_message(const json_t *root)
{
	const json_t *error = json_object_get(root, "error"), *message = json_object_get(root, "message");

	if (json_is_string(error) && json_string_length(error) > 0)
		return error;
	if (json_is_object(error))
		return detail_message(error);
	if (json_is_string(message))
		return message;
	return detail_message(json_object_get(root, "detail"));
}

bool error_text_of_json(const json_t *object, char *out, size_t size)
{
	const json_t *message = error_message(object);

	out[0] = '\0';
	if (message == NULL)
		return false;
	set_line(out, size, json_string_value(message), json_string_length(message));
	return true;
}

void error_text_of_body(const char *body, size_t len, char *out, size_t size)
{
	json_t *root = json_loadb(body, len, 0, NULL);

	out[0] = '\0';
	if (json_is_string(root))
		set_line(out, size, json_string_value(root), json_string_length(root));
	else if (json_is_object(root))
		error_text_of_json(root, out, size);
	else if (root == NULL && memchr(body, '<', len) == NULL)
		/* Plain text; an HTML page would not help anybody. */
		set_line(out, size, body, len);
	json_decref(root);
}

bool error_text_is_context_overflow(const char *text)
{
	/* vLLM old and new, OpenAI, llama.cpp, TGI, LM Studio, Ollama, in this order. */
	static const char *const wordings[] = {
		"maximum context length",
		"longer than the maximum model length",
		"context_length_exceeded",
		"exceeds the available context size",
		"exceed_context_size",
		"must have less than",
		"`inputs` tokens + `max_new_tokens`",
		"exceeds the context length",
		"greater than the context length",
		"input length exceeds",
		"context window",
		"prompt is too long",
		"too many tokens",
		"maximum model length",
		"max_model_len",
		"exceeds maximum model length",
	};

	for (size_t i = 0; i < sizeof wordings / sizeof wordings[0]; i++)
		if (strcasestr(text, wordings[i]) != NULL)
			return true;
	return false;
}
