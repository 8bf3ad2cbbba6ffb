/* SPDX-License-Identifier: Apache-2.0 */
/* POST /v1/responses: the answer as the events of a stream, or as one object.
 *
 * An answer is a list of items: reasoning, messages, calls. Each has events from its beginning to its end, and one
 * event ends the stream: response.completed, or incomplete where a limit or a filter ended the text, or failed. Where
 * the program has died, error. Nothing is sent until there is something to tell, so that a failure before that has its
 * own status. What one read of the LLM's stream brought is one event. */
#include "core/protocol/responses.h"

#include "core/base/buf.h"
#include "core/base/json_text.h"
#include "core/tools/tool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WHOLE_MAX  (15u << 20) /* of an object */
#define STREAM_MAX (3u << 20)  /* of a stream, whose text comes four times more at its end */
#define EVENT_LONG 8000u       /* bytes that are surely one record */

/* The states of output_set_state, for answers whose program dies: the phase, and in the bits above it the index of the
 * item that is open, or comes next. Before that one there is nothing but reasoning. */
enum phase {
	PHASE_NOTHING,   /* but comments */
	PHASE_BETWEEN,   /* it was begun; no item is open */
	PHASE_REASONING, /* such an item is open */
	PHASE_TEXT,      /* a message is open */
	PHASE_FIXED,     /* another program would make another answer of it */
	PHASE_COMPLETE,  /* the end was told */
	PHASE_OBJECT,    /* it is no stream */
};
#define PHASE_BITS 3
#define PHASE_MASK ((1u << PHASE_BITS) - 1)
#define INDEX_MAX  31u

/* Where another program goes on, nobody knows how many events there were. */
#define RESUMED_SEQUENCE (1u << 30)

/* What an item is made of. */
enum kind { KIND_NONE, KIND_REASONING, KIND_TEXT };

#define REASONING_EVENT "response.reasoning_text"
#define TEXT_EVENT      "response.output_text"

static const struct {
	const char *id, *part, *chunk, *chunk_more, *done, *done_more;
} kinds[] = {
	[KIND_REASONING] = {"rs", "reasoning_text", REASONING_EVENT ".delta", "", REASONING_EVENT ".done", ""},
	[KIND_TEXT] = {"msg", "output_text", TEXT_EVENT ".delta", ",\"logprobs\":[]", TEXT_EVENT ".done",
                       ",\"logprobs\":[]"},
};

/* An item as JSON; without a text it is not finished. */
struct done {
	char *text;
	size_t len;
};

/* A run of one of our tools that has not ended: its item, and the place of that. */
struct run {
	json_t *item; /* NULL: there is none */
	unsigned number, place;
	size_t stored; /* where it is in ran */
};

struct responses_reply {
	struct reply reply;
	bool streams, forgets;
	bool begun;   /* the response's head was made */
	bool started; /* the first event was sent */
	bool failed;  /* nothing more is sent */
	bool ended;
	bool lost; /* a part of the answer had no room */
	bool used_tools;
	bool left;             /* the program that died left reasoning open */
	const char *cut;       /* why it is incomplete; NULL: it is not */
	unsigned char state;   /* the last one that was set */
	unsigned items;        /* that have their place: all but the open one */
	unsigned count[3];     /* of these, by kind; [KIND_NONE]: calls of the client's tools */
	unsigned runs;         /* of these, of our own tools */
	enum kind open;        /* the item that is being written */
	enum kind waiting_for; /* it, or the next one */
	uint32_t sequence;
	int64_t created;
	char key[RESPONSES_KEY + 1], thread[RESPONSES_THREAD_MAX];
	json_t *echo; /* what the answer repeats of the request */
	char *echo_text;
	struct buf frame;   /* the events that are made */
	struct buf waiting; /* text for the end of the read */
	struct buf prefix;  /* of an event with text of the open item */
	struct buf text;    /* of that item, as JSON has it */
	struct done *done;  /* the finished items, by place */
	size_t done_room, done_len;
	size_t max; /* bytes of them */
	struct run running[CALLS_MAX];
	json_t *ran;         /* the runs' items as they are stored, in the order in which they began */
	bool line_begun;     /* the reasoning's last byte does not end a line */
	json_t *annotations; /* of the next message */
	json_t *error;
};

static struct responses_reply *responses_of(struct reply *r)
{
	return (struct responses_reply *)r;
}

/* ---- ids ---- */

/* In the thread that the request goes on with, or in one of its own. */
static void new_key(struct responses_reply *c, const struct chat_request *request)
{
	char random[OPENAI_KEY + 1];

	openai_new_key(random);
	if (request->previous != NULL && responses_is_id(request->previous))
		memcpy(c->key, request->previous + sizeof RESPONSES_ID - 1, RESPONSES_THREAD);
	else
		memcpy(c->key, random, RESPONSES_THREAD);
	openai_new_key(random);
	memcpy(c->key + RESPONSES_THREAD, random, RESPONSES_KEY - RESPONSES_THREAD);
}

/* ---- its life ---- */

static void responses_free(struct reply *r)
{
	struct responses_reply *c = responses_of(r);

	if (c == NULL)
		return;
	buf_free(&c->frame);
	buf_free(&c->waiting);
	buf_free(&c->prefix);
	buf_free(&c->text);
	for (size_t i = 0; i < c->done_room; i++)
		free(c->done[i].text);
	free(c->done);
	for (size_t i = 0; i < CALLS_MAX; i++)
		json_decref(c->running[i].item);
	json_decref(c->ran);
	json_decref(c->annotations);
	json_decref(c->error);
	json_decref(c->echo);
	free(c->echo_text);
	free(c);
}

static struct reply *responses_open(const struct protocol *p, struct output *o, const struct chat_request *request)
{
	struct responses_reply *c = calloc(1, sizeof *c);
	size_t max = request == NULL || request->streams ? STREAM_MAX : WHOLE_MAX;
	char memo[OUTPUT_MEMO_MAX];

	if (c == NULL)
		return NULL;
	c->reply = (struct reply){.protocol = p, .output = o};
	buf_init(&c->frame, WHOLE_MAX);
	buf_init(&c->waiting, max);
	buf_init(&c->prefix, 1024);
	buf_init(&c->text, max);
	c->max = max;
	if (request == NULL) /* only a failure will be told */
		return &c->reply;
	c->streams = request->streams;
	c->forgets = request->forgets;
	c->created = (int64_t)time(NULL);
	new_key(c, request);
	c->echo = json_incref(request->echo);
	c->echo_text = json_dumps(request->echo, JSON_COMPACT | JSON_REAL_PRECISION(15));
	if (c->echo_text == NULL) {
		responses_free(&c->reply);
		return NULL;
	}
	snprintf(memo, sizeof memo, "%" PRIx32 " %s", (uint32_t)c->created, c->key);
	output_remember(o, memo);
	if (!c->streams)
		output_set_state(o, PHASE_OBJECT, false);
	return &c->reply;
}

/* Items have the digits that are the answer's own: each event repeats them. */
static const char *own_key(const struct responses_reply *c)
{
	return c->key + RESPONSES_THREAD;
}

/* ---- the state ---- */

static unsigned char state_of(const struct responses_reply *c)
{
	static const enum phase open[] = {
		[KIND_NONE] = PHASE_BETWEEN, [KIND_REASONING] = PHASE_REASONING, [KIND_TEXT] = PHASE_TEXT};

	if (c->ended)
		return PHASE_COMPLETE;
	if (!c->started)
		return PHASE_NOTHING;
	if (c->used_tools || c->count[KIND_TEXT] + c->count[KIND_NONE] > 0 || c->items > INDEX_MAX)
		return PHASE_FIXED;
	return (unsigned char)((unsigned)open[c->open] | c->items << PHASE_BITS);
}

static void set_state(struct responses_reply *c, unsigned char state)
{
	if (c->state == state || !c->streams)
		return;
	c->state = state;
	output_set_state(c->reply.output, state, false);
}

/* ---- JSON ---- */

static int put_quoted(struct buf *to, const char *text, size_t len)
{
	return buf_adds(to, "\"") | json_text_add(to, text, len) | buf_adds(to, "\"");
}

static int put_json(struct buf *to, const json_t *json)
{
	char *text = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	int failed = buf_adds(to, text != NULL ? text : "null");

	free(text);
	return failed;
}

/* Of the open item, as it is in its event and in the list. */
static int put_part(const struct responses_reply *c, struct buf *to, bool whole)
{
	int failed = buf_addf(to, "{\"type\":\"%s\"", kinds[c->open].part);

	if (c->open == KIND_TEXT && whole && c->annotations != NULL)
		failed |= buf_adds(to, ",\"annotations\":") | put_json(to, c->annotations) |
		          buf_adds(to, ",\"logprobs\":[]");
	else if (c->open == KIND_TEXT)
		failed |= buf_adds(to, ",\"annotations\":[],\"logprobs\":[]");
	failed |= buf_adds(to, ",\"text\":\"");
	if (whole)
		failed |= buf_add(to, c->text.data, c->text.len);
	return failed | buf_adds(to, "\"}");
}

static int put_item(const struct responses_reply *c, struct buf *to, const char *status, bool whole)
{
	int failed =
		buf_addf(to, "{\"id\":\"%s_%s%x\",\"type\":\"%s\",%s\"status\":\"%s\",\"content\":[", kinds[c->open].id,
	                 own_key(c), c->count[c->open], c->open == KIND_TEXT ? "message" : "reasoning",
	                 c->open == KIND_TEXT ? "\"role\":\"assistant\"," : "\"summary\":[],", status);

	return failed | (whole ? put_part(c, to, true) : 0) | buf_adds(to, "]}");
}

/* Runs of tools may end after items that began later. */
static int put_in_output(struct responses_reply *c, unsigned place, const char *item, size_t len)
{
	if (place >= c->done_room) {
		size_t room = 2 * (size_t)place + 4;
		struct done *more = reallocarray(c->done, room, sizeof *more);

		if (more == NULL)
			return -1;
		memset(more + c->done_room, 0, (room - c->done_room) * sizeof *more);
		c->done = more;
		c->done_room = room;
	}
	if (len > c->max - c->done_len || (c->done[place].text = malloc(len)) == NULL)
		return -1;
	memcpy(c->done[place].text, item, len);
	c->done[place].len = len;
	c->done_len += len;
	return 0;
}

static int put_output(const struct responses_reply *c, struct buf *to)
{
	const char *between = "";
	int failed = 0;

	for (size_t i = 0; i < c->done_room; i++) {
		if (c->done[i].text == NULL)
			continue;
		failed |= buf_adds(to, between) | buf_add(to, c->done[i].text, c->done[i].len);
		between = ",";
	}
	return failed;
}

static json_t *usage_json(const struct usage *u)
{
	if (u == NULL || u->prompt_tokens < 0) /* the LLM's server did not count */
		return NULL;
	return json_pack("{s:I, s:{s:I}, s:I, s:{s:I}, s:I}", "input_tokens", (json_int_t)u->prompt_tokens,
	                 "input_tokens_details", "cached_tokens",
	                 (json_int_t)(u->cached_tokens > 0 ? u->cached_tokens : 0), "output_tokens",
	                 (json_int_t)u->tokens, "output_tokens_details", "reasoning_tokens",
	                 (json_int_t)(u->reasoning_tokens > 0 ? u->reasoning_tokens : 0), "total_tokens",
	                 (json_int_t)(u->prompt_tokens + u->tokens));
}

static const char *status_of(const struct responses_reply *c)
{
	return c->error != NULL ? "failed" : c->cut != NULL ? "incomplete" : "completed";
}

/* The whole object, without usage where there is none yet. */
static int put_response(const struct responses_reply *c, struct buf *to, const char *status, const struct usage *u)
{
	json_t *usage = usage_json(u);
	int failed = buf_addf(to,
	                      "{\"id\":\"" RESPONSES_ID "%s\",\"object\":\"response\",\"created_at\":%" PRId64
	                      ",\"status\":\"%s\",\"error\":",
	                      c->key, c->created, status);

	failed |= put_json(to, c->error) | buf_adds(to, ",\"incomplete_details\":");
	failed |=
		c->cut != NULL && c->error == NULL ? buf_addf(to, "{\"reason\":\"%s\"}", c->cut) : buf_adds(to, "null");
	failed |= buf_adds(to, ",\"output\":[") | put_output(c, to) | buf_adds(to, "],\"usage\":") |
	          put_json(to, usage) | buf_adds(to, ",") | buf_adds(to, c->echo_text + 1);
	json_decref(usage);
	return failed;
}

/* ---- events ---- */

static int event_begin(struct responses_reply *c, const char *type)
{
	return buf_adds(&c->frame, "event: ") | buf_adds(&c->frame, type) |
	       buf_adds(&c->frame, "\ndata: {\"type\":\"") | buf_adds(&c->frame, type) | buf_adds(&c->frame, "\"");
}

#define SEQUENCE ",\"sequence_number\":"

/* The number after SEQUENCE, and the end of the event. */
static int put_sequence(struct responses_reply *c)
{
	char text[16], *const end = text + sizeof text, *at = end;
	uint32_t number = c->sequence++;

	*--at = '\n';
	*--at = '\n';
	*--at = '}';
	do
		*--at = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	return buf_add(&c->frame, at, (size_t)(end - at));
}

static int event_end(struct responses_reply *c)
{
	return buf_adds(&c->frame, SEQUENCE) | put_sequence(c);
}

/* Which part of the open item it is of. */
static int put_place(struct responses_reply *c, struct buf *to)
{
	return buf_addf(to, ",\"item_id\":\"%s_%s%x\",\"output_index\":%u,\"content_index\":0", kinds[c->open].id,
	                own_key(c), c->count[c->open], c->items);
}

/* Sends what the frame holds; failed: as of its making. A record holds whole frames: what is longer than one is sent in
 * pieces, and cannot be resumed from within. */
static void frame_send(struct responses_reply *c, int failed, const char *text, size_t len)
{
	struct output *o = c->reply.output;

	c->lost |= failed != 0;
	if (c->lost || c->frame.len == 0) {
		buf_reset(&c->frame);
		return;
	}
	if (c->frame.len > EVENT_LONG && len == 0) {
		set_state(c, PHASE_FIXED);
		for (size_t at = 0; at < c->frame.len; at += EVENT_LONG)
			output_write_frame(o, c->frame.data + at,
			                   c->frame.len - at < EVENT_LONG ? c->frame.len - at : EVENT_LONG, "", 0);
	} else {
		output_write_frame(o, c->frame.data, c->frame.len, text, len);
	}
	buf_reset(&c->frame);
	set_state(c, state_of(c));
}

static void begin(struct responses_reply *c)
{
	if (c->begun)
		return;
	c->begun = true;
	output_head(c->reply.output, 200, "text/event-stream; charset=utf-8", "");
}

static int put_response_event(struct responses_reply *c, const char *type, const char *status, const struct usage *u)
{
	return event_begin(c, type) | buf_adds(&c->frame, ",\"response\":") | put_response(c, &c->frame, status, u) |
	       event_end(c);
}

/* Reasoning of which the client has more than this program. */
static int put_left(struct responses_reply *c)
{
	char item[200];
	int len = snprintf(item, sizeof item,
	                   "{\"id\":\"rs_%s%x\",\"type\":\"reasoning\",\"summary\":[],\"status\":\"%s\"}", own_key(c),
	                   c->count[KIND_REASONING], c->left ? "incomplete" : "completed");
	int failed = put_in_output(c, c->items, item, (size_t)len);

	if (c->left)
		failed |= event_begin(c, "response.output_item.done") |
		          buf_addf(&c->frame, ",\"output_index\":%u,\"item\":%s", c->items, item) | event_end(c);
	c->count[KIND_REASONING]++;
	c->items++;
	return failed;
}

static void start_stream(struct responses_reply *c)
{
	int failed = 0;

	begin(c);
	if (c->left) {
		failed = put_left(c);
		c->left = false;
	} else if (!c->started) {
		c->started = true;
		failed = put_response_event(c, "response.created", "in_progress", NULL) |
		         put_response_event(c, "response.in_progress", "in_progress", NULL);
	}
	frame_send(c, failed, "", 0);
}

/* ---- items with text ---- */

static int make_prefix(struct responses_reply *c)
{
	const char *type = kinds[c->open].chunk;

	buf_reset(&c->prefix);
	return buf_addf(&c->prefix, "event: %s\ndata: {\"type\":\"%s\"", type, type) | put_place(c, &c->prefix) |
	       buf_adds(&c->prefix, kinds[c->open].chunk_more) | buf_adds(&c->prefix, ",\"delta\":\"");
}

static int open_item(struct responses_reply *c, enum kind kind)
{
	struct buf *frame = &c->frame;
	int failed;

	c->open = kind;
	buf_reset(&c->text);
	if (!c->streams)
		return 0;
	failed = make_prefix(c) | event_begin(c, "response.output_item.added") |
	         buf_addf(frame, ",\"output_index\":%u,\"item\":", c->items) |
	         put_item(c, frame, "in_progress", false) | event_end(c);
	return failed | event_begin(c, "response.content_part.added") | put_place(c, frame) |
	       buf_adds(frame, ",\"part\":") | put_part(c, frame, false) | event_end(c);
}

static int put_annotations(struct responses_reply *c)
{
	const json_t *annotation;
	int failed = 0;
	size_t i;

	json_array_foreach(c->annotations, i, annotation)
	{
		failed |= event_begin(c, TEXT_EVENT ".annotation.added") | put_place(c, &c->frame) |
		          buf_addf(&c->frame, ",\"annotation_index\":%zu,\"annotation\":", i) |
		          put_json(&c->frame, annotation) | event_end(c);
	}
	return failed;
}

static int put_done(struct responses_reply *c, const char *item, size_t len)
{
	struct buf *frame = &c->frame;
	int failed = c->open == KIND_TEXT ? put_annotations(c) : 0;

	failed |= event_begin(c, kinds[c->open].done) | put_place(c, frame) |
	          buf_adds(frame, kinds[c->open].done_more) | buf_adds(frame, ",\"text\":\"") |
	          buf_add(frame, c->text.data, c->text.len) | buf_adds(frame, "\"") | event_end(c);
	failed |= event_begin(c, "response.content_part.done") | put_place(c, frame) | buf_adds(frame, ",\"part\":") |
	          put_part(c, frame, true) | event_end(c);
	return failed | event_begin(c, "response.output_item.done") |
	       buf_addf(frame, ",\"output_index\":%u,\"item\":", c->items) | buf_add(frame, item, len) | event_end(c);
}

/* Ends the open item, if there is one. */
static void close_item(struct responses_reply *c, const char *status)
{
	struct buf item;
	int failed;

	if (c->open == KIND_NONE)
		return;
	buf_init(&item, WHOLE_MAX);
	failed = put_item(c, &item, status, true) | put_in_output(c, c->items, item.data, item.len);
	if (c->streams)
		failed |= put_done(c, item.data, item.len);
	buf_free(&item);
	if (c->open == KIND_TEXT) {
		json_decref(c->annotations);
		c->annotations = NULL;
	}
	c->count[c->open]++;
	c->items++;
	c->open = KIND_NONE;
	frame_send(c, failed, "", 0);
}

static void responses_flush(struct reply *r)
{
	static const char after[] = "\"" SEQUENCE;
	struct responses_reply *c = responses_of(r);
	enum kind kind = c->waiting_for;
	int failed = 0;
	size_t from;

	if (c->waiting.len == 0)
		return;
	if (c->open != kind || c->left) {
		start_stream(c);
		close_item(c, "completed");
		failed = open_item(c, kind);
	}
	from = c->frame.len + c->prefix.len;
	failed |= json_text_add_between(&c->frame, &c->prefix, c->waiting.data, c->waiting.len, after);
	if (failed == 0)
		failed = buf_add(&c->text, c->frame.data + from, c->frame.len - from - (sizeof after - 1));
	failed |= put_sequence(c);
	frame_send(c, failed, c->waiting.data, kind == KIND_TEXT ? c->waiting.len : 0);
	buf_reset(&c->waiting);
}

static void add(struct responses_reply *c, enum kind kind, const char *bytes, size_t len)
{
	if (c->failed)
		return;
	if (!c->streams) {
		if (c->open != kind) {
			close_item(c, "completed");
			c->lost |= open_item(c, kind) < 0;
		}
		c->lost |= json_text_add(&c->text, bytes, len) < 0;
		return;
	}
	if (c->waiting_for != kind) {
		responses_flush(&c->reply);
		c->waiting_for = kind;
	}
	c->lost |= buf_add(&c->waiting, bytes, len) < 0;
}

static void responses_text(struct reply *r, const char *bytes, size_t len)
{
	add(responses_of(r), KIND_TEXT, bytes, len);
}

static void responses_reasoning(struct reply *r, const char *bytes, size_t len)
{
	responses_of(r)->line_begun = bytes[len - 1] != '\n';
	add(responses_of(r), KIND_REASONING, bytes, len);
}

/* A line of its own in the reasoning. */
static void put_line(struct responses_reply *c, const char *line)
{
	if (c->line_begun && c->open == KIND_REASONING)
		add(c, KIND_REASONING, "\n", 1);
	c->line_begun = false;
	add(c, KIND_REASONING, line, strlen(line));
	responses_flush(&c->reply);
}

static void responses_restart(struct reply *r)
{
	put_line(responses_of(r), "[interrupted, starting again]\n");
}

static void responses_paragraph(struct reply *r)
{
	responses_text(r, "\n\n", 2);
}

static void responses_sentence(struct reply *r, const char *sentence)
{
	responses_text(r, sentence, strlen(sentence));
	responses_flush(r);
}

/* ---- tools ---- */

static int put_item_event(struct responses_reply *c, const char *type, unsigned place, const json_t *item)
{
	return event_begin(c, type) | buf_addf(&c->frame, ",\"output_index\":%u,\"item\":", place) |
	       put_json(&c->frame, item) | event_end(c);
}

/* An event of the item in that place; how: the end of its name. */
static int put_run_event(struct responses_reply *c, const struct run *run, const char *how)
{
	char type[80];

	snprintf(type, sizeof type, "response.%s.%s", json_string_value(json_object_get(run->item, "type")), how);
	return event_begin(c, type) |
	       buf_addf(&c->frame, ",\"item_id\":\"%s\",\"output_index\":%u",
	                json_string_value(json_object_get(run->item, "id")), run->place) |
	       event_end(c);
}

/* The argument that comes in pieces elsewhere: in one. */
static int put_argument(struct responses_reply *c, const struct responses_run_kind *kind, const struct run *run)
{
	const json_t *argument = json_object_get(run->item, kind->argument);
	char type[80];
	int failed = 0;

	for (int done = 0; done < 2; done++) {
		snprintf(type, sizeof type, "%s.%s", kind->argument_event, done ? "done" : "delta");
		failed |= event_begin(c, type) |
		          buf_addf(&c->frame, ",\"item_id\":\"%s\",\"output_index\":%u,\"%s\":",
		                   json_string_value(json_object_get(run->item, "id")), run->place,
		                   done ? kind->argument : "delta") |
		          put_json(&c->frame, argument) | event_end(c);
	}
	return failed;
}

static int put_run_begun(struct responses_reply *c, const struct responses_run_kind *kind, const struct run *run)
{
	const bool comes_later = json_is_string(json_object_get(run->item, kind->argument));
	json_t *added = json_copy(run->item);
	int failed;

	if (comes_later)
		json_object_set_new(added, kind->argument, json_string(""));
	failed = put_item_event(c, "response.output_item.added", run->place, added) |
	         put_run_event(c, run, "in_progress");
	json_decref(added);
	if (comes_later)
		failed |= put_argument(c, kind, run);
	return failed | (kind->working != NULL ? put_run_event(c, run, kind->working) : 0);
}

static void responses_run_begun(struct reply *r, const struct tool_run_info *info)
{
	struct responses_reply *c = responses_of(r);
	const struct responses_run_kind *kind = responses_run_kind(info->tool);
	struct run *run = c->running;
	char id[RESPONSES_KEY + 20];
	int failed = 0;

	c->used_tools = true; /* their results are lost with the program */
	responses_flush(r);
	if (c->streams)
		start_stream(c);
	close_item(c, "completed");
	while (run->item != NULL)
		run++; /* no more than CALLS_MAX run at once */
	snprintf(id, sizeof id, "%s_%s%x", kind->id, own_key(c), c->runs++);
	if (c->ran == NULL)
		c->ran = json_array();
	json_array_append_new(c->ran, json_null());
	*run = (struct run){.item = responses_run_item(kind, id, info, NULL),
	                    .number = info->number,
	                    .place = c->items++,
	                    .stored = json_array_size(c->ran) - 1};
	if (run->item == NULL)
		failed = -1;
	else if (c->streams)
		failed = put_run_begun(c, kind, run);
	frame_send(c, failed, "", 0);
}

/* For the stored answer. What came of it is there with the messages of the turn. */
static void remember_run(struct responses_reply *c, const struct run *run, const char *call_id, const json_t *item)
{
	json_t *copy = json_copy((json_t *)(uintptr_t)item);

	json_object_del(copy, "output");
	json_object_del(copy, "outputs");
	json_object_set_new(copy, "call_id", json_string(call_id));
	json_array_set_new(c->ran, run->stored, copy);
}

/* item: as it is in the end (stolen). */
static void end_run(struct responses_reply *c, struct run *run, json_t *item, const char *how)
{
	char *text = item != NULL ? json_dumps(item, JSON_COMPACT) : NULL;
	int failed = text == NULL ? -1 : put_in_output(c, run->place, text, strlen(text));

	json_decref(run->item);
	run->item = item;
	if (failed == 0 && c->streams)
		failed = (how != NULL ? put_run_event(c, run, how) : 0) |
		         put_item_event(c, "response.output_item.done", run->place, item);
	json_decref(item);
	run->item = NULL;
	frame_send(c, failed, "", 0);
	free(text);
}

static void responses_run_ended(struct reply *r, const struct tool_run_info *info, const struct tool_result *result)
{
	struct responses_reply *c = responses_of(r);
	const struct responses_run_kind *kind = responses_run_kind(info->tool);
	const char *how = !result->failed ? "completed" : kind->tells_failure ? "failed" : NULL;
	json_t *item;

	for (size_t i = 0; i < CALLS_MAX; i++) {
		struct run *run = &c->running[i];

		if (run->item == NULL || run->number != info->number)
			continue;
		item = responses_run_item(kind, json_string_value(json_object_get(run->item, "id")), info, result);
		if (item != NULL && !c->forgets)
			remember_run(c, run, info->id, item);
		end_run(c, run, item, how);
		return;
	}
}

/* What still runs when the answer ends. */
static void end_runs(struct responses_reply *c)
{
	for (size_t i = 0; i < CALLS_MAX; i++) {
		struct run *run = &c->running[i];
		json_t *item = run->item != NULL ? json_copy(run->item) : NULL;

		if (run->item == NULL)
			continue;
		json_object_set_new(item, "status", json_string("incomplete"));
		end_run(c, run, item, NULL);
	}
}

/* What a tool tells while it runs: the API has no event for it. */
static void responses_tool(struct reply *r, const char *progress, const char *subject)
{
	struct responses_reply *c = responses_of(r);
	struct buf line = BUF_INIT(16384);

	responses_flush(r);
	if (buf_addf(&line, subject != NULL ? "%s: %s\n" : "%s\n", progress, subject) == 0)
		put_line(c, line.data);
	buf_free(&line);
}

static bool responses_source(struct reply *r, const char *title, const char *url)
{
	struct responses_reply *c = responses_of(r);

	if (!protocol_source(&title, url))
		return false;
	if (c->annotations == NULL)
		c->annotations = json_array();
	return json_array_append_new(c->annotations,
	                             json_pack("{s:s, s:s, s:s, s:i, s:i}", "type", "url_citation", "url", url, "title",
	                                       title, "start_index", 0, "end_index", 0)) == 0;
}

/* With what else the model's server sent with it. */
static json_t *call_json(const char *id, const struct call *call, const char *status, size_t len)
{
	json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:s%, s:s}", "id", id, "type", "function_call", "call_id",
	                         call->id, "name", call->name, "arguments", call->arguments, len, "status", status);
	json_t *extra = call->extra != NULL ? json_deep_copy(call->extra) : NULL;

	json_object_del(extra, "function");
	if (extra != NULL)
		json_object_update_missing(json, extra);
	json_decref(extra);
	return json;
}

static int put_call_events(struct responses_reply *c, const char *id, const struct call *call, const char *item)
{
	struct buf *frame = &c->frame;
	json_t *begun = call_json(id, call, "in_progress", 0);
	int failed = event_begin(c, "response.output_item.added") |
	             buf_addf(frame, ",\"output_index\":%u,\"item\":", c->items) | put_json(frame, begun) |
	             event_end(c);

	json_decref(begun);
	for (int done = 0; done < 2; done++) {
		failed |= event_begin(c, done ? "response.function_call_arguments.done"
		                              : "response.function_call_arguments.delta") |
		          buf_addf(frame, ",\"item_id\":\"%s\",\"output_index\":%u", id, c->items);
		if (done)
			failed |= buf_adds(frame, ",\"name\":") | put_quoted(frame, call->name, strlen(call->name));
		failed |= buf_adds(frame, done ? ",\"arguments\":" : ",\"delta\":") |
		          put_quoted(frame, call->arguments, call->len) | event_end(c);
	}
	return failed | event_begin(c, "response.output_item.done") |
	       buf_addf(frame, ",\"output_index\":%u,\"item\":", c->items) | buf_adds(frame, item) | event_end(c);
}

static void put_call(struct responses_reply *c, const struct call *call)
{
	char id[RESPONSES_KEY + 20];
	json_t *json;
	char *item;
	int failed;

	snprintf(id, sizeof id, "fc_%s%x", own_key(c), c->count[KIND_NONE]);
	json = call_json(id, call, call->cut ? "incomplete" : "completed", call->len);
	item = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
	failed = item == NULL ? -1 : put_in_output(c, c->items, item, strlen(item));
	if (failed == 0 && c->streams)
		failed = put_call_events(c, id, call, item);
	c->count[KIND_NONE]++;
	c->items++;
	frame_send(c, failed, "", 0);
	free(item);
	json_decref(json);
}

static void responses_calls(struct reply *r, const struct call *const *calls, size_t count)
{
	struct responses_reply *c = responses_of(r);

	responses_flush(r);
	if (c->streams)
		start_stream(c);
	close_item(c, "completed");
	for (size_t i = 0; i < count; i++)
		put_call(c, calls[i]);
}

/* ---- the ends ---- */

/* Comments keep the connection open, and are no events. An object cannot begin before its status is known. */
static void responses_heartbeat(struct reply *r)
{
	static const char comment[] = ": the answer is still coming\n\n";
	struct responses_reply *c = responses_of(r);

	if (!c->streams || c->failed)
		return;
	begin(c);
	output_write_frame(r->output, comment, sizeof comment - 1, "", 0);
}

/* Its parameters have other names here. */
static json_t *error_of(enum failure why, const char *sentence)
{
	const struct openai_failure *f = openai_failure(why);

	return openai_error(sentence, f->type,
	                    f->param != NULL && strcmp(f->param, "messages") == 0 ? "input" : f->param, f->code);
}

static void end_stream(struct responses_reply *c, const struct usage *u)
{
	static const char *const types[] = {"response.completed", "response.incomplete", "response.failed"};
	const char *type = types[c->error != NULL ? 2 : c->cut != NULL ? 1 : 0];
	int failed;

	responses_flush(&c->reply);
	start_stream(c);
	close_item(c, strcmp(type, types[0]) == 0 ? "completed" : "incomplete");
	end_runs(c);
	if (c->lost && c->error == NULL)
		return;
	if (c->lost) { /* what it has is more than it can tell */
		buf_reset(&c->frame);
		for (size_t i = 0; i < c->done_room; i++) {
			free(c->done[i].text);
			c->done[i].text = NULL;
		}
		c->done_len = 0;
		c->lost = false;
	}
	failed = put_response_event(c, type, status_of(c), u);
	c->ended = failed == 0;
	frame_send(c, failed, "", 0);
}

static void responses_fail(struct reply *r, enum failure why, const char *sentence)
{
	struct responses_reply *c = responses_of(r);
	const struct openai_failure *f = openai_failure(why);
	char retry[OPENAI_RETRY_MAX];

	if (c->failed)
		return;
	if (why == FAILURE_FILTERED && c->echo != NULL) { /* the API has a word for that end */
		c->cut = "content_filter";
		return;
	}
	c->failed = true;
	c->error = json_pack("{s:s, s:s}", "code",
	                     f->code != NULL   ? f->code
	                     : f->status < 500 ? "invalid_prompt"
	                                       : "server_error",
	                     "message", sentence);
	if (!c->begun && (c->waiting.len == 0 || c->lost)) {
		c->begun = true;
		openai_send_object(r->output, f->status, openai_retry_header(r, f->headers, retry),
		                   error_of(why, sentence));
		return;
	}
	end_stream(c, NULL);
}

#define NO_LLM "No language model is available yet. Please try again in a moment."

static void responses_waiting(struct reply *r, const struct config *c)
{
	(void)c;
	responses_fail(r, FAILURE_UNAVAILABLE, NO_LLM);
}

static void responses_close(struct reply *r)
{
	responses_flush(r);
}

static void end_object(struct responses_reply *c, const struct usage *u)
{
	struct buf body = BUF_INIT(WHOLE_MAX);
	char length[60];

	close_item(c, c->cut != NULL ? "incomplete" : "completed");
	end_runs(c);
	if (!c->lost && put_response(c, &body, status_of(c), u) == 0) {
		c->begun = true;
		snprintf(length, sizeof length, "Content-Length: %zu\r\n", body.len);
		output_head(c->reply.output, 200, "application/json", length);
		output_write_frame(c->reply.output, body.data, body.len, "", 0);
	} else {
		c->lost = true;
	}
	buf_free(&body);
}

#define LOST "The answer is too long for the memory of this service."

static void responses_end(struct reply *r, const struct usage *u)
{
	struct responses_reply *c = responses_of(r);

	if (c->failed)
		return;
	if (u->limited)
		c->cut = "max_output_tokens";
	if (c->streams)
		end_stream(c, u);
	else
		end_object(c, u);
	if (c->lost)
		responses_fail(r, FAILURE_UNAVAILABLE, LOST);
}

/* ---- what is stored ---- */

static json_t *responses_record(struct reply *r, const struct usage *u, bool left, const char **thread)
{
	struct responses_reply *c = responses_of(r);
	const char *cut = c->cut != NULL ? c->cut : u->limited ? "max_output_tokens" : NULL;
	const char *status = left               ? "cancelled"
	                     : c->error != NULL ? "failed"
	                     : cut != NULL      ? "incomplete"
	                                        : "completed";
	json_t *record = c->forgets ? NULL : json_copy(c->echo);

	if (record == NULL)
		return NULL;
	json_object_set_new(record, "id", json_sprintf(RESPONSES_ID "%s", c->key));
	json_object_set_new(record, "object", json_string("response"));
	json_object_set_new(record, "created_at", json_integer(c->created));
	json_object_set_new(record, "status", json_string(status));
	json_object_set_new(record, "error", c->error != NULL ? json_incref(c->error) : json_null());
	json_object_set_new(record, "incomplete_details",
	                    cut != NULL && c->error == NULL ? json_pack("{s:s}", "reason", cut) : json_null());
	json_object_set_new(record, "usage", usage_json(u));
	if (c->annotations != NULL)
		json_object_set(record, "annotations", c->annotations);
	if (c->ran != NULL)
		json_object_set(record, "runs", c->ran);
	responses_thread(json_string_value(json_object_get(record, "id")), c->thread);
	*thread = c->thread;
	return record;
}

/* ---- the program has died ---- */

static bool responses_can_resume(unsigned char state)
{
	return (state & PHASE_MASK) <= PHASE_TEXT;
}

static void responses_resume(struct reply *r, const struct resumed_reply *from)
{
	struct responses_reply *c = responses_of(r);
	const enum phase phase = from->state & PHASE_MASK;
	const unsigned index = from->state >> PHASE_BITS;
	char key[RESPONSES_KEY + 1];
	unsigned created;

	if (sscanf(from->memo, "%x %36s", &created, key) == 2) {
		c->created = created;
		memcpy(c->key, key, sizeof key);
		output_remember(r->output, from->memo);
	}
	c->begun = true;
	c->started = phase != PHASE_NOTHING;
	c->sequence = c->started ? RESUMED_SEQUENCE : 0;
	while (c->items < index)
		c->lost |= put_left(c) != 0;
	c->left = phase == PHASE_REASONING;
	if (phase == PHASE_TEXT) {
		c->open = c->waiting_for = KIND_TEXT;
		c->lost |= make_prefix(c) != 0 || json_text_add(&c->text, from->text, from->len) != 0;
	}
	c->state = from->state;
	output_set_state(r->output, from->state, false);
}

#define BROKE_OFF                                                                                                      \
	"The answer broke off because the part of the service that was writing it ended unexpectedly. Please ask again."

/* The stream may have broken off within an event, which an empty line ends. Some clients look only for an object
 * "error", others for the type. */
static size_t responses_broken(struct broken_reply *b, char *out, size_t size, bool *last)
{
	static const char broken_event[] =
		"\n\nevent: error\ndata: {\"type\":\"error\",\"code\":\"upstream_error\",\"message\":\"" BROKE_OFF
		"\",\"param\":null,\"error\":{\"message\":\"" BROKE_OFF
		"\",\"type\":\"server_error\",\"param\":null,\"code\":\"upstream_error\"},"
		"\"sequence_number\":2147483647}\n\n";
	enum phase phase = b->state & PHASE_MASK;

	b->state = PHASE_COMPLETE;
	*last = true;
	if (phase == PHASE_OBJECT || phase == PHASE_COMPLETE || sizeof broken_event > size)
		return 0;
	memcpy(out, broken_event, sizeof broken_event - 1);
	return sizeof broken_event - 1;
}

const struct protocol protocol_responses = {
	.name = "responses",
	.tells_ends = true,
	.parse = responses_parse,
	.open = responses_open,
	.free = responses_free,
	.text = responses_text,
	.reasoning = responses_reasoning,
	.restart = responses_restart,
	.paragraph = responses_paragraph,
	.tool = responses_tool,
	.source = responses_source,
	.run_begun = responses_run_begun,
	.run_ended = responses_run_ended,
	.keep_alive = responses_heartbeat,
	.sentence = responses_sentence,
	.calls = responses_calls,
	.flush = responses_flush,
	.heartbeat = responses_heartbeat,
	.fail = responses_fail,
	.waiting = responses_waiting,
	.close = responses_close,
	.end = responses_end,
	.record = responses_record,
	.can_resume = responses_can_resume,
	.resume = responses_resume,
	.broken = responses_broken,
};
