/* SPDX-License-Identifier: Apache-2.0 */
#include "core/stream/stream.h"

#include "core/stream/beside.h"
#include "core/stream/chunk.h"
#include "core/stream/filter.h"
#include "core/stream/halves.h"
#include "core/stream/sse.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The text of calls within the reasoning; what is more is not shown. */
#define HELD_CALLS_MAX (1u << 20)

/* Where the next piece comes from. */
enum state {
	EVENTS,         /* in the next event */
	REASONING,      /* in the reasoning of the chunk, which a server separated; then ... */
	CONTENT,        /* ... in its content */
	LAST_REASONING, /* the stream is closed: in what was held back of the reasoning, ... */
	LAST_CONTENT,   /* ... of the content; then ... */
	CALLS,          /* ... come the calls, and the end */
	OVER,
};

#define TEXT_MAX (16u << 20)

/* Where a delta ended within a character. */
struct open_end {
	struct buf marks; /* of halves.h: they wait for the next delta */
	struct buf text;  /* the delta with what waited for it */
};

struct stream {
	enum state state;
	bool closing;
	struct sse sse;
	struct chunk_reader reader;
	struct chunk chunk;       /* the current one */
	struct filter *content;   /* which may hold reasoning and calls */
	struct filter *reasoning; /* of a field of its own, which may hold tags as well */
	bool reasoning_open;      /* something went into that filter since its end */
	struct open_end open_content, open_reasoning;
	int64_t choice;                      /* the index of the one that is read; -1: none yet */
	bool content_begun, reasoning_begun; /* by deltas */
	struct calls calls;
	uint32_t reasoned;           /* a bit for each of them: it was written within the reasoning */
	bool answered;               /* text of the answer came */
	struct buf held_calls;       /* the text of those calls, as long as nothing follows it */
	struct filter_piece waiting; /* the piece that comes after it; PIECE_END: none */
	size_t next_call;
	struct beside beside;

	struct stream_progress progress;
	struct stream_usage usage;
	enum chunk_finish finish; /* the last one */
	char broken[120];         /* FINISH_BROKEN, for people */
	bool failed;              /* by an error event */
	bool understood;          /* at least one chunk */
	bool no_memory;
	bool verbatim; /* no filter sees the text */
	enum stream_end end;
	const char *text;
};

/* ---- its life ---- */

struct stream *stream_new(void)
{
	struct stream *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	sse_init(&s->sse);
	chunk_reader_init(&s->reader);
	buf_init(&s->held_calls, HELD_CALLS_MAX);
	for (size_t i = 0; i < 2; i++) {
		struct open_end *o = i == 0 ? &s->open_content : &s->open_reasoning;

		buf_init(&o->marks, TEXT_MAX);
		buf_init(&o->text, TEXT_MAX);
	}
	beside_init(&s->beside);
	s->content = filter_new();
	s->reasoning = filter_new();
	if (s->content == NULL || s->reasoning == NULL) {
		stream_free(s);
		return NULL;
	}
	stream_begin(s, NULL);
	return s;
}

void stream_free(struct stream *s)
{
	if (s == NULL)
		return;
	calls_clear(&s->calls);
	buf_free(&s->held_calls);
	beside_free(&s->beside);
	buf_free(&s->open_content.marks);
	buf_free(&s->open_content.text);
	buf_free(&s->open_reasoning.marks);
	buf_free(&s->open_reasoning.text);
	filter_free(s->content);
	filter_free(s->reasoning);
	chunk_reader_free(&s->reader);
	sse_free(&s->sse);
	free(s);
}

void stream_begin(struct stream *s, const char *const *tools)
{
	sse_free(&s->sse);
	sse_init(&s->sse);
	chunk_reader_free(&s->reader);
	chunk_clear(&s->chunk);
	filter_begin(s->content, tools);
	filter_begin_reasoning(s->reasoning, tools);
	calls_clear(&s->calls);
	calls_init(&s->calls, tools);
	beside_begin(&s->beside, tools != NULL && *tools != NULL);
	s->progress = (struct stream_progress){.completion_tokens = -1, .prompt_tokens = -1};
	s->usage = (struct stream_usage){-1, -1};
	s->verbatim = false;
	s->state = EVENTS;
	s->closing = s->reasoning_open = s->failed = s->understood = s->no_memory = false;
	s->content_begun = s->reasoning_begun = false;
	s->choice = -1;
	buf_reset(&s->open_content.marks);
	buf_reset(&s->open_reasoning.marks);
	s->finish = FINISH_NONE;
	s->next_call = 0;
	s->reasoned = 0;
	s->answered = false;
	buf_reset(&s->held_calls);
	s->waiting.kind = PIECE_END;
	s->text = "";
}

void stream_verbatim(struct stream *s)
{
	s->verbatim = true;
}

void stream_feed(struct stream *s, const char *bytes, size_t len)
{
	assert(s->state == EVENTS && !s->closing);
	if (!s->progress.done)
		sse_feed(&s->sse, bytes, len);
}

void stream_close(struct stream *s)
{
	if (!s->progress.done)
		sse_end(&s->sse);
	s->closing = true;
}

json_t *stream_beside_calls(const struct stream *s, const char *text, size_t len)
{
	return beside_calls(&s->beside, text, len);
}

const struct stream_progress *stream_progress(const struct stream *s)
{
	return &s->progress;
}

const struct stream_usage *stream_usage(const struct stream *s)
{
	return &s->usage;
}

/* ---- events ---- */

/* The word is the server's: whatever it is, it is shown as one line. */
static void note_broken(struct stream *s)
{
	const struct chunk_text *word = &s->chunk.finish_word;
	char shown[60] = "";
	size_t len = word->len < sizeof shown ? word->len : sizeof shown - 1;

	for (size_t i = 0; i < len; i++)
		shown[i] = word->bytes[i] < ' ' || word->bytes[i] > '~' ? '?' : word->bytes[i];
	snprintf(s->broken, sizeof s->broken, "the server ended the answer with finish_reason \"%.*s\"", (int)len,
	         shown);
}

static const char lost[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Joins the text of a delta to the half of a character that the one before left. */
static int join(struct open_end *o, struct chunk_text *text, bool halves, bool last)
{
	ptrdiff_t joined;

	buf_reset(&o->text);
	if (!halves) { /* and so it does not go on with the other half */
		if (buf_add(&o->text, lost, o->marks.len > 0 ? 3 : 0) < 0 ||
		    buf_add(&o->text, text->bytes, text->len) < 0)
			return -1;
		buf_reset(&o->marks);
	} else {
		if (buf_add(&o->marks, text->bytes, text->len) < 0 || o->marks.len == 0)
			return o->marks.len == 0 ? 0 : -1;
		joined = halves_join(&o->text, o->marks.data, o->marks.len, last);
		if (joined < 0)
			return -1;
		buf_consume(&o->marks, (size_t)joined);
	}
	*text = (struct chunk_text){.bytes = o->text.data, .len = o->text.len};
	return 0;
}

static void join_texts(struct stream *s)
{
	struct chunk *c = &s->chunk;
	bool ends = c->content.len > 0; /* the reasoning */

	if (c->reasoning.len > 0 || ends)
		s->no_memory |= join(&s->open_reasoning, &c->reasoning, c->halves || c->reasoning.len == 0, ends) < 0;
	if (ends)
		s->no_memory |= join(&s->open_content, &c->content, c->halves, false) < 0;
}

/* Some of several answers, or what deltas have brought already, is not read. */
static void drop_others(struct stream *s, bool has_token)
{
	struct chunk *c = &s->chunk;

	if (s->choice < 0 && (has_token || c->finish != FINISH_NONE))
		s->choice = c->choice;
	if (s->choice >= 0 && c->choice != s->choice) {
		c->content.len = c->reasoning.len = 0;
		c->tool_calls = c->blocks = NULL;
		c->content_was = 0;
		c->finish = FINISH_NONE;
	}
	if (c->message && s->content_begun)
		c->content.len = 0;
	if (c->message && s->reasoning_begun)
		c->reasoning.len = 0;
}

static void take_usage(struct stream *s)
{
	const struct chunk *c = &s->chunk;

	s->progress.prompt_tokens = c->prompt_tokens;
	if (c->cached_tokens >= 0)
		s->usage.cached_tokens = c->cached_tokens;
	if (c->reasoning_tokens >= 0)
		s->usage.reasoning_tokens = c->reasoning_tokens;
}

static void take_chunk(struct stream *s)
{
	struct chunk *c = &s->chunk;
	bool has_text = c->content.len > 0 || c->reasoning.len > 0;
	bool has_token = has_text || c->tool_calls != NULL;

	if (c->choice != s->choice || c->message) {
		drop_others(s, has_token);
		has_text = c->content.len > 0 || c->reasoning.len > 0;
		has_token = has_text || c->tool_calls != NULL;
	}
	s->understood = true;
	s->beside.content_was |= c->content_was;
	if (c->blocks != NULL)
		beside_take_blocks(&s->beside, c);
	s->content_begun |= c->content.len > 0 && !c->message;
	s->reasoning_begun |= c->reasoning.len > 0 && !c->message;
	if (c->halves || s->open_content.marks.len > 0 || s->open_reasoning.marks.len > 0)
		join_texts(s);
	s->progress.tokens += has_text;
	s->progress.events++;
	s->progress.chunks += has_token;
	if (c->completion_tokens >= 0)
		s->progress.completion_tokens = c->completion_tokens;
	if (c->prompt_tokens >= 0)
		take_usage(s);
	if (c->finish != FINISH_NONE) {
		s->finish = c->finish;
		if (c->finish == FINISH_BROKEN)
			note_broken(s);
		s->progress.finished = true;
	} else if (has_token) {
		s->progress.finished = false; /* it continues after its finish_reason */
	}
}

/* An event that is named "error" is one, whatever is in it. */
static void read_error_event(struct stream *s, const struct sse_event *event)
{
	struct chunk *c = &s->chunk;
	struct error_report report;

	if ((c->kind != CHUNK_CHUNK && c->kind != CHUNK_INVALID) || c->content.len > 0)
		return;
	error_report_of_body(&report, 0, event->data, event->len);
	chunk_set_error(&s->reader, c, &report);
}

/* The stream has ended, and with it the wait for the other half of a character: true where one is lost. */
static bool give_up_halves(struct stream *s)
{
	struct chunk *c = &s->chunk;

	if (s->open_content.marks.len == 0 && s->open_reasoning.marks.len == 0)
		return false;
	c->reasoning = (struct chunk_text){.bytes = lost, .len = s->open_reasoning.marks.len > 0 ? 3 : 0};
	c->content = (struct chunk_text){.bytes = lost, .len = s->open_content.marks.len > 0 ? 3 : 0};
	c->tool_calls = NULL;
	buf_reset(&s->open_content.marks);
	buf_reset(&s->open_reasoning.marks);
	return true;
}

/* The next chunk, into s->chunk. False: there is none, or none that counts. */
static bool next_chunk(struct stream *s)
{
	struct sse_event event;

	while (!s->progress.done && sse_next(&s->sse, &event)) {
		chunk_read(&s->reader, event.data, event.len, &s->chunk);
		if (event.error)
			read_error_event(s, &event);
		switch (s->chunk.kind) {
		case CHUNK_CHUNK:
			take_chunk(s);
			return true;
		case CHUNK_DONE:
			s->progress.done = true;
			break;
		case CHUNK_ERROR:
			s->failed = s->progress.done = true;
			break;
		case CHUNK_NO_MEMORY:
			s->no_memory = true;
			break;
		case CHUNK_INVALID:
			break;
		}
	}
	return false;
}

/* ---- the end ---- */

static enum stream_end ended_as(struct stream *s, enum stream_end end, const char *text)
{
	s->text = text;
	return end;
}

static enum stream_end judge(struct stream *s)
{
	enum stream_end broken = s->understood ? STREAM_CUT : STREAM_MALFORMED;

	if (s->failed)
		return ended_as(s, STREAM_ERROR, s->reader.error->text);
	if (s->no_memory || s->sse.no_memory || filter_lost(s->content) || filter_lost(s->reasoning))
		return ended_as(s, STREAM_NO_MEMORY, "no memory is left");
	if (s->sse.too_large)
		return ended_as(s, broken, "an event of the stream was too large");
	if (s->finish == FINISH_BROKEN)
		return ended_as(s, STREAM_CUT, s->broken);
	if (s->finish == FINISH_FILTERED)
		return ended_as(s, STREAM_FILTERED, "the server's content filter stopped the answer");
	if (s->finish == FINISH_LENGTH)
		return ended_as(s, STREAM_LIMIT, "");
	if (s->finish != FINISH_NONE || s->progress.done)
		return ended_as(s, STREAM_COMPLETE, "");
	return ended_as(s, broken,
	                s->understood ? "the stream ended without finish_reason or [DONE]"
	                              : "the answer is not a stream of chat events");
}

static bool is_whole(const struct stream *s)
{
	return s->end == STREAM_COMPLETE || s->end == STREAM_LIMIT;
}

static void next_call_or_end(struct stream *s, struct piece *p)
{
	if (is_whole(s) && s->next_call < s->calls.count) {
		*p = (struct piece){.kind = PIECE_CALL, .call = &s->calls.items[s->next_call++]};
		return;
	}
	*p = (struct piece){
		.kind = PIECE_END, .end = s->end, .error = s->failed ? s->reader.error : NULL, .text = s->text};
	s->state = OVER;
}

/* ---- pieces ---- */

static bool is_blank(const char *text, size_t len)
{
	while (len > 0 &&
	       (text[len - 1] == ' ' || text[len - 1] == '\n' || text[len - 1] == '\r' || text[len - 1] == '\t'))
		len--;
	return len == 0;
}

static void add_call(struct stream *s, const struct filter_piece *found)
{
	errno = 0;
	if (calls_add(&s->calls, found->name, found->arguments) < 0)
		s->no_memory |= errno == ENOMEM; /* only the call that is too many is lost */
	else if (found->reasoned)
		s->reasoned |= UINT32_C(1) << (s->calls.count - 1);
}

static void give(struct piece *p, const struct filter_piece *found)
{
	p->kind = found->kind;
	p->bytes = found->bytes;
	p->len = found->len;
}

/* The next piece of one of the filters. The text of a call within the reasoning waits until more than reasoning
 * has come: only then it is known to be no call, and is shown. */
static bool next_of(struct stream *s, struct filter *f, struct piece *p)
{
	struct filter_piece found;

	if (s->waiting.kind != PIECE_END) {
		found = s->waiting;
		s->waiting.kind = PIECE_END;
		buf_reset(&s->held_calls);
		give(p, &found);
		return true;
	}
	while (filter_next(f, &found)) {
		if (found.kind == PIECE_REASONING && f == s->content)
			beside_add(&s->beside, &s->beside.tagged, found.bytes, found.len);
		if (found.kind <= PIECE_REASONING && !found.reasoned && s->answered && s->held_calls.len == 0) {
			give(p, &found);
			return true;
		}
		if (found.kind == PIECE_CALL)
			add_call(s, &found);
		if (found.reasoned)
			buf_add(&s->held_calls, found.bytes, found.len);
		if (found.kind == PIECE_CALL || found.reasoned)
			continue;
		if (found.kind == PIECE_UNOPENED)
			s->answered = false;
		else if (found.kind == PIECE_TEXT && !s->answered)
			s->answered = !is_blank(found.bytes, found.len);
		if (found.kind != PIECE_UNOPENED && s->held_calls.len > 0 && !is_blank(found.bytes, found.len)) {
			s->waiting = found;
			found = (struct filter_piece){
				.kind = PIECE_REASONING, .bytes = s->held_calls.data, .len = s->held_calls.len};
		}
		give(p, &found);
		return true;
	}
	return false;
}

/* A call within the reasoning is one only where nothing else follows: else the model has only considered it. */
static void sort_out_reasoned(struct stream *s)
{
	const uint32_t all = s->calls.count == CALLS_MAX ? UINT32_MAX : (UINT32_C(1) << s->calls.count) - 1;

	for (size_t i = 0; i < s->calls.count; i++) {
		if ((s->reasoned >> i & 1) != 0 && (s->answered || s->reasoned != all)) {
			free(s->calls.items[i].name);
			s->calls.items[i].name = NULL; /* calls_finish drops it */
		}
	}
}

static void merge_calls(struct stream *s)
{
	errno = 0;
	s->calls.halves |= s->chunk.halves;
	if (calls_merge(&s->calls, s->chunk.tool_calls, s->chunk.message) < 0)
		s->no_memory |= errno == ENOMEM;
}

/* A text of the chunk as it is. */
static bool next_verbatim(struct chunk_text *text, enum piece_kind kind, struct piece *p)
{
	p->kind = kind;
	p->bytes = text->bytes;
	p->len = text->len;
	text->len = 0;
	return p->len > 0;
}

/* The content of the chunk comes, if it has any: the reasoning before it is whole. */
static void begin_content(struct stream *s)
{
	s->state = CONTENT;
	if (s->chunk.content.len == 0 || s->verbatim)
		return;
	if (s->reasoning_open) {
		s->reasoning_open = false;
		filter_end(s->reasoning);
		s->state = REASONING;
		return;
	}
	filter_feed(s->content, s->chunk.content.bytes, s->chunk.content.len);
}

bool stream_next(struct stream *s, struct piece *p)
{
	for (;;) {
		switch (s->state) {
		case EVENTS:
			if (next_chunk(s) || (s->closing && give_up_halves(s))) {
				if (s->chunk.reasoning.len == 0) {
					begin_content(s);
					break;
				}
				if (!s->verbatim)
					filter_feed(s->reasoning, s->chunk.reasoning.bytes, s->chunk.reasoning.len);
				beside_add(&s->beside, &s->beside.reasoning, s->chunk.reasoning.bytes,
				           s->chunk.reasoning.len);
				s->beside.as = s->chunk.reasoning_as;
				s->reasoning_open = !s->verbatim;
				s->state = REASONING;
				break;
			}
			if (!s->closing)
				return false;
			s->end = judge(s);
			filter_end(s->reasoning);
			s->state = LAST_REASONING;
			break;
		case REASONING:
			if (s->verbatim && next_verbatim(&s->chunk.reasoning, PIECE_REASONING, p))
				return true;
			if (next_of(s, s->reasoning, p))
				return true;
			begin_content(s);
			break;
		case CONTENT:
			if (s->verbatim && next_verbatim(&s->chunk.content, PIECE_TEXT, p))
				return true;
			if (next_of(s, s->content, p))
				return true;
			if (s->chunk.tool_calls != NULL)
				merge_calls(s);
			s->state = EVENTS;
			break;
		case LAST_REASONING:
			if (next_of(s, s->reasoning, p))
				return true;
			if (s->end == STREAM_COMPLETE)
				filter_end(s->content);
			else
				filter_break(s->content);
			s->state = LAST_CONTENT;
			break;
		case LAST_CONTENT:
			if (next_of(s, s->content, p))
				return true;
			sort_out_reasoned(s);
			beside_end(&s->beside);
			s->no_memory |= calls_finish(&s->calls, s->end == STREAM_LIMIT) < 0;
			s->end = judge(s);
			s->state = CALLS;
			break;
		case CALLS:
			next_call_or_end(s, p);
			return true;
		case OVER:
			return false;
		}
	}
}
