/* SPDX-License-Identifier: Apache-2.0 */
/* The full reader, on jansson: everything that the scanner does not know. */
#include "core/stream/chunk.h"

#include "core/base/json_text.h"
#include "core/base/utf8.h"
#include "core/stream/halves.h"
#include "core/stream/sse.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void chunk_reader_init(struct chunk_reader *r)
{
	buf_init(&r->scratch, SSE_LINE_MAX);
	r->json = NULL;
	r->error = NULL;
	r->halves = false;
}

void chunk_reader_free(struct chunk_reader *r)
{
	buf_free(&r->scratch);
	json_decref(r->json);
	r->json = NULL;
	free(r->error);
	r->error = NULL;
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

/* Some servers have "error" in every chunk: null, false, "", {} or {"code":null}. */
static bool is_error(const json_t *error)
{
	void *at = json_object_iter((json_t *)(uintptr_t)error);

	if (json_is_array(error))
		return json_array_size(error) > 0;
	if (!json_is_object(error))
		return truthy(error);
	while (at != NULL && !truthy(json_object_iter_value(at)))
		at = json_object_iter_next((json_t *)(uintptr_t)error, at);
	return at != NULL;
}

/* MiniMax's errors come as chunks. */
static bool is_minimax_error(const json_t *root)
{
	return truthy(json_object_get(json_object_get(root, "base_resp"), "status_code"));
}

void chunk_set_error(struct chunk_reader *r, struct chunk *c, const struct error_report *error)
{
	if (r->error == NULL)
		r->error = malloc(sizeof *r->error);
	c->kind = r->error != NULL ? CHUNK_ERROR : CHUNK_NO_MEMORY;
	if (r->error == NULL)
		return;
	*r->error = *error;
	error_report_complete(r->error);
}

/* False: it is not an error. */
static bool read_error(struct chunk_reader *r, const json_t *root, struct chunk *c)
{
	struct error_report report;
	const json_t *object = json_object_get(root, "object"), *error = json_object_get(root, "error");
	bool sure = is_error(error) || is_minimax_error(root) ||
	            (json_is_string(object) && strcmp(json_string_value(object), "error") == 0);

	if (!sure && (json_object_get(root, "choices") != NULL || json_object_get(root, "usage") != NULL ||
	              json_is_object(json_object_get(root, "message"))))
		return false;
	if (!error_report_of_json(&report, root) && !sure && !json_is_object(error))
		return false;
	chunk_set_error(r, c, &report);
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
	c->reasoning_as = CHUNK_REASONING_PARTS;
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

const char *const chunk_reasoning_names[CHUNK_REASONING_NAMES] = {
	[CHUNK_REASONING] = "reasoning",
	[CHUNK_REASONING_CONTENT] = "reasoning_content",
	[CHUNK_THINKING] = "thinking",
};

static void read_message(struct chunk_reader *r, json_t *message, struct chunk *c)
{
	static const char *const blocks[] = {"reasoning_details", "thinking_blocks"};
	const json_t *content = json_object_get(message, "content");

	c->content = string_text(content);
	c->content_was = json_is_null(content)     ? CHUNK_CONTENT_NULL
	                 : json_is_string(content) ? CHUNK_CONTENT_STRING
	                                           : 0;
	if (json_is_array(content))
		read_parts(r, content, c);
	if (c->content.len == 0)
		c->content = string_text(json_object_get(message, "refusal"));
	for (int i = 0; i < CHUNK_REASONING_NAMES && c->reasoning.len == 0; i++) {
		c->reasoning = string_text(json_object_get(message, chunk_reasoning_names[i]));
		c->reasoning_as = (enum chunk_reasoning)i;
	}
	for (size_t i = 0; i < sizeof blocks / sizeof blocks[0] && c->blocks == NULL; i++) {
		c->blocks_name = blocks[i];
		c->blocks = json_object_get(message, blocks[i]);
		c->blocks = json_array_size(c->blocks) > 0 ? c->blocks : NULL;
	}
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

static int64_t index_of(const json_t *choice)
{
	int64_t index = json_integer_value(json_object_get(choice, "index"));

	return index > 0 ? index : 0;
}

/* We ask for one answer; of several, the first is it. */
static json_t *first_choice(const json_t *choices)
{
	json_t *choice;
	size_t i;

	json_array_foreach(choices, i, choice) if (json_is_object(choice) && index_of(choice) == 0) return choice;
	return json_array_get(choices, 0);
}

static bool has_token(const struct chunk *c)
{
	return c->content.len > 0 || c->reasoning.len > 0 || c->tool_calls != NULL;
}

static void read_choice(struct chunk_reader *r, const json_t *choice, struct chunk *c)
{
	json_t *part = json_object_get(choice, "delta"), *message = json_object_get(choice, "message");
	const json_t *finish = json_object_get(choice, "finish_reason");

	c->choice = index_of(choice);
	if (json_is_object(part))
		read_message(r, part, c);
	if (json_is_object(message) && !has_token(c)) {
		c->message = true;
		read_message(r, message, c);
	}
	if (c->content.len == 0)
		c->content = string_text(json_object_get(choice, "text"));
	read_finish(r, finish, c);
}

/* An answer that is no stream is whole, whether it says so or not. */
static void read_whole(const json_t *root, struct chunk *c)
{
	const char *object = json_string_value(json_object_get(root, "object"));

	if (object != NULL && strcmp(object, "chat.completion") == 0 && c->message && c->finish == FINISH_NONE)
		c->finish = FINISH_STOP;
}

/* Leaves it where there is none. */
static void read_count(const json_t *object, const char *name, int64_t *count)
{
	const json_t *value = json_object_get(object, name);

	if (json_is_integer(value) && json_integer_value(value) >= 0)
		*count = json_integer_value(value);
}

/* Ollama's own form: {"message":{...},"done":true,"done_reason":"stop","prompt_eval_count":5,"eval_count":7}. */
static void read_ollama(struct chunk_reader *r, const json_t *root, struct chunk *c)
{
	json_t *message = json_object_get(root, "message");
	const json_t *reason = json_object_get(root, "done_reason");

	if (!json_is_object(message) || json_object_get(root, "choices") != NULL)
		return;
	read_message(r, message, c);
	if (!json_is_true(json_object_get(root, "done")))
		return;
	c->finish = FINISH_STOP;
	if (json_string_length(reason) > 0)
		chunk_set_finish(c, json_string_value(reason), json_string_length(reason));
	read_count(root, "eval_count", &c->completion_tokens);
	read_count(root, "prompt_eval_count", &c->prompt_tokens);
}

static void read_usage(const json_t *usage, struct chunk *c)
{
	read_count(usage, "completion_tokens", &c->completion_tokens);
	read_count(usage, "prompt_tokens", &c->prompt_tokens);
	read_count(json_object_get(usage, "prompt_tokens_details"), "cached_tokens", &c->cached_tokens);
	read_count(json_object_get(usage, "completion_tokens_details"), "reasoning_tokens", &c->reasoning_tokens);
}

/* Whether the bytes at p, of no character, are the last ones of a string. */
static bool ends_string(const unsigned char *p, const unsigned char *end)
{
	const unsigned char *from = p;

	while (p < end && *p >= 0x80 && p - from < 3)
		p++;
	return p < end && *p == '"';
}

/* What jansson refuses, half a surrogate pair or bytes that are not UTF-8, costs one character, not
 * the event: it is replaced by U+FFFD, or at the edge of a string by a mark, as its other half may
 * be at the edge of another delta. False where there was nothing to replace. */
static bool repair(struct chunk_reader *r, const char *data, size_t len)
{
	const unsigned char *p = (const unsigned char *)data, *end = p + len;
	struct buf *out = &r->scratch;
	bool begins = false; /* a string, with p */
	bool repaired = false;
	size_t step;

	buf_reset(out);
	r->halves = false;
	for (; p < end; p += step) {
		char mark[4] = "\xef\xbf\xbd";
		bool bad, marked = false;

		step = utf8_sequence(p, end);
		bad = step == 0;
		if (bad) {
			step = 1;
			marked = (begins && *p < 0xC0) || ends_string(p, end);
			if (marked)
				halves_mark_byte(*p, mark);
		} else if (*p == '\\') {
			bad = json_text_lone_surrogate(p, end, &step);
			if (bad) {
				uint32_t half = (uint32_t)json_text_hex4(p + 2);

				marked = half < 0xDC00 ? p + step < end && p[step] == '"' : begins;
				if (marked)
					halves_mark_surrogate(half, mark);
			}
		}
		if (buf_add(out, bad ? mark : (const char *)p, !bad ? step : marked ? 4 : 3) < 0)
			return false;
		repaired |= bad;
		r->halves |= marked;
		begins = *p == '"' || (begins && marked && step == 1);
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

	r->halves = false;
	if (root == NULL && repair(r, data, len))
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
	json_t *root;

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
	c->halves = r->halves;
	if (!json_is_object(root)) {
		c->kind = errno == ENOMEM ? CHUNK_NO_MEMORY : CHUNK_INVALID;
		return;
	}
	if (read_error(r, root, c))
		return;
	read_choice(r, first_choice(json_object_get(root, "choices")), c);
	read_usage(json_object_get(root, "usage"), c);
	read_whole(root, c);
	read_ollama(r, root, c);
}

void chunk_read(struct chunk_reader *r, const char *data, size_t len, struct chunk *c)
{
	if (!chunk_scan(r, data, len, c))
		chunk_parse(r, data, len, c);
}
