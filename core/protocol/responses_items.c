/* SPDX-License-Identifier: Apache-2.0 */
/* How an answer of the Responses API is written: its items, and their events where it is a stream. */
#include "core/protocol/responses_private.h"

#include "core/base/json_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_LONG 8000u /* bytes that are surely one record */

#define REASONING_EVENT "response.reasoning_text"
#define TEXT_EVENT      "response.output_text"

static const struct {
	const char *id, *part, *chunk, *chunk_more, *done, *done_more;
} kinds[] = {
	[KIND_REASONING] = {"rs", "reasoning_text", REASONING_EVENT ".delta", "", REASONING_EVENT ".done", ""},
	[KIND_TEXT] = {"msg", "output_text", TEXT_EVENT ".delta", ",\"logprobs\":[]", TEXT_EVENT ".done",
                       ",\"logprobs\":[]"},
};

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

int responses_put_json(struct buf *to, const json_t *json)
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
		failed |= buf_adds(to, ",\"annotations\":") | responses_put_json(to, c->annotations) |
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
	                 responses_own_key(c), c->count[c->open], c->open == KIND_TEXT ? "message" : "reasoning",
	                 c->open == KIND_TEXT ? "\"role\":\"assistant\"," : "\"summary\":[],", status);

	return failed | (whole ? put_part(c, to, true) : 0) | buf_adds(to, "]}");
}

int responses_add_item(struct responses_reply *c, unsigned place, const char *item, size_t len)
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

json_t *responses_usage(const struct usage *u)
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

int responses_put(const struct responses_reply *c, struct buf *to, const char *status, const struct usage *u)
{
	json_t *usage = responses_usage(u);
	int failed = buf_addf(to,
	                      "{\"id\":\"" RESPONSES_ID "%s\",\"object\":\"response\",\"created_at\":%" PRId64
	                      ",\"status\":\"%s\",\"error\":",
	                      c->key, c->created, status);

	failed |= responses_put_json(to, c->error) | buf_adds(to, ",\"incomplete_details\":");
	failed |=
		c->cut != NULL && c->error == NULL ? buf_addf(to, "{\"reason\":\"%s\"}", c->cut) : buf_adds(to, "null");
	failed |= buf_adds(to, ",\"output\":[") | put_output(c, to) | buf_adds(to, "],\"usage\":") |
	          responses_put_json(to, usage) | buf_adds(to, ",") | buf_adds(to, c->echo_text + 1);
	json_decref(usage);
	return failed;
}

/* ---- events ---- */

int responses_event_begin(struct responses_reply *c, const char *type)
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

int responses_event_end(struct responses_reply *c)
{
	return buf_adds(&c->frame, SEQUENCE) | put_sequence(c);
}

/* Which part of the open item it is of. */
static int put_place(struct responses_reply *c, struct buf *to)
{
	return buf_addf(to, ",\"item_id\":\"%s_%s%x\",\"output_index\":%u,\"content_index\":0", kinds[c->open].id,
	                responses_own_key(c), c->count[c->open], c->items);
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

void responses_send(struct responses_reply *c, int failed)
{
	frame_send(c, failed, "", 0);
}

void responses_begin(struct responses_reply *c)
{
	if (c->begun)
		return;
	c->begun = true;
	output_head(c->reply.output, 200, "text/event-stream; charset=utf-8", "");
}

int responses_put_state(struct responses_reply *c, const char *type, const char *status, const struct usage *u)
{
	return responses_event_begin(c, type) | buf_adds(&c->frame, ",\"response\":") |
	       responses_put(c, &c->frame, status, u) | responses_event_end(c);
}

int responses_put_added(struct responses_reply *c, unsigned place, const json_t *item)
{
	return responses_event_begin(c, "response.output_item.added") |
	       buf_addf(&c->frame, ",\"output_index\":%u,\"item\":", place) | responses_put_json(&c->frame, item) |
	       responses_event_end(c);
}

int responses_put_done(struct responses_reply *c, unsigned place, const char *item, size_t len)
{
	return responses_event_begin(c, "response.output_item.done") |
	       buf_addf(&c->frame, ",\"output_index\":%u,\"item\":", place) | buf_add(&c->frame, item, len) |
	       responses_event_end(c);
}

/* Reasoning of which the client has more than this program. */
static int put_left(struct responses_reply *c)
{
	char item[200];
	int len = snprintf(item, sizeof item,
	                   "{\"id\":\"rs_%s%x\",\"type\":\"reasoning\",\"summary\":[],\"status\":\"%s\"}",
	                   responses_own_key(c), c->count[KIND_REASONING], c->left ? "incomplete" : "completed");
	int failed = responses_add_item(c, c->items, item, (size_t)len);

	if (c->left)
		failed |= responses_put_done(c, c->items, item, (size_t)len);
	c->count[KIND_REASONING]++;
	c->items++;
	return failed;
}

void responses_start_stream(struct responses_reply *c)
{
	int failed = 0;

	responses_begin(c);
	if (c->left) {
		failed = put_left(c);
		c->left = false;
	} else if (!c->started) {
		c->started = true;
		failed = responses_put_state(c, "response.created", "in_progress", NULL) |
		         responses_put_state(c, "response.in_progress", "in_progress", NULL);
	}
	responses_send(c, failed);
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
	failed = make_prefix(c) | responses_event_begin(c, "response.output_item.added") |
	         buf_addf(frame, ",\"output_index\":%u,\"item\":", c->items) |
	         put_item(c, frame, "in_progress", false) | responses_event_end(c);
	return failed | responses_event_begin(c, "response.content_part.added") | put_place(c, frame) |
	       buf_adds(frame, ",\"part\":") | put_part(c, frame, false) | responses_event_end(c);
}

static int put_annotations(struct responses_reply *c)
{
	const json_t *annotation;
	int failed = 0;
	size_t i;

	json_array_foreach(c->annotations, i, annotation)
	{
		failed |= responses_event_begin(c, TEXT_EVENT ".annotation.added") | put_place(c, &c->frame) |
		          buf_addf(&c->frame, ",\"annotation_index\":%zu,\"annotation\":", i) |
		          responses_put_json(&c->frame, annotation) | responses_event_end(c);
	}
	return failed;
}

static int put_text_done(struct responses_reply *c, const char *item, size_t len)
{
	struct buf *frame = &c->frame;
	int failed = c->open == KIND_TEXT ? put_annotations(c) : 0;

	failed |= responses_event_begin(c, kinds[c->open].done) | put_place(c, frame) |
	          buf_adds(frame, kinds[c->open].done_more) | buf_adds(frame, ",\"text\":\"") |
	          buf_add(frame, c->text.data, c->text.len) | buf_adds(frame, "\"") | responses_event_end(c);
	failed |= responses_event_begin(c, "response.content_part.done") | put_place(c, frame) |
	          buf_adds(frame, ",\"part\":") | put_part(c, frame, true) | responses_event_end(c);
	return failed | responses_put_done(c, c->items, item, len);
}

void responses_close_item(struct responses_reply *c, const char *status)
{
	struct buf item;
	int failed;

	if (c->open == KIND_NONE)
		return;
	buf_init(&item, WHOLE_MAX);
	failed = put_item(c, &item, status, true) | responses_add_item(c, c->items, item.data, item.len);
	if (c->streams)
		failed |= put_text_done(c, item.data, item.len);
	buf_free(&item);
	if (c->open == KIND_TEXT) {
		json_decref(c->annotations);
		c->annotations = NULL;
	}
	c->count[c->open]++;
	c->items++;
	c->open = KIND_NONE;
	responses_send(c, failed);
}

void responses_flush(struct reply *r)
{
	static const char after[] = "\"" SEQUENCE;
	struct responses_reply *c = responses_of(r);
	enum kind kind = c->waiting_for;
	int failed = 0;
	size_t from;

	if (c->waiting.len == 0)
		return;
	if (c->open != kind || c->left) {
		responses_start_stream(c);
		responses_close_item(c, "completed");
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
			responses_close_item(c, "completed");
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

void responses_text(struct reply *r, const char *bytes, size_t len)
{
	add(responses_of(r), KIND_TEXT, bytes, len);
}

void responses_reasoning(struct reply *r, const char *bytes, size_t len)
{
	responses_of(r)->line_begun = bytes[len - 1] != '\n';
	add(responses_of(r), KIND_REASONING, bytes, len);
}

void responses_next_item(struct responses_reply *c)
{
	responses_flush(&c->reply);
	if (c->streams)
		responses_start_stream(c);
	responses_close_item(c, "completed");
}

/* ---- another program goes on ---- */

void responses_resume_left(struct responses_reply *c)
{
	c->lost |= put_left(c) != 0;
}

void responses_resume_text(struct responses_reply *c, const char *text, size_t len)
{
	c->open = c->waiting_for = KIND_TEXT;
	c->lost |= make_prefix(c) != 0 || json_text_add(&c->text, text, len) != 0;
}
