/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events, read from bytes that come in any pieces: CR, LF or CRLF line
 * ends, an optional blank after "data:", comments (": ping"), several data lines of
 * one event joined by \n, fields other than data skipped. Pure. */
#ifndef TT_STREAM_SSE_H
#define TT_STREAM_SSE_H

#include "core/base/buf.h"

#include <stdbool.h>

#define SSE_LINE_MAX (8u << 20)

struct sse {
	struct buf line; /* the line that is not whole yet */
	struct buf data; /* data of the event so far, where it has several lines */
	bool has_data, skip_lf, too_long;
	bool bom_checked;
	bool no_memory; /* the cause of at least one -1 */
};

void sse_init(struct sse *s);
void sse_free(struct sse *s);

/* data is not terminated and only valid during the call. Return false to stop: the rest
 * of the bytes is not looked at (the reader wants no more of this stream). */
typedef bool sse_event_fn(void *arg, const char *data, size_t len);

/* An event that lies whole in bytes is delivered from there without a copy. -1: no
 * memory, or a line beyond SSE_LINE_MAX (that line is skipped; reading goes on). */
int sse_feed(struct sse *s, const char *bytes, size_t len, sse_event_fn *event, void *arg);

/* The stream ended: an event whose empty line is missing is delivered. */
int sse_end(struct sse *s, sse_event_fn *event, void *arg);

#endif
