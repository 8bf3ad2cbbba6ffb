/* SPDX-License-Identifier: Apache-2.0 */
/* What a model wrote as text, sorted: answer, reasoning, text-encoded tool calls. Pure; one
 * thread at a time.
 *
 * Fed with text that is cut anywhere, it gives the same whatever the cuts were, and holds
 * back no more than a possible beginning of a marker:
 *  - `<|python_tag|>`, the word python_tag in any split form, `<|eot_id|>`: dropped;
 *  - `<think>...</think>` in the content: reasoning; a `</think>` that nothing opened (chat
 *    templates that put `<think>` into the prompt) is a piece of its own;
 *  - a text-encoded tool call (the forms of Llama, Hermes, Qwen, Mistral, and JSON anywhere,
 *    bare or in a fence): a call, where its name is a known tool and it has parameters or
 *    arguments; else it is plain text and passes unchanged.
 *
 *   filter_begin(f, tools);
 *   filter_feed(f, bytes, len);
 *   while (filter_next(f, &piece)) ...       all of them before the next filter_feed
 *   ...
 *   filter_end(f);
 *   while (filter_next(f, &piece)) ... */
#ifndef TT_STREAM_FILTER_H
#define TT_STREAM_FILTER_H

#include "core/stream/stream.h"

struct filter_piece {
	enum piece_kind kind;  /* TEXT, REASONING, UNOPENED or CALL */
	const char *bytes;     /* TEXT, REASONING: len > 0. These and those of a call are valid */
	size_t len;            /* until the next call on the filter. */
	const char *name;      /* CALL */
	const char *arguments; /* CALL: JSON */
};

struct filter;

struct filter *filter_new(void); /* begun, without tools; NULL: no memory */
void filter_free(struct filter *f);

/* A new text; forgets what was held back. tools: names, ended by NULL, borrowed until the
 * next filter_begin; NULL: none, and no text is taken for a call. */
void filter_begin(struct filter *f, const char *const *tools);

/* bytes are borrowed until filter_next returns false. A text without the first byte of any
 * marker comes out without a copy. */
void filter_feed(struct filter *f, const char *bytes, size_t len);

/* The text is whole: what was held back comes out, and then another text may begin. */
void filter_end(struct filter *f);
/* The text broke off: the same, but a call that is not whole is dropped. */
void filter_break(struct filter *f);

/* The next piece, or false: feed more. */
bool filter_next(struct filter *f, struct filter_piece *p);

/* Text was lost since filter_begin, as there was no memory to hold it. */
bool filter_lost(const struct filter *f);

#endif
