/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/chat/completions: the answer as chunks of a stream, or as one object.
 *
 * What ends a stream is what a client believes in: one that is whole has a finish_reason and then [DONE]. One
 * that breaks off has neither, but an error, at which every client stops. Nothing is sent until there is something
 * to tell, so that a failure before that has its own status.
 *
 * Clients add up the strings of chunks, so each member comes once: the role in the first chunk, a call in one
 * chunk as a whole. What one read of the LLM's stream brought is one chunk. */
#include "core/protocol/openai.h"

#include "core/base/buf.h"
#include "core/base/json_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ANSWER_MAX (16u << 20)
#define FRAME_MAX  (2 * ANSWER_MAX)
#define PREFIX_MAX 8192

/* The states of output_set_state, for answers whose program dies: each is set after what brings it about. */
enum phase {
	PHASE_NOTHING,  /* but comments */
	PHASE_STREAM,   /* the role was told, and perhaps more */
	PHASE_CALLS,    /* the same, and calls: another program would make others */
	PHASE_COMPLETE, /* the end was told */
	PHASE_OBJECT,   /* it is no stream */
};
#define PHASE_MASK 7
#define USED_TOOLS 8 /* their results are lost with the program */

/* What waits for the end of the read. */
enum waiting { WAITING_TEXT, WAITING_REASONING };
static const char *const members[] = {[WAITING_TEXT] = "content", [WAITING_REASONING] = "reasoning_content"};

struct chat_reply {
	struct reply reply;
	bool streams, wants_usage, calls_functions;
	bool begun;      /* the response's head was made */
	bool role_given; /* the first chunk was sent */
	bool failed;     /* nothing more is sent */
	bool lost;       /* a part of the answer had no room */
	enum phase phase;
	bool used_tools;
	const char *finish; /* NULL: as the answer ends by itself */
	int64_t created;
	char id[40];
	char *model;
	struct buf prefix;  /* of each chunk, up to its delta */
	struct buf piece;   /* of each chunk with what waits, up to its text; empty: not made */
	struct buf frame;   /* the chunk that is made */
	struct buf waiting; /* of the kind: */
	enum waiting kind;
	bool line_begun; /* the reasoning's last byte does not end a line */
	/* Not streamed: */
	struct buf text, reasoning;
	json_t *calls;
	json_t *annotations; /* of sources, also of a stream */
};

static struct chat_reply *chat_of(struct reply *r)
{
	return (struct chat_reply *)r;
}

/* ---- its life ---- */

#define ID_PREFIX "chatcmpl-"

/* Once id and created are known. -1: no memory. */
static int make_prefix(struct chat_reply *c)
{
	buf_reset(&c->prefix);
	buf_reset(&c->piece);
	return buf_addf(&c->prefix,
	                "data: {\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":%" PRId64
	                ",\"model\":\"",
	                c->id, c->created) |
	       json_text_add(&c->prefix, c->model, strlen(c->model)) | buf_adds(&c->prefix, "\",\"choices\":[");
}

static void chat_free(struct reply *r)
{
	struct chat_reply *c = chat_of(r);

	if (c == NULL)
		return;
	buf_free(&c->prefix);
	buf_free(&c->piece);
	buf_free(&c->frame);
	buf_free(&c->waiting);
	buf_free(&c->text);
	buf_free(&c->reasoning);
	json_decref(c->calls);
	json_decref(c->annotations);
	free(c->model);
	free(c);
}

static struct reply *chat_open(const struct protocol *p, struct output *o, const struct chat_request *request)
{
	struct chat_reply *c = calloc(1, sizeof *c);
	char memo[OUTPUT_MEMO_MAX], key[OPENAI_KEY + 1];

	if (c == NULL)
		return NULL;
	c->reply = (struct reply){.protocol = p, .output = o};
	buf_init(&c->prefix, PREFIX_MAX);
	buf_init(&c->piece, PREFIX_MAX + 64);
	buf_init(&c->frame, FRAME_MAX);
	buf_init(&c->waiting, ANSWER_MAX);
	buf_init(&c->text, ANSWER_MAX);
	buf_init(&c->reasoning, ANSWER_MAX);
	if (request == NULL) /* only a failure will be told */
		return &c->reply;
	c->streams = request->streams;
	c->wants_usage = request->wants_usage;
	c->calls_functions = request->calls_functions;
	c->created = (int64_t)time(NULL);
	openai_new_key(key);
	snprintf(c->id, sizeof c->id, ID_PREFIX "%s", key);
	c->model = strdup(request->model_asked);
	if (c->model == NULL || make_prefix(c) < 0) {
		chat_free(&c->reply);
		return NULL;
	}
	snprintf(memo, sizeof memo, "%" PRIx64 " %s", (uint64_t)c->created, key);
	output_remember(o, memo);
	if (!c->streams) {
		c->phase = PHASE_OBJECT;
		output_set_state(o, PHASE_OBJECT, false);
	}
	return &c->reply;
}

static void set_phase(struct chat_reply *c, enum phase phase)
{
	if (c->phase == phase)
		return;
	c->phase = phase;
	output_set_state(c->reply.output, (unsigned char)(phase | (c->used_tools ? USED_TOOLS : 0)), false);
}

/* ---- chunks ---- */

static void begin(struct chat_reply *c)
{
	if (c->begun)
		return;
	c->begun = true;
	output_head(c->reply.output, 200, "text/event-stream; charset=utf-8", "");
}

/* Begins another chunk, of the choice, or of none. */
static int frame_begin(struct chat_reply *c, const char *rest)
{
	return buf_add(&c->frame, c->prefix.data, c->prefix.len) | buf_adds(&c->frame, rest);
}

/* Sends what the frame holds; failed: as of its making. */
static void frame_send(struct chat_reply *c, int failed, const char *text, size_t len)
{
	c->lost |= failed != 0;
	if (!c->lost)
		output_write_frame(c->reply.output, c->frame.data, c->frame.len, text, len);
	buf_reset(&c->frame);
	if (c->phase == PHASE_NOTHING)
		set_phase(c, PHASE_STREAM);
}

#define CHOICE     "{\"index\":0,\"delta\":{"
#define CHOICE_END "},\"logprobs\":null,\"finish_reason\":null}]}\n\n"
#define FIRST      CHOICE "\"role\":\"assistant\",\"content\":\"\"" CHOICE_END

/* To the frame: what begins any stream. */
static int begin_chunks(struct chat_reply *c)
{
	begin(c);
	if (c->role_given)
		return 0;
	c->role_given = true;
	return frame_begin(c, FIRST);
}

static void chat_flush(struct reply *r)
{
	struct chat_reply *c = chat_of(r);
	int failed;

	if (c->waiting.len == 0)
		return;
	failed = begin_chunks(c);
	if (c->piece.len == 0)
		failed |= buf_add(&c->piece, c->prefix.data, c->prefix.len) |
		          buf_addf(&c->piece, CHOICE "\"%s\":\"", members[c->kind]);
	failed |= json_text_add_between(&c->frame, &c->piece, c->waiting.data, c->waiting.len, "\"" CHOICE_END);
	frame_send(c, failed, c->waiting.data, c->kind == WAITING_TEXT ? c->waiting.len : 0);
	buf_reset(&c->waiting);
}

/* A chunk with a member of the delta that is an array of objects; steals it. */
static void send_array(struct chat_reply *c, const char *member, json_t *array)
{
	char *text = array != NULL ? json_dumps(array, JSON_COMPACT) : NULL;
	int failed = text == NULL;

	chat_flush(&c->reply);
	if (!failed)
		failed = begin_chunks(c) | frame_begin(c, CHOICE "\"") | buf_adds(&c->frame, member) |
		         buf_adds(&c->frame, "\":") | buf_adds(&c->frame, text) | buf_adds(&c->frame, CHOICE_END);
	frame_send(c, failed, "", 0);
	free(text);
	json_decref(array);
}

static void add(struct chat_reply *c, enum waiting kind, const char *bytes, size_t len)
{
	if (c->failed)
		return;
	if (!c->streams) {
		c->lost |= buf_add(kind == WAITING_TEXT ? &c->text : &c->reasoning, bytes, len) < 0;
		return;
	}
	if (c->kind != kind) {
		chat_flush(&c->reply);
		buf_reset(&c->piece);
		c->kind = kind;
	}
	c->lost |= buf_add(&c->waiting, bytes, len) < 0;
}

static void chat_text(struct reply *r, const char *bytes, size_t len)
{
	add(chat_of(r), WAITING_TEXT, bytes, len);
}

static void chat_reasoning(struct reply *r, const char *bytes, size_t len)
{
	chat_of(r)->line_begun = bytes[len - 1] != '\n';
	add(chat_of(r), WAITING_REASONING, bytes, len);
}

static void chat_restart(struct reply *r)
{
	protocol_restart(r, chat_of(r)->line_begun);
}

/* ---- tools ---- */

static void chat_tool(struct reply *r, const char *progress, const char *subject)
{
	struct chat_reply *c = chat_of(r);

	if (!c->used_tools) {
		c->used_tools = true;
		output_set_state(r->output, (unsigned char)(c->phase | USED_TOOLS), false);
	}
	protocol_tool(r, c->line_begun, progress, subject);
}

static bool chat_source(struct reply *r, const char *title, const char *url)
{
	struct chat_reply *c = chat_of(r);

	if (!protocol_source(&title, url))
		return false;
	if (c->annotations == NULL)
		c->annotations = json_array();
	return json_array_append_new(c->annotations,
	                             json_pack("{s:s, s:{s:s, s:s, s:i, s:i}}", "type", "url_citation", "url_citation",
	                                       "url", url, "title", title, "start_index", 0, "end_index", 0)) == 0;
}

static void chat_tool_done(struct reply *r)
{
	(void)r;
}

/* As a model's server sends it, without what only a stream has. */
static json_t *call_json(const struct call *call)
{
	json_t *json = json_pack("{s:s, s:s, s:{s:s, s:s%}}", "id", call->id, "type", "function", "function", "name",
	                         call->name, "arguments", call->arguments, call->len);

	openai_add_extra(json, call);
	return json;
}

static json_t *function_json(const struct call *call)
{
	return json_pack("{s:s, s:s%}", "name", call->name, "arguments", call->arguments, call->len);
}

static void send_function(struct chat_reply *c, json_t *function)
{
	char *text = function != NULL ? json_dumps(function, JSON_COMPACT) : NULL;
	int failed = text == NULL;

	chat_flush(&c->reply);
	if (!failed)
		failed = begin_chunks(c) | frame_begin(c, CHOICE "\"function_call\":") | buf_adds(&c->frame, text) |
		         buf_adds(&c->frame, CHOICE_END);
	frame_send(c, failed, "", 0);
	free(text);
	json_decref(function);
}

static void chat_calls(struct reply *r, const struct call *const *calls, size_t count)
{
	struct chat_reply *c = chat_of(r);
	json_t *list;

	c->finish = c->calls_functions ? "function_call" : "tool_calls";
	if (c->calls_functions) {
		if (c->streams)
			send_function(c, function_json(calls[0]));
		else
			c->calls = function_json(calls[0]);
		c->lost |= !c->streams && c->calls == NULL;
	}
	list = c->calls_functions ? NULL : json_array();
	for (size_t i = 0; list != NULL && i < count; i++) {
		json_t *json = call_json(calls[i]);

		if (c->streams && json != NULL)
			json_object_set_new(json, "index", json_integer((json_int_t)i));
		c->lost |= json_array_append_new(list, json) < 0;
	}
	if (c->streams && !c->calls_functions)
		send_array(c, "tool_calls", list);
	else if (!c->calls_functions)
		c->calls = list;
	if (c->streams)
		set_phase(c, PHASE_CALLS);
}

/* ---- the ends ---- */

/* Comments keep the connection open, and are no events. An object cannot begin before its status is known. */
static void chat_heartbeat(struct reply *r)
{
	static const char comment[] = ": the answer is still coming\n\n";
	struct chat_reply *c = chat_of(r);

	if (!c->streams || c->failed)
		return;
	begin(c);
	output_write_frame(r->output, comment, sizeof comment - 1, "", 0);
}

static void chat_fail(struct reply *r, enum failure why, const char *sentence)
{
	struct chat_reply *c = chat_of(r);
	const struct openai_failure *f = openai_failure(why);
	char event[OPENAI_EVENT_MAX], retry[OPENAI_RETRY_MAX];
	size_t len;

	if (c->failed)
		return;
	if (why == FAILURE_FILTERED && c->model != NULL) { /* the API has a word for that end */
		c->finish = "content_filter";
		return;
	}
	c->failed = true;
	if (!c->begun && (c->waiting.len == 0 || c->lost)) {
		c->begun = true;
		openai_send_object(r->output, f->status, openai_retry_header(r, f->headers, retry),
		                   openai_error_of(why, sentence));
		return;
	}
	chat_flush(r);
	len = openai_error_event(event, sizeof event, why, sentence);
	output_write_frame(r->output, event, len, "", 0);
	set_phase(c, PHASE_COMPLETE);
}

#define NO_LLM "No language model is available yet. Please try again in a moment."

static void chat_waiting(struct reply *r, const struct config *c)
{
	(void)c;
	chat_fail(r, FAILURE_UNAVAILABLE, NO_LLM);
}

static void chat_close(struct reply *r)
{
	chat_flush(r);
}

static const char *finish_of(const struct chat_reply *c, const struct usage *u)
{
	return u->limited ? "length" : c->finish != NULL ? c->finish : "stop";
}

/* NULL: the LLM's server did not count. */
static json_t *usage_json(const struct usage *u)
{
	json_t *json;

	if (u->prompt_tokens < 0)
		return NULL;
	json = json_pack("{s:I, s:I, s:I}", "prompt_tokens", (json_int_t)u->prompt_tokens, "completion_tokens",
	                 (json_int_t)u->tokens, "total_tokens", (json_int_t)(u->prompt_tokens + u->tokens));
	if (u->cached_tokens >= 0)
		json_object_set_new(json, "prompt_tokens_details",
		                    json_pack("{s:I}", "cached_tokens", (json_int_t)u->cached_tokens));
	if (u->reasoning_tokens >= 0)
		json_object_set_new(json, "completion_tokens_details",
		                    json_pack("{s:I}", "reasoning_tokens", (json_int_t)u->reasoning_tokens));
	return json;
}

static void end_stream(struct chat_reply *c, const struct usage *u)
{
	json_t *usage = c->wants_usage ? usage_json(u) : NULL;
	char *text = usage != NULL ? json_dumps(usage, JSON_COMPACT) : NULL;
	int failed;

	if (c->annotations != NULL)
		send_array(c, "annotations", json_incref(c->annotations));
	failed = begin_chunks(c) | frame_begin(c, CHOICE "},\"logprobs\":null,\"finish_reason\":\"") |
	         buf_adds(&c->frame, finish_of(c, u)) | buf_adds(&c->frame, "\"}]}\n\n");
	if (text != NULL)
		failed |= frame_begin(c, "],\"usage\":") | buf_adds(&c->frame, text) | buf_adds(&c->frame, "}\n\n");
	failed |= buf_adds(&c->frame, "data: [DONE]\n\n");
	frame_send(c, failed, "", 0);
	set_phase(c, PHASE_COMPLETE);
	free(text);
	json_decref(usage);
}

static void end_object(struct chat_reply *c, const struct usage *u)
{
	json_t *text = c->text.len > 0    ? json_stringn(c->text.data, c->text.len)
	               : c->calls != NULL ? json_null()
	                                  : json_string("");
	json_t *message = json_pack("{s:s, s:o, s:n}", "role", "assistant", "content", text, "refusal");
	json_t *usage = usage_json(u), *json;

	if (c->reasoning.len > 0)
		json_object_set_new(message, "reasoning_content", json_stringn(c->reasoning.data, c->reasoning.len));
	if (c->annotations != NULL)
		json_object_set(message, "annotations", c->annotations);
	if (c->calls != NULL)
		json_object_set(message, c->calls_functions ? "function_call" : "tool_calls", c->calls);
	json = json_pack("{s:s, s:s, s:I, s:s, s:[{s:i, s:o, s:n, s:s}], s:o*}", "id", c->id, "object",
	                 "chat.completion", "created", (json_int_t)c->created, "model", c->model, "choices", "index", 0,
	                 "message", message, "logprobs", "finish_reason", finish_of(c, u), "usage", usage);
	c->begun = true;
	openai_send_object(c->reply.output, 200, "", json);
}

#define LOST "The answer is too long for the memory of this service."

static void chat_end(struct reply *r, const struct usage *u)
{
	struct chat_reply *c = chat_of(r);

	if (c->failed)
		return;
	if (c->streams && !c->lost) {
		chat_flush(r);
		end_stream(c, u);
	} else if (!c->lost) {
		end_object(c, u);
	}
	if (c->lost)
		chat_fail(r, FAILURE_UNAVAILABLE, LOST);
}

/* ---- the program has died ---- */

static bool chat_can_resume(unsigned char state)
{
	return state == PHASE_NOTHING || state == PHASE_STREAM;
}

static void chat_resume(struct reply *r, const struct resumed_reply *from)
{
	struct chat_reply *c = chat_of(r);
	unsigned long long created;
	char id[OPENAI_KEY + 1];

	if (sscanf(from->memo, "%llx %24s", &created, id) == 2) {
		c->created = (int64_t)created;
		snprintf(c->id, sizeof c->id, ID_PREFIX "%s", id);
		c->lost |= make_prefix(c) < 0;
		output_remember(r->output, from->memo);
	}
	c->begun = true;
	c->phase = from->state & PHASE_MASK;
	c->role_given = c->phase != PHASE_NOTHING;
	output_set_state(r->output, from->state, false);
}

static size_t chat_broken(struct broken_reply *b, char *out, size_t size, bool *last)
{
	enum phase phase = b->state & PHASE_MASK;

	b->state = PHASE_COMPLETE;
	*last = true;
	if (phase == PHASE_OBJECT || phase == PHASE_COMPLETE)
		return 0;
	if (sizeof OPENAI_DIED > size)
		return 0;
	memcpy(out, OPENAI_DIED, sizeof OPENAI_DIED - 1);
	return sizeof OPENAI_DIED - 1;
}

const struct protocol protocol_openai_chat = {
	.name = "openai_chat",
	.tells_ends = true,
	.parse = openai_chat_parse,
	.open = chat_open,
	.free = chat_free,
	.text = chat_text,
	.reasoning = chat_reasoning,
	.restart = chat_restart,
	.paragraph = protocol_paragraph,
	.tool = chat_tool,
	.source = chat_source,
	.tool_done = chat_tool_done,
	.keep_alive = chat_heartbeat,
	.sentence = protocol_sentence,
	.calls = chat_calls,
	.flush = chat_flush,
	.heartbeat = chat_heartbeat,
	.fail = chat_fail,
	.waiting = chat_waiting,
	.close = chat_close,
	.end = chat_end,
	.can_resume = chat_can_resume,
	.resume = chat_resume,
	.broken = chat_broken,
};
