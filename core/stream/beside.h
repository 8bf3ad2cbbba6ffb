/* SPDX-License-Identifier: Apache-2.0 */
/* What an LLM sends beside its tool calls: reasoning, as it came, which some want back with the
 * results. Pure. */
#ifndef TT_STREAM_BESIDE_H
#define TT_STREAM_BESIDE_H

#include "core/base/buf.h"
#include "core/stream/chunk.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct beside {
	bool wanted, lost; /* lost: it is too long, or there was no memory for it */
	unsigned content_was;
	enum chunk_reasoning as;
	struct buf reasoning;  /* of a field of its own */
	struct buf tagged;     /* between tags of the content */
	const char *name;      /* of: */
	json_t *blocks;        /* typed ones; the last is still open: */
	struct buf block_text; /* its text so far, */
	const char *block_key; /* of this name; NULL: it has none */
};

void beside_init(struct beside *b); /* of a zeroed one */
void beside_free(struct beside *b);

/* Another answer. wanted: calls may follow, as tools were offered; else nothing is remembered. */
void beside_begin(struct beside *b, bool wanted);
void beside_add(struct beside *b, struct buf *to, const char *bytes, size_t len);
void beside_take_blocks(struct beside *b, const struct chunk *c);
void beside_end(struct beside *b); /* no more of it comes */

/* The members of the message that makes the calls, with its text: an object, a new reference. NULL: no
 * memory. */
json_t *beside_calls(const struct beside *b, const char *text, size_t len);

#endif
