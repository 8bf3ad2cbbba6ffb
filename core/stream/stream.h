/* SPDX-License-Identifier: Apache-2.0 */
/* An LLM's streamed answer: bytes in, pieces out. Pure: no I/O, no clock, no event loop, and
 * it calls nobody back.
 *
 *   bytes -> events (sse) -> chunks (chunk_scan, chunk_parse) -> text, reasoning, calls (filter)
 *
 *   stream_begin(s, tools);
 *   while (bytes come) {
 *           stream_feed(s, bytes, len);
 *           while (stream_next(s, &piece)) ...
 *   }
 *   stream_close(s);
 *   while (stream_next(s, &piece)) ...       the last piece is PIECE_END
 */
#ifndef TT_STREAM_STREAM_H
#define TT_STREAM_STREAM_H

#include "core/stream/calls.h"
#include "core/stream/error_report.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum piece_kind {
	PIECE_TEXT,      /* of the answer */
	PIECE_REASONING, /* separated by the server, or between <think> and </think> */
	PIECE_UNOPENED,  /* a </think> that nothing opened: the text before it was reasoning */
	PIECE_CALL, /* a tool call; only after stream_close, before PIECE_END, and only where the answer is whole */
	PIECE_END,  /* the last one; only after stream_close */
};

/* How a stream ended. The first two are whole answers. */
enum stream_end {
	STREAM_COMPLETE,  /* a finish_reason that means whole, or [DONE] without any */
	STREAM_LIMIT,     /* the same, cut at the limit of tokens */
	STREAM_FILTERED,  /* the server's content filter stopped it */
	STREAM_CUT,       /* it ended without either, or with any other finish_reason */
	STREAM_ERROR,     /* an error event */
	STREAM_MALFORMED, /* nothing of it was understood */
	STREAM_NO_MEMORY,
};

struct piece {
	enum piece_kind kind; /* which of the rest is set */
	const char *bytes;    /* TEXT, REASONING: UTF-8, not terminated, len > 0; until the next call on the stream */
	size_t len;
	const struct call *call; /* CALL: until the next stream_begin */
	/* END */
	enum stream_end end;
	const struct error_report *error; /* ERROR: until stream_begin */
	const char *text; /* for people, where it failed ("" otherwise): one line, no secret; until stream_begin */
};

/* What has come so far; valid at any time. */
struct stream_progress {
	uint64_t chunks;           /* that carried a token: text, reasoning or a part of a call */
	uint64_t tokens;           /* of them, those with text or reasoning: the count where the server sends none */
	int64_t completion_tokens; /* the server's count, -1 = it sent none */
	bool finished;             /* a finish_reason came, and no token after it */
	bool done;                 /* [DONE] or an error event came: nothing counts after it */
	uint64_t events;           /* all that were understood, empty ones included: signs of life */
	int64_t prompt_tokens;     /* the server's count of the request's, -1 = it sent none */
};

struct stream;

struct stream *stream_new(void);    /* NULL: no memory */
void stream_free(struct stream *s); /* NULL is fine */

/* A new answer; forgets the one before. tools: names of the tools that the model was offered, ended by NULL,
 * borrowed until the next stream_begin; NULL: none (no text is then taken for a call). */
void stream_begin(struct stream *s, const char *const *tools);

/* After stream_begin: text and reasoning pass as they come, whatever tags are in them. */
void stream_verbatim(struct stream *s);

/* bytes are borrowed until stream_next returns false, which must happen before the next stream_feed. */
void stream_feed(struct stream *s, const char *bytes, size_t len);

/* No more bytes come. What was held back comes out; a call that was still being written as text
 * is dropped unless the answer is whole. */
void stream_close(struct stream *s);

/* The next piece, or false: feed more (or, after PIECE_END, it is over). */
bool stream_next(struct stream *s, struct piece *p);

const struct stream_progress *stream_progress(const struct stream *s);

/* What else the server counted so far; -1: it did not say. */
struct stream_usage {
	int64_t cached_tokens, reasoning_tokens;
};
const struct stream_usage *stream_usage(const struct stream *s);

/* Once it is over: what came beside its calls, as members of the assistant's message, by the names under
 * which the server sent them; servers refuse the next request without them. Reasoning that is too
 * long is not among them. text: of the answer. An object, empty where there is nothing: a new
 * reference; NULL: no memory. */
json_t *stream_beside_calls(const struct stream *s, const char *text, size_t len);

#endif
