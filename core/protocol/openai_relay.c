/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/openai_relay.h"

#include "core/base/json_text.h"
#include "core/protocol/json_error.h"
#include "core/protocol/openai.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MODEL_MAX    512u
#define KEY_MAX      64u
#define WHOLE_MAX    (32u << 10) /* of an answer that is read as a whole; of a longer one its ends are */
#define USAGE_WITHIN 4096u       /* of those ends */
#define LAST_EVENTS  4u

/* ---- the members of an object that is JSON --------------------------------------------------- */

struct span {
	const char *at;
	size_t len;
};

static const char *pass_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

/* After the string whose opening quote is at p. */
static const char *pass_string(const char *p, const char *end)
{
	const unsigned char *at = (const unsigned char *)p + 1, *last = (const unsigned char *)end;

	while ((at = json_text_span(at, last)) < last && *at != '"')
		at += *at == '\\' && at + 1 < last ? 2 : 1;
	return at < last ? (const char *)at + 1 : end;
}

static const char *pass_value(const char *p, const char *end)
{
	size_t depth = 0;

	while (p < end) {
		char c = *p;

		if (c == '"') {
			p = pass_string(p, end);
			if (depth == 0)
				return p;
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			return p;
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && --depth == 0)
			return p + 1;
		p++;
	}
	return p;
}

/* The next member of the object at *p, which is after its brace or after the member before. */
static bool next_member(const char **p, const char *end, struct span *key, struct span *value)
{
	const char *at = pass_space(*p, end);

	if (at < end && *at == ',')
		at = pass_space(at + 1, end);
	if (at == end || *at != '"')
		return false;
	key->at = at;
	at = pass_string(at, end);
	key->len = (size_t)(at - key->at);
	at = pass_space(at, end);
	if (at == end || *at != ':')
		return false;
	value->at = pass_space(at + 1, end);
	at = pass_value(value->at, end);
	value->len = (size_t)(at - value->at);
	*p = at;
	while (value->len > 0 && strchr(" \t\r\n", value->at[value->len - 1]) != NULL)
		value->len--;
	return true;
}

static json_t *value_of(const struct span *s)
{
	return json_loadb(s->at, s->len, JSON_DECODE_ANY, NULL);
}

/* The name of a member, without its quotes; "" where it is too long to matter. */
static void read_key(const struct span *key, char out[KEY_MAX])
{
	json_t *text;

	out[0] = '\0';
	if (key->len < 2 || key->len > KEY_MAX)
		return;
	snprintf(out, KEY_MAX, "%.*s", (int)key->len - 2, key->at + 1);
	if (strchr(out, '\\') == NULL)
		return;
	text = value_of(key);
	snprintf(out, KEY_MAX, "%s", text != NULL ? json_string_value(text) : "");
	json_decref(text);
}

/* ---- the request ---------------------------------------------------------------------------- */

void openai_relay_request_clear(struct openai_relay_request *r)
{
	free(r->model);
	memset(r, 0, sizeof *r);
}

static int refuse(json_t **problem, const char *param, const char *text)
{
	*problem = openai_error(text, "invalid_request_error", param, NULL);
	return *problem != NULL ? 400 : -1;
}

static int take_model(struct openai_relay_request *r, const char *body, const struct span *value, json_t **problem)
{
	json_t *model = value->len <= 6 * MODEL_MAX + 2 ? value_of(value) : NULL;
	const char *name = json_string_value(model);
	int result = 0;

	if (name == NULL || *name == '\0' || strlen(name) > MODEL_MAX) {
		result = refuse(problem, "model", "model must be the id of a model (GET /v1/models lists them).");
	} else {
		r->model = strdup(name);
		r->at = (size_t)(value->at - body);
		r->len = value->len;
		result = r->model != NULL ? 0 : -1;
	}
	json_decref(model);
	return result;
}

static void take_number(int64_t *to, const struct span *value)
{
	json_t *number = value->len < 32 ? value_of(value) : NULL;

	if (json_integer_value(number) > 0)
		*to = json_integer_value(number);
	json_decref(number);
}

int openai_relay_read(const char *body, size_t len, struct openai_relay_request *r, json_t **problem)
{
	const char *end = body + len, *p = pass_space(body, end);
	struct span key, value;
	char name[KEY_MAX];
	int result = 0;

	memset(r, 0, sizeof *r);
	r->choices = 1;
	*problem = NULL;
	if (p == end || *p != '{')
		return refuse(problem, NULL, "The body must be a JSON object.");
	for (p++; result == 0 && next_member(&p, end, &key, &value);) {
		read_key(&key, name);
		if (strcasecmp(name, "model") == 0) { /* without regard to case, as servers in Go read it */
			if (r->model != NULL || strcmp(name, "model") != 0)
				result = refuse(problem, "model", "model must be there once, in small letters.");
			else
				result = take_model(r, body, &value, problem);
		} else if (strcmp(name, "stream") == 0) {
			r->streams = value.len == 4 && memcmp(value.at, "true", 4) == 0;
		} else if (strcmp(name, "max_tokens") == 0 || strcmp(name, "max_completion_tokens") == 0) {
			take_number(&r->tokens, &value);
		} else if (strcmp(name, "n") == 0) {
			take_number(&r->choices, &value);
		}
	}
	if (result == 0 && r->model == NULL)
		result = refuse(problem, "model", "model must be the id of a model (GET /v1/models lists them).");
	if (result != 0)
		openai_relay_request_clear(r);
	return result;
}

int openai_relay_parse(const char *body, size_t len, struct openai_relay_request *r, json_t **problem)
{
	struct json_error error;
	char text[300];

	json_error_find(len > 0 ? body : "", len, &error);
	if (error.message == NULL)
		return openai_relay_read(body, len, r, problem);
	memset(r, 0, sizeof *r);
	snprintf(text, sizeof text, "The body is not valid JSON: %s (at %zu).",
	         len > 0 ? error.message : "the body is empty", error.offset);
	return refuse(problem, NULL, text);
}

char *openai_relay_body(const char *body, size_t len, const struct openai_relay_request *r, const char *model,
                        size_t *new_len)
{
	struct buf out = BUF_INIT(SIZE_MAX / 4);

	if (buf_add(&out, body, r->at) < 0 || buf_adds(&out, "\"") < 0 ||
	    json_text_add(&out, model, strlen(model)) < 0 || buf_adds(&out, "\"") < 0 ||
	    buf_add(&out, body + r->at + r->len, len - r->at - r->len) < 0) {
		buf_free(&out);
		return NULL;
	}
	return buf_steal(&out, new_len);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void begin_end(struct openai_relay_end *e)
{
	memset(e, 0, sizeof *e);
	e->prompt_tokens = e->completion_tokens = -1;
}

static void take_count(int64_t *to, const json_t *usage, const char *name)
{
	const json_t *count = json_object_get(usage, name);

	if (json_is_integer(count) && json_integer_value(count) >= 0)
		*to = json_integer_value(count);
}

/* Embeddings have no completion_tokens: nothing was written. */
static void take_usage(struct openai_relay_end *e, const json_t *usage)
{
	if (!json_is_object(usage))
		return;
	take_count(&e->prompt_tokens, usage, "prompt_tokens");
	take_count(&e->completion_tokens, usage, "completion_tokens");
	if (e->prompt_tokens >= 0 && e->completion_tokens < 0)
		e->completion_tokens = 0;
}

static void take_error(struct openai_relay_end *e, const json_t *json)
{
	const json_t *error = json_object_get(json, "error");

	if (error == NULL || json_is_null(error) || json_is_false(error))
		return;
	e->failed = error_report_of_json(&e->error, json);
	if (e->failed)
		error_report_complete(&e->error);
}

/* The object after the last "usage": of a text. Within a string its quotes would be escaped. */
static void find_usage(struct openai_relay_end *e, const char *text, size_t len)
{
	static const char name[] = "\"usage\"";
	const char *end = text + len, *p = text, *found;
	json_t *usage;

	while ((found = memmem(p, (size_t)(end - p), name, sizeof name - 1)) != NULL) {
		p = pass_space(found + sizeof name - 1, end);
		if (p == end || *p != ':')
			continue;
		p = pass_space(p + 1, end);
		usage = p < end && *p == '{' ? json_loadb(p, (size_t)(end - p), JSON_DISABLE_EOF_CHECK, NULL) : NULL;
		take_usage(e, usage);
		json_decref(usage);
	}
}

/* What is at the end of JSON decides whether it was cut: its server may end the connection to end the answer. */
void openai_relay_judge(const char *body, size_t len, struct openai_relay_end *e)
{
	const char *end = body + len;
	struct json_error error;
	json_t *json;

	begin_end(e);
	while (end > body && strchr(" \t\r\n", end[-1]) != NULL)
		end--;
	e->whole = end > body && (end[-1] == '}' || end[-1] == ']');
	if (len > WHOLE_MAX) {
		find_usage(e, body, USAGE_WITHIN);
		find_usage(e, body + len - USAGE_WITHIN, USAGE_WITHIN);
		return;
	}
	json_error_find(body, len, &error);
	e->whole = error.message == NULL;
	json = json_loadb(body, len, JSON_ALLOW_NUL, NULL);
	if (json == NULL) /* it may be what only other parsers accept */
		return;
	take_usage(e, json_object_get(json, "usage"));
	take_error(e, json);
	json_decref(json);
}

size_t openai_relay_events(const char *bytes, size_t len, size_t from)
{
	size_t i, before;

	from = from > 3 ? from - 3 : 0;
	for (i = len; i > from; i--) {
		if (bytes[i - 1] != '\n' && bytes[i - 1] != '\r')
			continue;
		before = i - 1;
		if (bytes[i - 1] == '\n' && before > 0 && bytes[before - 1] == '\r')
			before--;
		if (before > 0 && (bytes[before - 1] == '\n' || bytes[before - 1] == '\r'))
			return i;
	}
	return 0;
}

/* The data of the event that ends at *len, and where the one before it ends; false: it has none. */
static bool last_data(const char *events, size_t *len, struct span *data)
{
	const char *line, *end, *stop;
	size_t begin = *len;
	bool found = false;

	while (begin > 0 && (events[begin - 1] == '\n' || events[begin - 1] == '\r'))
		begin--;
	end = events + begin;
	begin = openai_relay_events(events, begin, 0);
	*len = begin;
	for (line = events + begin; line < end; line = stop + (stop < end)) {
		stop = line;
		while (stop < end && *stop != '\n' && *stop != '\r')
			stop++;
		if ((size_t)(stop - line) >= 5 && memcmp(line, "data:", 5) == 0) {
			data->at = pass_space(line + 5, stop);
			data->len = (size_t)(stop - data->at);
			found = true;
		}
	}
	return found;
}

bool openai_relay_begins_with_error(const char *events, size_t len, bool *known, struct error_report *error)
{
	struct openai_relay_end e;
	struct span data;
	json_t *json;

	begin_end(&e);
	*known = false;
	/* Searched from its end: there are few. */
	while (len > 0) {
		if (!last_data(events, &len, &data))
			continue;
		*known = true;
		e.failed = false;
		json = json_loadb(data.at, data.len, 0, NULL);
		take_error(&e, json);
		json_decref(json);
	}
	if (e.failed)
		*error = e.error;
	return e.failed;
}

void openai_relay_stream_init(struct openai_relay_stream *s)
{
	buf_init(&s->tail, 2 * OPENAI_RELAY_TAIL);
	s->events = 0;
}

void openai_relay_stream_free(struct openai_relay_stream *s)
{
	buf_free(&s->tail);
}

void openai_relay_stream_add(struct openai_relay_stream *s, const char *events, size_t len)
{
	const char *end = events + len, *p = events;

	for (; (p = memmem(p, (size_t)(end - p), "data:", 5)) != NULL; p += 5)
		if (p == events || p[-1] == '\n' || p[-1] == '\r')
			s->events++;
	if (len > OPENAI_RELAY_TAIL) {
		events = end - OPENAI_RELAY_TAIL;
		len = OPENAI_RELAY_TAIL;
	}
	if (s->tail.len + len > 2 * OPENAI_RELAY_TAIL)
		buf_consume(&s->tail, s->tail.len - OPENAI_RELAY_TAIL);
	if (buf_add(&s->tail, events, len) < 0)
		buf_reset(&s->tail);
}

static bool is_finished(const json_t *chunk)
{
	const json_t *choices = json_object_get(chunk, "choices"), *choice;
	size_t i;

	json_array_foreach(choices, i,
	                   choice) if (json_string_length(json_object_get(choice, "finish_reason")) > 0) return true;
	return json_is_array(choices) && json_array_size(choices) == 0 &&
	       json_is_object(json_object_get(chunk, "usage"));
}

void openai_relay_stream_judge(const struct openai_relay_stream *s, struct openai_relay_end *e)
{
	size_t len = s->tail.len;
	struct span data;
	json_t *chunk;

	begin_end(e);
	for (unsigned i = 0; len > 0 && i < LAST_EVENTS; i++) {
		if (!last_data(s->tail.data, &len, &data))
			continue;
		if (data.len >= 6 && memcmp(data.at, "[DONE]", 6) == 0) {
			e->whole = true;
			continue;
		}
		chunk = json_loadb(data.at, data.len, 0, NULL);
		if (e->prompt_tokens < 0)
			take_usage(e, json_object_get(chunk, "usage"));
		if (!e->failed)
			take_error(e, chunk);
		e->whole |= is_finished(chunk);
		json_decref(chunk);
	}
	e->whole &= !e->failed;
}
