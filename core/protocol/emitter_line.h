/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of the panel that carry foreign text. Pure. */
#ifndef TT_PROTOCOL_EMITTER_LINE_H
#define TT_PROTOCOL_EMITTER_LINE_H

#include "core/base/buf.h"

#define EMITTER_LINE_MAX 16384

/* Appends "Searching: <query>\n". -1: nothing is left of the query. */
int emitter_line_query(struct buf *out, const char *query);

/* Appends "Source: [title](url)\n" so that `Source:\s*\[([^\]]*)\]\(([^)]+)\)` matches
 * it, whatever title (may be NULL) and url hold. -1: no URL that a browser may follow. */
int emitter_line_source(struct buf *out, const char *title, const char *url);

#endif
