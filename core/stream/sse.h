/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events, read from bytes that are cut anywhere: CR, LF or CRLF line ends, an
 * optional space after "data:", comments (": ping"), several data lines of one event joined
 * by \n, fields other than data, event, id and retry skipped. JSON without "data:", on one line or many, is
 * an event as well: some servers answer with it whatever they were asked for. Pure; one thread at
 * a time.
 *
 *   sse_feed(s, bytes, len);
 *   while (sse_next(s, &event)) ...          all of them before the next sse_feed
 *   ...
 *   sse_end(s);
 *   while (sse_next(s, &event)) ... */
#ifndef TT_STREAM_SSE_H
#define TT_STREAM_SSE_H

#include "core/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define SSE_LINE_MAX (8u << 20)
#define SSE_ID_MAX   255

struct sse {
	struct buf line; /* the line that is not complete yet */
	struct buf data; /* data of the event so far, where it has several lines */
	bool has_data, skip_lf, too_long, bom_checked, ended;
	bool error;              /* the event is named so */
	bool in_string, escaped; /* of JSON without "data:"; and how deep in it we are: */
	size_t depth;

	char id[SSE_ID_MAX + 1]; /* the last one; "": none */
	int64_t retry_ms;        /* -1: none */

	/* Events were lost, because of a line beyond SSE_LINE_MAX or because there was no
	 * memory for one. Reading continues after them. Set until sse_init, or until the caller
	 * clears it. */
	bool too_large, no_memory;

	/* What was fed and not read yet. The next line ends stay known between two lines, so that
	 * bytes with one kind of line end alone are not searched for the other again and again. */
	const char *at, *end;
	const char *lf, *cr; /* the next ones, or end; NULL: not searched for */
};

struct sse_event {
	const char *data; /* not terminated; until the next call on the struct sse */
	size_t len;
	bool error; /* it is named "error" */
};

void sse_init(struct sse *s);
void sse_free(struct sse *s);

/* bytes are borrowed until sse_next returns false. */
void sse_feed(struct sse *s, const char *bytes, size_t len);

/* The stream has ended: an event whose empty line is missing is given out next. */
void sse_end(struct sse *s);

/* The next event, or false: feed more. An event that is whole in the bytes that were fed is
 * not copied. */
bool sse_next(struct sse *s, struct sse_event *event);

#endif
