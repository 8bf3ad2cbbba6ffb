/* SPDX-License-Identifier: Apache-2.0 */
/* The full reader, on jansson: everything that the scanner does not know. */
#include "core/stream/chunk.h"

#include "core/base/json_text.h"
#include "core/base/utf8.h"
#include "core/stream/sse.h"

#include <errno.h>
#include <string.h>

void chunk_reader_init(struct chunk_reader *r)
{
	buf_init(&r->scratch, SSE_LINE_MAX);
	r->json = NULL;
	memset(&r->error, 0, sizeof r->error);
}

void chunk_reader_free(struct chunk_reader *r)
{
	buf_free(&r->scratch);
	json_decref(r->json);
	r->json = NULL;
}

void chunk_set_finish(struct chunk *c, const char *word, size_t len)
{
	c->finish = finish_parse(word, len);
	if (c->finish == FINISH_BROKEN)
		c->finish_word = (struct chunk_text){.bytes = word, .len = len};
}

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

static bool truthy(const json_t *value)
{
	if (json_is_string(value))
		return json_string_length(value) > 0;
	if (json_is_integer(value))
		return json_integer_value(value) != 0;
	return json_is_object(value) || json_is_array(value) || json_is_true(value) || json_is_real(value);
}

/* MiniMax's errors come as chunks. */
static bool is_minimax_error(const json_t *root)
{
	return truthy(json_object_get(json_object_get(root, "base_resp"), "status_code"));
}

/* False: it is not an error. */
static bool read_error(struct chunk_reader *r, const json_t *root, struct chunk *c)
{
	const json_t *object = json_object_get(root, "object");
	bool sure = truthy(json_object_get(root, "error")) || is_minimax_error(root) ||
	            (json_is_string(object) && strcmp(json_string_value(object), "error") == 0);

	if (!sure && (json_object_get(root, "choices") != NULL || json_object_get(root, "usage") != NULL))
		return false;
	if (!error_report_of_json(&r->error, root) && !sure)
		return false;
	c->kind = CHUNK_ERROR;
	if (r->error.text[0] == '\0')
		strcpy(r->error.text, "the server gave no reason");
	return true;
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

static void read_parts(struct chunk_reader *r, const json_t *parts, struct chunk *c)
{
	size_t content;

	if (join_parts(&r->scratch, parts, false, 0) < 0)
		return;
	content = r->scratch.len;
	if (join_parts(&r->scratch, parts, true, 0) < 0)
		return;
	if (content > 0)
		c->content = (struct chunk_text){.bytes = r->scratch.data, .len = content};
	if (r->scratch.len > content)
		c->reasoning = (struct chunk_text){.bytes = r->scratch.data + content, .len = r->scratch.len - content};
}

/* tool_calls as an array; older servers sent the one call as an object, or as function_call. */
static json_t *read_tool_calls(json_t *message)
{
	json_t *calls = json_object_get(message, "tool_calls"), *function = json_object_get(message, "function_call");

	if (json_array_size(calls) > 0)
		return calls;
	if (json_is_object(calls))
		calls = json_pack("[O]", calls);
	else if (json_is_object(function))
		calls = json_pack("[{s:O}]", "function", function);
	else
		return NULL;
	if (calls == NULL || json_object_set_new(message, "tool_calls", calls) < 0)
		return NULL;
	return calls;
}

static void read_message(struct chunk_reader *r, json_t *message, struct chunk *c)
{
	static const char *const fields[] = {"reasoning", "reasoning_content", "thinking"};
	const json_t *content = json_object_get(message, "content");

	c->content = string_text(content);
	if (json_is_array(content))
		read_parts(r, content, c);
	if (c->content.len == 0)
		c->content = string_text(json_object_get(message, "refusal"));
	for (size_t i = 0; i < sizeof fields / sizeof fields[0] && c->reasoning.len == 0; i++)
		c->reasoning = string_text(json_object_get(message, fields[i]));
	c->tool_calls = read_tool_calls(message);
}

/* A string; SGLang's own form is {"type": "stop"}. Nothing else is known to be whole. */
static void read_finish(struct chunk_reader *r, const json_t *finish, struct chunk *c)
{
	const json_t *type = json_object_get(finish, "type"), *word = json_is_string(type) ? type : finish;
	size_t len;

	if (json_is_string(word)) {
		chunk_set_finish(c, json_string_value(word), json_string_length(word));
	} else if (truthy(word)) {
		len = json_dumpb(word, r->finish, sizeof r->finish, JSON_COMPACT | JSON_ENCODE_ANY);
		c->finish = FINISH_BROKEN;
		c->finish_word = (struct chunk_text){r->finish, len < sizeof r->finish ? len : sizeof r->finish};
	}
}

static void read_choice(struct chunk_reader *r, const json_t *choice, struct chunk *c)
{
	json_t *message = json_object_get(choice, "delta");
	const json_t *finish = json_object_get(choice, "finish_reason");

	if (!json_is_object(message))
		message = json_object_get(choice, "message");
	if (json_is_object(message))
		read_message(r, message, c);
	if (c->content.len == 0)
		c->content = string_text(json_object_get(choice, "text"));
	read_finish(r, finish, c);
}

static void read_usage(const json_t *usage, struct chunk *c)
{
	const json_t *count = json_object_get(usage, "completion_tokens");

	if (json_is_integer(count) && json_integer_value(count) >= 0)
		c->completion_tokens = json_integer_value(count);
}

/* A lone surrogate or bytes that are not UTF-8 lose one character, not the event: what jansson
 * refuses is replaced by U+FFFD. False where there was nothing to replace. */
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
			bool bad = json_text_lone_surrogate(p, end, &step);

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

/* An integer beyond 64 bits, which no field of interest holds, becomes a real. */
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

void chunk_parse(struct chunk_reader *r, const char *data, size_t len, struct chunk *c)
{
	const json_t *root;

	json_decref(r->json);
	r->json = NULL;
	chunk_clear(c);
	if (is_done(data, len)) {
		c->kind = CHUNK_DONE;
		return;
	}
	if (len == 0)
		return;
	errno = 0;
	r->json = load(r, data, len);
	/* Gemini's errors are arrays. */
	root = json_is_array(r->json) ? json_array_get(r->json, 0) : r->json;
	if (!json_is_object(root)) {
		c->kind = errno == ENOMEM ? CHUNK_NO_MEMORY : CHUNK_INVALID;
		return;
	}
	if (read_error(r, root, c))
		return;
	read_choice(r, json_array_get(json_object_get(root, "choices"), 0), c);
	read_usage(json_object_get(root, "usage"), c);
}
