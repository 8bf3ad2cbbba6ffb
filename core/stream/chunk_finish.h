/* SPDX-License-Identifier: Apache-2.0 */
/* What the two readers of a delta share. */
#ifndef TT_STREAM_CHUNK_FINISH_H
#define TT_STREAM_CHUNK_FINISH_H

#include "core/stream/chunk.h"

/* An empty chunk. */
void chunk_clear(struct chunk *d);

/* The meaning of a finish_reason; an empty one is none, and so is the word null. */
enum chunk_finish chunk_finish_parse(const char *word, size_t len);

#endif
