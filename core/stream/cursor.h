/* SPDX-License-Identifier: Apache-2.0 */
/* Reads forward through text that may not be whole yet. Pure.
 *
 * What is asked for is there (MATCH_YES, and the cursor has moved past it), cannot come any more
 * (MATCH_NO), or may still come (MATCH_MAYBE: never where the text has ended). The answer depends only
 * on the text up to the place where it became clear, so it is the same wherever the text was cut. */
#ifndef TT_STREAM_CURSOR_H
#define TT_STREAM_CURSOR_H

#include <stdbool.h>
#include <stddef.h>

enum match { MATCH_NO, MATCH_MAYBE, MATCH_YES };

struct cursor {
	const char *at, *end;
	bool ended; /* nothing comes after end */
};

struct span {
	const char *text;
	size_t len;
};

/* What it means that the text is used up. */
enum match cursor_short(const struct cursor *c);

enum match cursor_take(struct cursor *c, const char *literal);

/* Moves past the next literal; before: what stands in front of it. */
enum match cursor_until(struct cursor *c, const char *literal, struct span *before);

void cursor_whitespace(struct cursor *c);

/* A control token of a chat template, whatever its name: <|NAME|>, also with the bars of full width that
 * DeepSeek uses. Operators of programming languages (<| and |>) stand apart and are none. */
enum match cursor_token(struct cursor *c);

/* Letters, digits and what else names of functions and parameters have. MAYBE: it may go on. */
enum match cursor_name(struct cursor *c, struct span *name);

bool cursor_is_whitespace(char c);
bool span_is(const struct span *s, const char *text);
bool span_starts(const struct span *s, const char *text);
void span_strip(struct span *s);

#endif
