/* SPDX-License-Identifier: Apache-2.0 */
/* Where in the text that was shown a place is: at the beginning of a line, after a sentence, in code. What is
 * in code (a fence, backticks, a quoted line) is quoted. Pure. */
#ifndef TT_STREAM_PROSE_H
#define TT_STREAM_PROSE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct prose {
	char last[24]; /* the last bytes that were shown */
	size_t len;    /* of them */
	size_t ticks;  /* that opened a span of code; 0: none is open */
	size_t fence;  /* how many opened a fence; 0: none is open */
	char fence_byte;
	bool quote; /* the line begins with > */
};

void prose_begin(struct prose *p);

/* Here, as each token adds one. */
static inline void prose_add(struct prose *p, const char *bytes, size_t len)
{
	const size_t max = sizeof p->last;
	size_t kept = p->len;

	if (len > max) {
		bytes += len - max;
		len = max;
	}
	if (kept + len > max) {
		kept = max - len;
		memmove(p->last, p->last + p->len - kept, kept);
	}
	memcpy(p->last + kept, bytes, len);
	p->len = kept + len;
}

static inline bool prose_in_code(const struct prose *p)
{
	return p->ticks > 0 || p->fence > 0 || p->quote;
}

/* Spans and quotes end with their line. */
static inline void prose_newline(struct prose *p)
{
	p->ticks = 0;
	p->quote = false;
}

/* A place: text[at], where text follows what was added. */
struct place {
	const struct prose *prose;
	const char *text;
	size_t at;
};

char prose_before(struct place place); /* the byte before it; '\n' where nothing is */
/* Only whitespace is before it in its line. */
bool prose_begins_line(struct place place);
/* The same, and it is indented so far that it is code. */
bool prose_is_indented_code(struct place place);
/* What is before it is a whole sentence, or nothing. */
bool prose_sentence_ended(struct place place);

/* A run of backticks or tildes, whose next byte is `after` ('\n' at the end). It opens or closes code, or
 * means nothing. */
void prose_run(struct prose *p, struct place place, size_t run, char after);

#endif
