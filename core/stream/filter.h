/* SPDX-License-Identifier: Apache-2.0 */
/* What a model wrote as text, sorted: answer, reasoning, text-encoded tool calls. Pure; one
 * thread at a time.
 *
 * Fed with text that is cut anywhere, it gives the same whatever the cuts were, and holds back no more than
 * what may still become a call or a token. The table of wrappers (wrappers.def) says what it knows.
 *
 * Calls. One counts where its name is a known tool's and it has arguments; everything else is plain text and
 * passes unchanged. What is only quoted is not run: nothing counts in a fence, in backticks or in a quoted line.
 *  - In a wrapper of the chat template's tokens it counts anywhere.
 *  - In another wrapper, not within a line of prose: it begins the line, or a sentence, or ends the line.
 *  - Without a wrapper ({"name": ...}, [NAME(...)]) only where the answer begins, or at the beginning of a line
 *    after a whole sentence.
 *  - In a fence that is unnamed or named json or tool_code, only if that is the whole answer.
 *
 * Reasoning. An opening counts only where the answer, or its next part after calls, begins; a closing where
 * its reasoning is open, unless it is quoted on both sides. A closing that nothing opened (chat templates that
 * put the opening into the prompt) is a piece of its own where it begins a line, or stands close to the text
 * before it; within a sentence, in code, or after an opening that was shown it is text.
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
	const char *name;      /* CALL: of the tool, as it is in the list */
	const char *arguments; /* CALL: JSON */
	/* CALL, and REASONING that stands around it: it is within the reasoning, so it is a call only if
	 * nothing but reasoning comes, and else is reasoning (bytes, of a CALL as well). */
	bool reasoned;
};

struct filter;

struct filter *filter_new(void); /* begun, without tools; NULL: no memory */
void filter_free(struct filter *f);

/* A new text; forgets what was held back. tools: names, ended by NULL, borrowed until the
 * next filter_begin; NULL: none, and no text is taken for a call. */
void filter_begin(struct filter *f, const char *const *tools);
/* The same for a text that is reasoning as a whole. */
void filter_begin_reasoning(struct filter *f, const char *const *tools);

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
