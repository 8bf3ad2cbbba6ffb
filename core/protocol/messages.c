/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/messages, Anthropic's API: the answer as events of a stream, or as one object.
 *
 * An answer is a list of blocks: text, reasoning (thinking, for clients that want it), and calls of the client's
 * tools. In a stream each begins and ends with an event. message_stop ends an answer that is whole, and nothing
 * else: one that breaks off ends with an event error. Nothing is sent until there is something to tell, so that a
 * failure before that has its own status. What one read of the LLM's stream brought is one event. */
#include "core/protocol/messages.h"

#include "core/base/buf.h"
#include "core/base/json_text.h"
#include "core/protocol/openai.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX (16u << 20)
#define FRAME_MAX  (2 * ANSWER_MAX)
#define BLOCKS_MAX 15 /* whose number the state has room for */

/* ---- failures ------------------------------------------------------------------------------ */

#define SOON "Retry-After: 2\r\n"
/* Anthropic's own clients try again after each 5xx, unless they are told not to. */
#define NEVER "x-should-retry: false\r\n"

static const struct {
	int status;
	const char *type, *headers;
} failures[FAILURES] = {
	[FAILURE_REQUEST] = {400, "invalid_request_error", ""},
	[FAILURE_OVERFLOW] = {400, "invalid_request_error", ""},
	[FAILURE_TOO_LARGE] = {413, "request_too_large", ""},
	[FAILURE_MODEL] = {404, "not_found_error", ""},
	[FAILURE_PREVIOUS] = {404, "not_found_error", ""},
	[FAILURE_FORBIDDEN] = {403, "permission_error", ""},
	[FAILURE_FILTERED] = {400, "invalid_request_error", ""},
	[FAILURE_BUSY] = {429, "rate_limit_error", SOON},
	[FAILURE_FULL] = {529, "overloaded_error", SOON},
	[FAILURE_UNAVAILABLE] = {529, "overloaded_error", SOON},
	[FAILURE_SETUP] = {500, "api_error", NEVER},
	[FAILURE_UPSTREAM] = {500, "api_error", ""},
	[FAILURE_TIME] = {504, "timeout_error", NEVER},
};

/* Agents know by these words that they must shorten the conversation. */
#define TOO_LONG "prompt is too long: "

static json_t *error_of(enum failure why, const char *sentence)
{
	json_t *text = json_sprintf("%s%s", why == FAILURE_OVERFLOW ? TOO_LONG : "", sentence);
	json_t *error = messages_error(failures[why].type, json_string_value(text));

	json_decref(text);
	return error;
}

json_t *messages_refusal(int status, const char *message)
{
	static const struct {
		int status;
		const char *type;
	} types[] = {{401, "authentication_error"}, {403, "permission_error"}, {404, "not_found_error"},
	             {413, "request_too_large"},    {429, "rate_limit_error"}, {503, "overloaded_error"},
	             {504, "timeout_error"},        {529, "overloaded_error"}};

	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		if (types[i].status == status)
			return messages_error(types[i].type, message);
	return messages_error(status >= 500 ? "api_error" : "invalid_request_error", message);
}

/* ---- a reply --------------------------------------------------------------------------------- */

/* The states of output_set_state, for answers whose program dies: each is set after what brings it about. */
enum phase {
	PHASE_NOTHING,  /* but comments */
	PHASE_MESSAGE,  /* it has begun; no block is open */
	PHASE_TEXT,     /* a block of text is open */
	PHASE_THINKING, /* one of reasoning */
	PHASE_COMPLETE, /* the end was sent */
	PHASE_OBJECT,   /* it is no stream */
};
#define PHASE_MASK  7
#define USED_TOOLS  8 /* their results are lost with the program */
#define INDEX_SHIFT 4 /* above: how many blocks have begun */

/* What waits for the end of the read, and which block is open. */
enum kind { KIND_NONE, KIND_TEXT, KIND_THINKING };
static const struct {
	enum phase phase;
	const char *start;  /* the block in content_block_start */
	const char *begins; /* a piece of it, up to its text */
} kinds[] = {
	[KIND_NONE] = {PHASE_MESSAGE, NULL, NULL},
	[KIND_TEXT] = {PHASE_TEXT, "{\"type\":\"text\",\"text\":\"\"}", "{\"type\":\"text_delta\",\"text\":\""},
	[KIND_THINKING] = {PHASE_THINKING, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}",
                           "{\"type\":\"thinking_delta\",\"thinking\":\""},
};

struct messages_reply {
	struct reply reply;
	bool streams, wants_reasoning;
	bool begun;         /* the response's head was made */
	bool message_begun; /* message_start was sent */
	bool failed;        /* nothing more is sent */
	bool lost;          /* a part of the answer had no room */
	bool refused;       /* by the content filter */
	bool used_tools;
	bool line_begun; /* the reasoning's last byte does not end a line */
	char id[sizeof "msg_" + OPENAI_KEY];
	char *model;
	unsigned char state; /* that was set last */
	enum kind open;      /* the block that is open */
	unsigned blocks;     /* that have begun */
	struct buf prefix;   /* of each event of that block, up to its text */
	struct buf frame;    /* the events that are made */
	struct buf waiting;  /* of the kind: */
	enum kind kind;
	/* Not streamed: */
	struct buf text, reasoning;
	json_t *calls;   /* {"id","name","arguments"} */
	json_t *sources; /* citations */
};

static struct messages_reply *messages_of(struct reply *r)
{
	return (struct messages_reply *)r;
}

static void messages_free(struct reply *r)
{
	struct messages_reply *m = messages_of(r);

	if (m == NULL)
		return;
	buf_free(&m->prefix);
	buf_free(&m->frame);
	buf_free(&m->waiting);
	buf_free(&m->text);
	buf_free(&m->reasoning);
	json_decref(m->calls);
	json_decref(m->sources);
	free(m->model);
	free(m);
}

static struct reply *messages_open(const struct protocol *p, struct output *o, const struct chat_request *request)
{
	struct messages_reply *m = calloc(1, sizeof *m);

	if (m == NULL)
		return NULL;
	m->reply = (struct reply){.protocol = p, .output = o};
	buf_init(&m->prefix, 256);
	buf_init(&m->frame, FRAME_MAX);
	buf_init(&m->waiting, ANSWER_MAX);
	buf_init(&m->text, ANSWER_MAX);
	buf_init(&m->reasoning, ANSWER_MAX);
	if (request == NULL) /* only a failure will follow */
		return &m->reply;
	m->streams = request->streams;
	m->wants_reasoning = request->wants_reasoning;
	memcpy(m->id, "msg_", 4);
	openai_new_key(m->id + 4);
	m->model = strdup(request->model_asked);
	if (m->model == NULL) {
		messages_free(&m->reply);
		return NULL;
	}
	output_remember(o, m->id);
	if (!m->streams)
		output_set_state(o, PHASE_OBJECT, false);
	return &m->reply;
}

static void set_state(struct messages_reply *m, enum phase phase)
{
	unsigned state = (unsigned)phase | (m->used_tools ? USED_TOOLS : 0) | m->blocks << INDEX_SHIFT;

	/* With more blocks than that nobody can go on. */
	if (m->blocks > BLOCKS_MAX)
		state = (unsigned)phase | USED_TOOLS;
	if (m->state == state)
		return;
	m->state = (unsigned char)state;
	output_set_state(m->reply.output, m->state, false);
}

/* ---- events ---- */

static void begin(struct messages_reply *m)
{
	if (m->begun)
		return;
	m->begun = true;
	output_head(m->reply.output, 200, "text/event-stream; charset=utf-8", "");
}

/* To the frame: what begins any stream. */
static int begin_message(struct messages_reply *m)
{
	begin(m);
	if (m->message_begun)
		return 0;
	m->message_begun = true;
	return buf_addf(&m->frame,
	                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"%s\","
	                "\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"",
	                m->id) |
	       json_text_add(&m->frame, m->model, strlen(m->model)) |
	       buf_adds(&m->frame,
	                "\",\"stop_reason\":null,\"stop_sequence\":null,"
	                "\"usage\":{\"input_tokens\":0,\"output_tokens\":0}}}\n\n");
}

static int end_block(struct messages_reply *m)
{
	if (m->open == KIND_NONE)
		return 0;
	m->open = KIND_NONE;
	return buf_addf(&m->frame,
	                "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":%u}\n\n",
	                m->blocks - 1);
}

static int begin_block(struct messages_reply *m, const char *block)
{
	return buf_addf(&m->frame,
	                "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":%u,"
	                "\"content_block\":%s}\n\n",
	                m->blocks++, block);
}

static int add_piece(struct messages_reply *m, const char *piece)
{
	return buf_addf(&m->frame,
	                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":%u,"
	                "\"delta\":%s}\n\n",
	                m->blocks - 1, piece);
}

/* The block of that kind is open after this. */
static int open_block(struct messages_reply *m, enum kind kind)
{
	int failed;

	if (m->open == kind)
		return 0;
	failed = end_block(m) | begin_block(m, kinds[kind].start);
	m->open = kind;
	buf_reset(&m->prefix);
	return failed | buf_addf(&m->prefix,
	                         "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":%u,"
	                         "\"delta\":%s",
	                         m->blocks - 1, kinds[kind].begins);
}

/* Sends what the frame holds; failed: as of its making. */
static void frame_send(struct messages_reply *m, int failed, enum phase phase, const char *text, size_t len)
{
	m->lost |= failed != 0;
	if (!m->lost)
		output_write_frame(m->reply.output, m->frame.data, m->frame.len, text, len);
	buf_reset(&m->frame);
	set_state(m, phase);
}

static void messages_flush(struct reply *r)
{
	struct messages_reply *m = messages_of(r);
	int failed;

	if (m->waiting.len == 0)
		return;
	failed = begin_message(m) | open_block(m, m->kind) |
	         json_text_add_between(&m->frame, &m->prefix, m->waiting.data, m->waiting.len, "\"}}\n\n");
	frame_send(m, failed, kinds[m->kind].phase, m->waiting.data, m->kind == KIND_TEXT ? m->waiting.len : 0);
	buf_reset(&m->waiting);
}

static void add(struct messages_reply *m, enum kind kind, const char *bytes, size_t len)
{
	if (m->failed || (kind == KIND_THINKING && !m->wants_reasoning))
		return;
	if (!m->streams) {
		m->lost |= buf_add(kind == KIND_TEXT ? &m->text : &m->reasoning, bytes, len) < 0;
		return;
	}
	if (m->kind != kind) {
		messages_flush(&m->reply);
		m->kind = kind;
	}
	m->lost |= buf_add(&m->waiting, bytes, len) < 0;
}

static void messages_text(struct reply *r, const char *bytes, size_t len)
{
	add(messages_of(r), KIND_TEXT, bytes, len);
}

static void messages_reasoning(struct reply *r, const char *bytes, size_t len)
{
	messages_of(r)->line_begun = bytes[len - 1] != '\n';
	add(messages_of(r), KIND_THINKING, bytes, len);
}

static void messages_restart(struct reply *r)
{
	protocol_restart(r, messages_of(r)->line_begun);
}

/* ---- tools ---- */

static void messages_tool(struct reply *r, const char *progress, const char *subject)
{
	struct messages_reply *m = messages_of(r);

	m->used_tools = true;
	if (m->streams)
		set_state(m, m->state & PHASE_MASK);
	protocol_tool(r, m->line_begun, progress, subject);
}

static bool messages_source(struct reply *r, const char *title, const char *url)
{
	struct messages_reply *m = messages_of(r);

	if (!protocol_source(&title, url))
		return false;
	if (m->sources == NULL)
		m->sources = json_array();
	return json_array_append_new(m->sources,
	                             json_pack("{s:s, s:s, s:s, s:s, s:s}", "type", "web_search_result_location", "url",
	                                       url, "title", title, "encrypted_index", "", "cited_text", "")) == 0;
}

static void messages_tool_done(struct reply *r)
{
	(void)r;
}

static void messages_calls(struct reply *r, const struct call *const *calls, size_t count)
{
	struct messages_reply *m = messages_of(r);

	m->calls = json_array();
	for (size_t i = 0; i < count; i++)
		m->lost |= json_array_append_new(m->calls, json_pack("{s:s, s:s, s:s%}", "id", calls[i]->id, "name",
		                                                     calls[i]->name, "arguments", calls[i]->arguments,
		                                                     calls[i]->len)) < 0;
}

/* The object that the arguments of a call are; NULL: they are none. */
static json_t *input_of(const json_t *call)
{
	const json_t *arguments = json_object_get(call, "arguments");
	json_t *input =
		json_string_length(arguments) == 0
			? json_object()
			: json_loadb(json_string_value(arguments), json_string_length(arguments), JSON_ALLOW_NUL, NULL);

	if (json_is_object(input))
		return input;
	json_decref(input);
	return NULL;
}

/* ---- the ends ---- */

/* Proxies must see that the answer is still coming. An object cannot begin before its status is known. */
static void messages_heartbeat(struct reply *r)
{
	static const char ping[] = "event: ping\ndata: {\"type\":\"ping\"}\n\n";
	struct messages_reply *m = messages_of(r);
	int failed;

	if (!m->streams || m->failed)
		return;
	failed = begin_message(m) | buf_add(&m->frame, ping, sizeof ping - 1);
	frame_send(m, failed, kinds[m->open].phase, "", 0);
}

static size_t error_event(char *out, size_t size, enum failure why, const char *sentence)
{
	json_t *error = error_of(why, sentence);
	char *text = error != NULL ? json_dumps(error, JSON_COMPACT) : NULL;
	int n = snprintf(out, size, "event: error\ndata: %s\n\n",
	                 text != NULL ? text
	                              : "{\"type\":\"error\",\"error\":{\"type\":\"api_error\","
	                                "\"message\":\"The answer broke off.\"}}");

	free(text);
	json_decref(error);
	return n < 0 || (size_t)n >= size ? 0 : (size_t)n;
}

static void messages_fail(struct reply *r, enum failure why, const char *sentence)
{
	struct messages_reply *m = messages_of(r);
	char event[4096], retry[OPENAI_RETRY_MAX];
	size_t len;

	if (m->failed)
		return;
	if (why == FAILURE_FILTERED && m->model != NULL) { /* the API has a word for that end */
		m->refused = true;
		return;
	}
	m->failed = true;
	if (!m->begun && (m->waiting.len == 0 || m->lost)) {
		m->begun = true;
		openai_send_object(r->output, failures[why].status,
		                   openai_retry_header(r, failures[why].headers, retry), error_of(why, sentence));
		return;
	}
	messages_flush(r);
	begin(m);
	len = error_event(event, sizeof event, why, sentence);
	output_write_frame(r->output, event, len, "", 0);
	set_state(m, PHASE_COMPLETE);
}

#define NO_LLM "No language model is available yet. Please try again in a moment."

static void messages_refuse(struct output *o, const struct chat_request *request, int status, const char *headers,
                            const char *sentence)
{
	(void)request;
	openai_send_object(o, status, headers, messages_refusal(status, sentence));
}

static void messages_waiting(struct reply *r, const struct config *c)
{
	(void)c;
	messages_fail(r, FAILURE_UNAVAILABLE, NO_LLM);
}

static void messages_close(struct reply *r)
{
	messages_flush(r);
}

static const char *stop_reason(const struct messages_reply *m, const struct usage *u)
{
	return m->refused ? "refusal" : u->limited ? "max_tokens" : m->calls != NULL ? "tool_use" : "end_turn";
}

/* Input that came from a cache is counted apart. 0: the LLM's server did not count. */
static json_t *usage_json(const struct usage *u)
{
	int64_t cached = u->cached_tokens > 0 && u->cached_tokens <= u->prompt_tokens ? u->cached_tokens : 0;

	return json_pack("{s:I, s:I, s:I, s:I}", "input_tokens",
	                 (json_int_t)(u->prompt_tokens > 0 ? u->prompt_tokens - cached : 0),
	                 "cache_creation_input_tokens", (json_int_t)0, "cache_read_input_tokens", (json_int_t)cached,
	                 "output_tokens", (json_int_t)u->tokens);
}

static int add_call(struct messages_reply *m, const json_t *call)
{
	json_t *block = json_pack("{s:s, s:O, s:O, s:{}}", "type", "tool_use", "id", json_object_get(call, "id"),
	                          "name", json_object_get(call, "name"), "input");
	json_t *piece =
		json_pack("{s:s, s:O}", "type", "input_json_delta", "partial_json", json_object_get(call, "arguments"));
	char *block_text = block != NULL ? json_dumps(block, JSON_COMPACT) : NULL;
	char *piece_text = piece != NULL ? json_dumps(piece, JSON_COMPACT) : NULL;
	int failed = block_text == NULL || piece_text == NULL;

	if (!failed)
		failed = begin_block(m, block_text) | add_piece(m, piece_text);
	m->open = KIND_TEXT; /* any: it is closed */
	failed |= end_block(m);
	free(block_text);
	free(piece_text);
	json_decref(block);
	json_decref(piece);
	return failed;
}

static int add_sources(struct messages_reply *m)
{
	const json_t *source;
	size_t i;
	int failed = 0;

	json_array_foreach(m->sources, i, source)
	{
		json_t *piece = json_pack("{s:s, s:O}", "type", "citations_delta", "citation", source);
		char *text = piece != NULL ? json_dumps(piece, JSON_COMPACT) : NULL;

		failed |= text == NULL || add_piece(m, text) != 0;
		free(text);
		json_decref(piece);
	}
	return failed;
}

static void end_stream(struct messages_reply *m, const struct usage *u)
{
	json_t *usage = usage_json(u);
	char *text = usage != NULL ? json_dumps(usage, JSON_COMPACT) : NULL;
	const json_t *call;
	size_t i;
	int failed = begin_message(m) | (text == NULL);

	if (m->open == KIND_TEXT)
		failed |= add_sources(m);
	failed |= end_block(m);
	json_array_foreach(m->calls, i, call) failed |= add_call(m, call);
	if (text != NULL)
		failed |= buf_addf(&m->frame,
		                   "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"
		                   "\"stop_reason\":\"%s\",\"stop_sequence\":null},\"usage\":%s}\n\n"
		                   "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		                   stop_reason(m, u), text);
	frame_send(m, failed, PHASE_COMPLETE, "", 0);
	free(text);
	json_decref(usage);
}

static void end_object(struct messages_reply *m, const struct usage *u)
{
	json_t *content = json_array(), *text;
	const json_t *call;
	size_t i;

	if (m->reasoning.len > 0)
		json_array_append_new(content, json_pack("{s:s, s:s%, s:s}", "type", "thinking", "thinking",
		                                         m->reasoning.data, m->reasoning.len, "signature", ""));
	if (m->text.len > 0) {
		text = json_pack("{s:s, s:s%}", "type", "text", "text", m->text.data, m->text.len);
		if (m->sources != NULL)
			json_object_set(text, "citations", m->sources);
		json_array_append_new(content, text);
	}
	json_array_foreach(m->calls, i, call)
	{
		json_t *input = input_of(call);

		if (input != NULL)
			json_array_append_new(content, json_pack("{s:s, s:O, s:O, s:o}", "type", "tool_use", "id",
			                                         json_object_get(call, "id"), "name",
			                                         json_object_get(call, "name"), "input", input));
	}
	m->begun = true;
	openai_send_object(m->reply.output, 200, "",
	                   json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:n, s:o}", "id", m->id, "type", "message", "role",
	                             "assistant", "model", m->model, "content", content, "stop_reason",
	                             stop_reason(m, u), "stop_sequence", "usage", usage_json(u)));
}

#define LOST     "The answer is too long for the memory of this service."
#define BAD_CALL "The language model called a tool with arguments that are no JSON object."

/* Whether a call is not what the client's tool could take, and not because the answer ended at its limit. */
static bool has_bad_call(const struct messages_reply *m, const struct usage *u)
{
	const json_t *call;
	size_t i;

	json_array_foreach(m->calls, i, call)
	{
		json_t *input = u->limited ? json_object() : input_of(call);

		json_decref(input);
		if (input == NULL)
			return true;
	}
	return false;
}

static void messages_end(struct reply *r, const struct usage *u)
{
	struct messages_reply *m = messages_of(r);

	if (m->failed)
		return;
	if (has_bad_call(m, u)) {
		messages_fail(r, FAILURE_UPSTREAM, BAD_CALL);
		return;
	}
	if (m->streams && !m->lost) {
		messages_flush(r);
		end_stream(m, u);
	} else if (!m->lost) {
		end_object(m, u);
	}
	if (m->lost)
		messages_fail(r, FAILURE_UNAVAILABLE, LOST);
}

/* ---- the program has died ---- */

static bool messages_can_resume(unsigned char state)
{
	unsigned phase = state & PHASE_MASK;

	return (state & USED_TOOLS) == 0 && phase <= PHASE_THINKING;
}

static void messages_resume(struct reply *r, const struct resumed_reply *from)
{
	static const enum kind open[] = {[PHASE_TEXT] = KIND_TEXT, [PHASE_THINKING] = KIND_THINKING};
	struct messages_reply *m = messages_of(r);
	unsigned phase = from->state & PHASE_MASK;

	if (strncmp(from->memo, "msg_", 4) == 0 && strlen(from->memo) < sizeof m->id) {
		snprintf(m->id, sizeof m->id, "%s", from->memo);
		output_remember(r->output, m->id);
	}
	m->begun = true;
	m->message_begun = phase != PHASE_NOTHING;
	m->blocks = from->state >> INDEX_SHIFT;
	if (phase == PHASE_TEXT || phase == PHASE_THINKING) {
		/* As if it were opened once more, without the event that does so. */
		m->blocks--;
		m->lost |= open_block(m, open[phase]) != 0;
		buf_reset(&m->frame);
	}
	m->state = from->state;
	output_set_state(r->output, from->state, false);
}

#define DIED                                                                                                           \
	"\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"The answer "      \
	"broke off because the part of the service that was writing it ended unexpectedly. Please ask again.\"}}\n\n"

/* The stream may have broken off within an event, which an empty line ends. */
static size_t messages_broken(struct broken_reply *b, char *out, size_t size, bool *last)
{
	enum phase phase = b->state & PHASE_MASK;

	b->state = PHASE_COMPLETE;
	*last = true;
	if (phase == PHASE_OBJECT || phase == PHASE_COMPLETE || sizeof DIED > size)
		return 0;
	memcpy(out, DIED, sizeof DIED - 1);
	return sizeof DIED - 1;
}

const struct protocol protocol_messages = {
	.name = "messages",
	.tells_ends = true,
	.parse = messages_parse,
	.open = messages_open,
	.free = messages_free,
	.refuse = messages_refuse,
	.text = messages_text,
	.reasoning = messages_reasoning,
	.restart = messages_restart,
	.paragraph = protocol_paragraph,
	.tool = messages_tool,
	.source = messages_source,
	.tool_done = messages_tool_done,
	.keep_alive = messages_heartbeat,
	.sentence = protocol_sentence,
	.calls = messages_calls,
	.flush = messages_flush,
	.heartbeat = messages_heartbeat,
	.fail = messages_fail,
	.waiting = messages_waiting,
	.close = messages_close,
	.end = messages_end,
	.can_resume = messages_can_resume,
	.resume = messages_resume,
	.broken = messages_broken,
};
