/* SPDX-License-Identifier: Apache-2.0 */
/* The full reader, on jansson: everything that the scanner does not know. */
#include "core/stream/chunk.h"
#include "core/stream/chunk_finish.h"
#include "core/base/utf8.h"

#include <string.h>

static struct chunk_text string_text(const json_t *value)
{
	struct chunk_text text = {.bytes = NULL, .len = 0};

	if (json_is_string(value) && json_string_length(value) > 0) {
		text.bytes = json_string_value(value);
		text.len = json_string_length(value);
	}
	return text;
}

/* ---- errors ---- */

/* The first of text's lines that says something, with no control characters. */
static void set_line(char *out, size_t size, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + len;
	size_t n = 0, step;

	while (p < end && *p <= ' ')
		p++;
	for (; p < end && *p != '\n' && *p != '\r'; p += step) {
		step = utf8_sequence(p, end);
		if (step == 0 || *p < ' ' || *p == 0x7f) {
			step = 1;
			if (n + 1 < size)
				out[n++] = step == 0 ? '?' : ' ';
			continue;
		}
		if (n + step >= size)
			break;
		memcpy(out + n, p, step);
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

/* The message of an error in any of its shapes; NULL: root is none. */
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

static bool truthy(const json_t *value)
{
	if (json_is_string(value))
		return json_string_length(value) > 0;
	if (json_is_integer(value))
		return json_integer_value(value) != 0;
	return json_is_object(value) || json_is_array(value) || json_is_true(value) || json_is_real(value);
}

static bool is_error(const json_t *root)
{
	const json_t *object = json_object_get(root, "object");

	if (truthy(json_object_get(root, "error")))
		return true;
	if (json_is_string(object) && strcmp(json_string_value(object), "error") == 0)
		return true;
	return json_object_get(root, "choices") == NULL && json_object_get(root, "usage") == NULL &&
	       error_message(root) != NULL;
}

static long error_status(const json_t *root)
{
	const json_t *error = json_object_get(root, "error"), *found = NULL;

	for (const char *const *key = (const char *const[]){"code", "status", "status_code", NULL}; *key != NULL;
	     key++) {
		if (found == NULL)
			found = json_object_get(error, *key);
		if (found == NULL)
			found = json_object_get(root, *key);
		if (!json_is_integer(found))
			found = NULL;
	}
	if (found == NULL || json_integer_value(found) < 100 || json_integer_value(found) > 599)
		return 0;
	return (long)json_integer_value(found);
}

static void read_error(const json_t *root, struct chunk *d)
{
	const json_t *message = error_message(root);

	d->kind = CHUNK_ERROR;
	d->error_status = error_status(root);
	if (message != NULL)
		set_line(d->error, sizeof d->error, json_string_value(message), json_string_length(message));
	if (d->error[0] == '\0')
		strncpy(d->error, "the server gave no reason", sizeof d->error - 1);
}

void chunk_error_text(const char *body, size_t len, char *out, size_t size)
{
	json_t *root = json_loadb(body, len, 0, NULL);
	const json_t *message = json_is_object(root) ? error_message(root) : root;

	out[0] = '\0';
	if (json_is_string(message))
		set_line(out, size, json_string_value(message), json_string_length(message));
	else if (root == NULL && memchr(body, '<', len) == NULL)
		/* Plain text; a page of HTML tells nobody anything. */
		set_line(out, size, body, len);
	json_decref(root);
}

/* ---- chunks ---- */

/* Joins the texts of an array of parts, as Mistral sends them: {"type":"text","text"},
 * {"type":"thinking","thinking":[parts]}. Appends to the scratch. */
static int join_parts(struct buf *scratch, const json_t *parts, bool thinking, unsigned depth)
{
	const json_t *part, *inner;
	size_t i;
	int result = 0;

	json_array_foreach(parts, i, part)
	{
		inner = json_object_get(part, "thinking");
		if (thinking && depth == 0)
			part = json_is_array(inner) ? inner : NULL;
		else if (inner != NULL && depth == 0)
			continue;
		if (json_is_array(part) && depth < 1)
			result |= join_parts(scratch, part, thinking, depth + 1);
		inner = thinking && depth == 0 ? inner : json_object_get(part, "text");
		if (json_is_string(inner))
			result |= buf_add(scratch, json_string_value(inner), json_string_length(inner));
	}
	return result;
}

static void read_parts(struct chunk_reader *r, const json_t *parts, struct chunk *d)
{
	size_t content;

	if (join_parts(&r->scratch, parts, false, 0) < 0)
		return;
	content = r->scratch.len;
	if (join_parts(&r->scratch, parts, true, 0) < 0)
		return;
	if (content > 0)
		d->content = (struct chunk_text){.bytes = r->scratch.data, .len = content};
	if (r->scratch.len > content)
		d->reasoning = (struct chunk_text){.bytes = r->scratch.data + content, .len = r->scratch.len - content};
}

/* tool_calls as an array; older servers sent the one call as an object. */
static json_t *read_tool_calls(json_t *delta)
{
	json_t *calls = json_object_get(delta, "tool_calls"), *array;

	if (json_is_object(calls)) {
		array = json_array();
		if (array == NULL || json_array_append(array, calls) < 0 ||
		    json_object_set(delta, "tool_calls", array) < 0) {
			json_decref(array);
			return NULL;
		}
		json_decref(array);
		calls = array;
	}
	return json_array_size(calls) > 0 ? calls : NULL;
}

static void read_delta(struct chunk_reader *r, json_t *delta, struct chunk *d)
{
	static const char *const fields[] = {"reasoning", "reasoning_content", "thinking"};
	const json_t *content = json_object_get(delta, "content");

	d->content = string_text(content);
	if (json_is_array(content))
		read_parts(r, content, d);
	if (d->content.len == 0)
		d->content = string_text(json_object_get(delta, "refusal"));
	for (size_t i = 0; i < sizeof fields / sizeof fields[0] && d->reasoning.len == 0; i++)
		d->reasoning = string_text(json_object_get(delta, fields[i]));
	d->tool_calls = read_tool_calls(delta);
}

static void read_choice(struct chunk_reader *r, const json_t *choice, struct chunk *d)
{
	json_t *delta = json_object_get(choice, "delta");
	const json_t *finish = json_object_get(choice, "finish_reason");

	if (!json_is_object(delta))
		delta = json_object_get(choice, "message");
	if (json_is_object(delta))
		read_delta(r, delta, d);
	if (d->content.len == 0)
		d->content = string_text(json_object_get(choice, "text"));
	if (json_is_string(finish))
		d->finish = chunk_finish_parse(json_string_value(finish), json_string_length(finish));
}

static void read_count(const json_t *usage, const char *key, int64_t *out, struct chunk *d)
{
	const json_t *count = json_object_get(usage, key);

	if (!json_is_integer(count) || json_integer_value(count) < 0)
		return;
	*out = json_integer_value(count);
	d->has_usage = true;
}

/* A lone surrogate or bytes that are no UTF-8 cost one character, not the event: what
 * jansson refuses is replaced by U+FFFD. False where there was nothing to replace. */
static bool repair(struct buf *out, const char *data, size_t len)
{
	static const char replacement[] = "\xef\xbf\xbd";
	const unsigned char *p = (const unsigned char *)data, *end = p + len;
	bool repaired = false;
	size_t step;

	buf_reset(out);
	for (; p < end; p += step) {
		step = utf8_sequence(p, end);
		if (step == 0) {
			repaired = true;
			step = 1;
			if (buf_add(out, replacement, 3) < 0)
				return false;
			continue;
		}
		if (*p == '\\') {
			bool bad = utf8_lone_surrogate(p, end, &step);

			repaired |= bad;
			if (buf_add(out, bad ? replacement : (const char *)p, bad ? 3 : step) < 0)
				return false;
			continue;
		}
		if (buf_add(out, p, step) < 0)
			return false;
	}
	return repaired;
}

/* An integer beyond 64 bits, which is none that counts, becomes a real. */
static json_t *read_json(const char *data, size_t len)
{
	json_error_t error;
	json_t *root = json_loadb(data, len, JSON_ALLOW_NUL, &error);

	if (root == NULL && json_error_code(&error) == json_error_numeric_overflow)
		root = json_loadb(data, len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
	return root;
}

static json_t *load(struct chunk_reader *r, const char *data, size_t len)
{
	json_t *root = read_json(data, len);

	if (root == NULL && repair(&r->scratch, data, len))
		root = read_json(r->scratch.data, r->scratch.len);
	buf_reset(&r->scratch);
	return root;
}

static bool is_done(const char *data, size_t len)
{
	while (len > 0 && data[len - 1] == ' ')
		len--;
	return len == 6 && memcmp(data, "[DONE]", 6) == 0;
}

void chunk_parse(struct chunk_reader *r, const char *data, size_t len, struct chunk *d)
{
	const json_t *usage;

	json_decref(r->json);
	r->json = NULL;
	chunk_clear(d);
	if (is_done(data, len)) {
		d->kind = CHUNK_DONE;
		return;
	}
	if (len == 0)
		return;
	r->json = load(r, data, len);
	if (!json_is_object(r->json)) {
		d->kind = CHUNK_INVALID;
		return;
	}
	if (is_error(r->json)) {
		read_error(r->json, d);
		return;
	}
	read_choice(r, json_array_get(json_object_get(r->json, "choices"), 0), d);
	usage = json_object_get(r->json, "usage");
	read_count(usage, "prompt_tokens", &d->prompt_tokens, d);
	read_count(usage, "completion_tokens", &d->completion_tokens, d);
}
