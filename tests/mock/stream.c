/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/mock/stream.h"

#include "core/base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAM_CREATED 1795370000 /* seconds since the epoch: the same in every answer */
#define STREAM_MOST    ((size_t)1 << 30)
#define STREAM_PING_US 20000

struct stream {
	const struct script *s;
	const struct stream_request *request;
	struct plan *body; /* the stream's bytes, a step for each write; not framed yet */
	int64_t tokens;    /* written so far */
	int64_t in_write;  /* of them in the step that is open */
	int64_t in_total;  /* tokens that will be written */
	const char *begun; /* what of request->begun is still passed over */
	bool stopped;      /* a fault ended the stream */
	struct buf all;    /* the text, for an answer that is not a stream */
	struct buf reasoning;
};

static const char *stream_eol(const struct stream *t)
{
	static const char *const eols[] = {"\n", "\r\n", "\r"};

	return eols[t->s->line_end];
}

static void stream_ping(struct stream *t)
{
	plan_adds(t->body, ": ping");
	plan_adds(t->body, stream_eol(t));
	plan_adds(t->body, stream_eol(t));
}

static void stream_pings(struct stream *t)
{
	for (int64_t i = 0; i < t->s->pings; i++) {
		plan_step(t->body, STREAM_PING_US);
		stream_ping(t);
	}
}

static void stream_data(struct stream *t, const char *data)
{
	const char *eol = stream_eol(t);

	if (t->s->comments)
		stream_ping(t);
	plan_adds(t->body, "data: ");
	plan_adds(t->body, data);
	plan_adds(t->body, eol);
	plan_adds(t->body, eol);
}

static void stream_json(struct stream *t, json_t *j)
{
	char *text = json_dumps(j, JSON_COMPACT);

	if (!text)
		exit(1);
	stream_data(t, text);
	free(text);
	json_decref(j);
}

static json_t *stream_usage(const struct stream *t)
{
	json_int_t prompt = t->s->prompt_tokens, done = t->tokens;

	return json_pack("{s:I, s:I, s:I}", "prompt_tokens", prompt, "total_tokens", prompt + done, "completion_tokens",
	                 done);
}

static bool stream_usage_each(const struct stream *t)
{
	return t->s->usage == USAGE_EACH || (t->s->usage == USAGE_ASKED && t->request->usage_each);
}

static json_t *stream_frame(const struct stream *t, json_t *choices)
{
	return json_pack("{s:s, s:s, s:i, s:s, s:o}", "id", "chatcmpl-mock", "object",
	                 t->request->completions ? "text_completion" : "chat.completion.chunk", "created",
	                 STREAM_CREATED, "model", t->s->model ? t->s->model : t->request->model, "choices", choices);
}

/* One event with one choice: chunk (stolen) for a chat, text for a completion. */
static void stream_choice(struct stream *t, json_t *chunk, const char *text, const char *finish)
{
	json_t *choice = json_pack("{s:i}", "index", 0), *event;

	if (t->request->completions) {
		json_object_set_new(choice, "text", json_string(text ? text : ""));
		json_decref(chunk);
	} else {
		json_object_set_new(choice, "delta", chunk);
	}
	json_object_set_new(choice, "logprobs", json_null());
	json_object_set_new(choice, "finish_reason", finish ? json_string(finish) : json_null());
	event = stream_frame(t, json_pack("[o]", choice));
	if (stream_usage_each(t))
		json_object_set_new(event, "usage", stream_usage(t));
	stream_json(t, event);
}

/* Opens a new write where the one before holds enough tokens. */
static void stream_token_write(struct stream *t)
{
	int64_t each = t->s->tokens_per_write > 0 ? t->s->tokens_per_write : 1;

	if (t->tokens == 0)
		plan_step(t->body, t->s->first_delay_us);
	else if (t->in_write >= each)
		plan_step(t->body, t->s->delay_us);
	else
		return;
	t->in_write = 0;
}

static void stream_error_event(struct stream *t)
{
	if (t->s->error_event)
		stream_json(t, json_deep_copy(t->s->error_event));
	else
		stream_data(t,
		            "{\"error\":{\"object\":\"error\",\"message\":\"Engine died\","
		            "\"type\":\"InternalServerError\",\"param\":null,\"code\":500}}");
	if (t->s->done)
		stream_data(t, "[DONE]");
}

/* The faults that come after a number of tokens. */
static void stream_faults(struct stream *t)
{
	const struct script *s = t->s;

	if (s->bad_after == t->tokens)
		stream_data(t, s->bad_event);
	if (s->error_after == t->tokens) {
		stream_error_event(t);
		t->stopped = true;
	} else if (s->cut_after == t->tokens || s->reset_after == t->tokens || s->stall_after == t->tokens) {
		t->body->end = s->cut_after == t->tokens     ? PLAN_CLOSE
		               : s->reset_after == t->tokens ? PLAN_RESET
		                                             : PLAN_STALL;
		t->stopped = true;
		if (t->body->end == PLAN_STALL && t->tokens > 0)
			stream_pings(t);
	}
}

/* What of a token is new where the answer was begun by another. */
static const char *stream_unsaid(struct stream *t, const char *text)
{
	size_t done = t->begun ? strlen(t->begun) : 0, len = strlen(text);

	if (done >= len && strncmp(t->begun, text, len) == 0) {
		t->begun += len;
		return NULL;
	}
	if (done > 0 && done < len && strncmp(t->begun, text, done) == 0)
		text += done;
	t->begun = "";
	return text;
}

static void stream_token(struct stream *t, const char *field, const char *text)
{
	if (strcmp(field, "content") == 0 && t->begun && *t->begun && (text = stream_unsaid(t, text)) == NULL)
		return;
	if (t->stopped || (t->s->length_limit && t->request->max_tokens && t->tokens >= t->request->max_tokens))
		return;
	stream_token_write(t);
	t->tokens++;
	t->in_write++;
	buf_adds(strcmp(field, "content") == 0 ? &t->all : &t->reasoning, text);
	stream_choice(t, json_pack("{s:s}", field, text), text, NULL);
	stream_faults(t);
}

/* A string is one token, an array one for each item. */
static void stream_pieces(struct stream *t, const char *field, const json_t *text)
{
	size_t i;
	json_t *item;

	if (json_is_string(text))
		stream_token(t, field, json_string_value(text));
	json_array_foreach(text, i, item) if (json_is_string(item)) stream_token(t, field, json_string_value(item));
}

/* Word by word. */
static void stream_words(struct stream *t, const char *text)
{
	while (*text && !t->stopped) {
		size_t len = strcspn(text, " \n");
		char word[256];

		len += text[len] != '\0';
		if (len >= sizeof word) {
			len = sizeof word - 1;
			while (((unsigned char)text[len] & 0xC0) == 0x80)
				len--;
		}
		memcpy(word, text, len);
		word[len] = '\0';
		stream_token(t, "content", word);
		text += len;
	}
}

/* "word#" is word0, word1, ... */
static void stream_numbered(struct stream *t)
{
	const char *token = t->s->token, *mark = strchr(token, '#');
	char text[512];

	for (int64_t i = 0; mark && i < t->s->tokens && !t->stopped; i++) {
		snprintf(text, sizeof text, "%.*s%lld%s", (int)(mark - token), token, (long long)i, mark + 1);
		stream_token(t, "content", text);
	}
}

static void stream_call_part(struct stream *t, json_t *part)
{
	if (t->stopped)
		return;
	stream_token_write(t);
	t->tokens++;
	t->in_write++;
	stream_choice(t, json_pack("{s:[o]}", "tool_calls", part), NULL, NULL);
	stream_faults(t);
}

static void stream_calls(struct stream *t)
{
	size_t i;
	json_t *call;

	json_array_foreach(t->s->calls, i, call)
	{
		const char *arguments = json_string_value(json_object_get(call, "arguments"));
		size_t left = arguments ? strlen(arguments) : 0;
		size_t most = t->s->fragment > 0 ? (size_t)t->s->fragment : left;

		stream_call_part(t, json_pack("{s:i, s:O?, s:s, s:{s:O?, s:s}}", "index", (int)i, "id",
		                              json_object_get(call, "id"), "type", "function", "function", "name",
		                              json_object_get(call, "name"), "arguments", ""));
		while (left > 0) {
			size_t n = left < most ? left : most;

			while (n < left && ((unsigned char)arguments[n] & 0xC0) == 0x80)
				n++;
			stream_call_part(t, json_pack("{s:i, s:{s:s%}}", "index", (int)i, "function", "arguments",
			                              arguments, n));
			arguments += n;
			left -= n;
		}
	}
}

static bool stream_has_calls(const struct stream *t)
{
	return json_array_size(t->s->calls) > 0 && (t->request->tools || t->s->force_calls);
}

static void stream_say(struct stream *t)
{
	if (t->s->reasoning && !t->request->completions)
		stream_pieces(t, t->s->reasoning_field, t->s->reasoning);
	if (stream_has_calls(t))
		stream_calls(t);
	else if (t->request->echo)
		stream_words(t, t->request->echo);
	else if (t->s->numbered && t->s->token)
		stream_numbered(t);
	else if (t->s->tokens == 0)
		stream_pieces(t, "content", t->s->text);
	else
		for (int64_t i = 0; i < t->s->tokens && !t->stopped; i++)
			stream_token(t, "content", t->s->token);
}

static const char *stream_finish(const struct stream *t)
{
	if (!t->s->finish || !*t->s->finish)
		return NULL;
	if (stream_has_calls(t))
		return "tool_calls";
	if (t->s->length_limit && t->request->max_tokens && t->tokens >= t->request->max_tokens)
		return "length";
	return t->s->finish;
}

static void stream_head(struct stream *t)
{
	char *pad;
	json_t *event;

	if (t->s->role && !t->request->completions)
		stream_choice(t,
		              t->s->null_content ? json_pack("{s:s, s:n}", "role", "assistant", "content")
		                                 : json_pack("{s:s, s:s}", "role", "assistant", "content", ""),
		              "", NULL);
	if (t->s->huge <= 0)
		return;
	pad = calloc(1, (size_t)t->s->huge + 1);
	if (!pad)
		exit(1);
	memset(pad, 'x', (size_t)t->s->huge);
	event = stream_frame(t, json_array());
	json_object_set_new(event, "pad", json_string(pad));
	stream_json(t, event);
	free(pad);
}

static void stream_tail(struct stream *t)
{
	const char *finish = stream_finish(t);
	bool last = t->s->usage == USAGE_LAST || (t->s->usage == USAGE_ASKED && t->request->usage_last);
	json_t *event;

	if (t->stopped)
		return;
	plan_step(t->body, t->tokens ? t->s->delay_us : t->s->first_delay_us);
	if (finish)
		stream_choice(t, t->s->null_content ? json_pack("{s:n}", "content") : json_object(), "", finish);
	if (last || stream_usage_each(t)) {
		event = stream_frame(t, json_array());
		json_object_set_new(event, "usage", stream_usage(t));
		stream_json(t, event);
	}
	if (t->s->done)
		stream_data(t, "[DONE]");
}

/* The same bytes in other writes: all in one, in pieces, or cut once. */
static struct plan *stream_recut(const struct stream *t)
{
	const struct script *s = t->s;
	struct plan *from = t->body, *to;
	size_t cut = s->coalesce ? from->len : s->pieces > 0 ? (size_t)s->pieces : (size_t)s->split_at;

	if (!s->coalesce && s->pieces <= 0 && s->split_at < 0)
		return plan_ref(from);
	to = plan_new();
	to->end = from->end;
	for (size_t at = 0; at < from->len;) {
		size_t n = cut == 0 || cut > from->len - at ? from->len - at : cut;

		if (at > 0 && s->pieces <= 0)
			n = from->len - at;
		plan_step(to, at == 0 ? s->first_delay_us : s->gap_us);
		plan_add(to, from->bytes + at, n);
		at += n;
	}
	return to;
}

static struct plan *stream_http(const struct stream *t, const struct plan *body)
{
	static const char *const framings[] = {"Transfer-Encoding: chunked\r\n", NULL, "Connection: close\r\n"};
	const struct script *s = t->s;
	struct plan *p = plan_new();
	char line[64];

	p->end = body->end == PLAN_KEEP && s->framing == FRAMING_CLOSE ? PLAN_CLOSE : body->end;
	plan_step(p, s->header_delay_us);
	plan_adds(p, "HTTP/1.1 200 OK\r\nContent-Type: ");
	plan_adds(p, s->content_type ? s->content_type : "text/event-stream; charset=utf-8");
	plan_adds(p, "\r\n");
	snprintf(line, sizeof line, "Content-Length: %zu\r\n", body->len);
	plan_adds(p, framings[s->framing] ? framings[s->framing] : line);
	plan_adds(p, "\r\n");
	for (size_t i = 0; i < body->step_count; i++) {
		const struct plan_step *step = &body->steps[i];

		if (step->len == 0)
			continue;
		if (i > 0 || step->delay_us > 0)
			plan_step(p, step->delay_us);
		snprintf(line, sizeof line, "%zx\r\n", step->len);
		if (s->framing == FRAMING_CHUNKED)
			plan_adds(p, line);
		plan_add(p, body->bytes + step->offset, step->len);
		if (s->framing == FRAMING_CHUNKED)
			plan_adds(p, "\r\n");
	}
	if (s->framing == FRAMING_CHUNKED && p->end == PLAN_KEEP)
		plan_adds(p, "0\r\n\r\n");
	plan_find_stamps(p);
	return p;
}

/* The answer in one JSON object. */
static struct plan *stream_whole(const struct stream *t)
{
	const char *finish = stream_finish(t), *text = t->all.data ? t->all.data : "";
	json_t *choice =
		json_pack("{s:i, s:o}", "index", 0, "finish_reason", finish ? json_string(finish) : json_null());
	json_t *answer;
	struct plan *p;
	char *dump;

	if (t->request->completions)
		json_object_set_new(choice, "text", json_string(text));
	else
		json_object_set_new(choice, "message", json_pack("{s:s, s:s}", "role", "assistant", "content", text));
	if (t->reasoning.len > 0)
		json_object_set_new(json_object_get(choice, "message"), t->s->reasoning_field,
		                    json_string(t->reasoning.data));
	if (stream_has_calls(t)) {
		json_t *calls = json_array(), *call;
		size_t i;

		json_array_foreach(t->s->calls, i, call) json_array_append_new(
			calls, json_pack("{s:O?, s:s, s:{s:O?, s:O?}}", "id", json_object_get(call, "id"), "type",
		                         "function", "function", "name", json_object_get(call, "name"), "arguments",
		                         json_object_get(call, "arguments")));
		json_object_set_new(json_object_get(choice, "message"), "tool_calls", calls);
	}
	answer = stream_frame(t, json_pack("[o]", choice));
	json_object_set_new(answer, "object",
	                    json_string(t->request->completions ? "text_completion" : "chat.completion"));
	json_object_set_new(answer, "usage", stream_usage(t));
	dump = json_dumps(answer, JSON_COMPACT);
	p = plan_response(200, "application/json", NULL, dump ? dump : "", dump ? strlen(dump) : 0,
	                  t->s->header_delay_us + t->s->first_delay_us);
	p->end = t->body->end;
	free(dump);
	json_decref(answer);
	return p;
}

static struct plan *stream_refusal(const struct script *s, const struct stream_request *request)
{
	char text[1024], headers[64] = "";

	if (s->retry_after >= 0)
		snprintf(headers, sizeof headers, "Retry-After: %lld\r\n", (long long)s->retry_after);
	if (s->status == 404)
		snprintf(text, sizeof text,
		         "{\"error\":{\"message\":\"The model `%.500s` does not exist.\",\"type\":\"NotFoundError\","
		         "\"param\":null,\"code\":404}}",
		         request->model);
	else
		snprintf(text, sizeof text,
		         "{\"error\":{\"message\":\"scripted\",\"type\":\"Error\",\"param\":null,\"code\":%lld}}",
		         (long long)s->status);
	return plan_response((int)s->status, "application/json", headers, s->body ? s->body : text,
	                     strlen(s->body ? s->body : text), s->header_delay_us);
}

static struct plan *stream_raw(const struct script *s)
{
	struct plan *p = plan_new();

	plan_step(p, s->header_delay_us);
	plan_adds(p, s->raw);
	p->end = PLAN_CLOSE;
	return p;
}

struct plan *stream_plan(const struct script *s, const struct stream_request *request)
{
	struct stream t = {
		.s = s, .request = request, .all = BUF_INIT(STREAM_MOST), .reasoning = BUF_INIT(STREAM_MOST)};
	struct plan *cut, *p;

	t.begun = s->continues ? request->begun : NULL;
	if (s->raw)
		return stream_raw(s);
	if (s->status != 200)
		return stream_refusal(s, request);
	t.body = plan_new();
	stream_head(&t);
	stream_pings(&t);
	stream_faults(&t);
	if (!t.stopped)
		stream_say(&t);
	stream_tail(&t);
	if (request->stream) {
		cut = stream_recut(&t);
		p = stream_http(&t, cut);
		plan_unref(cut);
	} else {
		p = stream_whole(&t);
	}
	plan_unref(t.body);
	buf_free(&t.all);
	buf_free(&t.reasoning);
	return p;
}
