/* SPDX-License-Identifier: Apache-2.0 */
/* What a server says about how an answer ended (finish_reason). Pure. */
#ifndef TT_STREAM_FINISH_H
#define TT_STREAM_FINISH_H

#include <stddef.h>

enum chunk_finish {
	FINISH_NONE,
	FINISH_STOP,       /* whole */
	FINISH_TOOL_CALLS, /* whole, it ends with calls */
	FINISH_LENGTH,     /* cut at a limit of tokens */
	FINISH_FILTERED,   /* stopped by a content filter */
	FINISH_BROKEN,     /* any other word: the answer is not whole */
};

/* The meaning of a word, whatever its case and its separators. An empty one is none, and so is the word
 * null. */
enum chunk_finish finish_parse(const char *word, size_t len);

#endif
