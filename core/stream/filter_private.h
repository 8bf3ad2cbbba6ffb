/* SPDX-License-Identifier: Apache-2.0 */
/* The filter: filter.c takes the text apart where filter_marks.c finds something that counts. */
#ifndef TT_STREAM_FILTER_PRIVATE_H
#define TT_STREAM_FILTER_PRIVATE_H

#include "core/base/buf.h"
#include "core/stream/filter.h"
#include "core/stream/prose.h"
#include "core/stream/text_call.h"
#include "core/stream/wrappers.h"

struct filter {
	/* What was fed and not sorted yet: the caller's bytes, or held. */
	const char *in;
	size_t in_len, at;
	struct buf held; /* what waits for more */
	bool ended, broken, no_memory;
	struct filter_piece *piece; /* where the next one goes */
	bool has_piece;
	char *arguments; /* of the call that was given out last */

	const char *const *tools;
	bool all_reasoning;
	const struct wrapper *thinking; /* whose reasoning is open; NULL: this is the answer */
	const struct wrapper *wrapped;  /* whose answer is open */
	const struct wrapper *words;    /* with which the answer began, and which may turn out to be reasoning */
	bool at_start;                  /* no word of the answer yet: whitespace is held, and dropped before a marker */
	bool shown;                     /* a word of the answer was shown */
	bool reasoned;                  /* reasoning was recognised */
	bool quotes_opening;            /* an opening of reasoning was shown as text */
	struct prose answer, reasoning;
	size_t tag_rest; /* what was shown ends with this many bytes of python_tag */

	/* A call that is being read. All of it is kept until that is decided. */
	bool trying;
	struct text_call_body body;
	enum text_call_need need;
	size_t try_from; /* where it begins after its opening */
	size_t tried;    /* how much there was when it was read last */
	bool in_body;    /* calls were found: more may follow */
	size_t calm;     /* bytes from here that failed as a call: none begins in them */
};

/* What begins at one place. */
enum action { DROP, OPEN, CLOSE, UNOPENED, CALL, HEADER };

struct marker {
	enum action action;
	const struct wrapper *wrapper;
	size_t len;
};

static inline struct prose *filter_prose(struct filter *f)
{
	return f->thinking != NULL ? &f->reasoning : &f->answer;
}

static inline bool filter_may_call(const struct filter *f, size_t ahead)
{
	return f->tools != NULL && ahead >= f->calm;
}

/* What begins at a place, at which the cursor is; skip: bytes that are text for sure, at least 1. */
enum match filter_mark(struct filter *f, const struct place *place, const struct cursor *c, struct marker *found,
                       size_t *skip);

/* The same of the table's rows alone: the longest one. */
enum match filter_mark_row(struct filter *f, const struct place *place, const struct cursor *c, struct marker *found);

#endif
