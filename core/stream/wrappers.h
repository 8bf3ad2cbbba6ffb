/* SPDX-License-Identifier: Apache-2.0 */
/* The table of wrappers (wrappers.def), compiled. Pure. */
#ifndef TT_STREAM_WRAPPERS_H
#define TT_STREAM_WRAPPERS_H

#include "core/stream/cursor.h"

#include <stddef.h>
#include <stdint.h>

enum wrapper_kind {
	WRAPPER_CALL,
	WRAPPER_THINK,
	WRAPPER_ANSWER,
	WRAPPER_HEADER,
	WRAPPER_DROP,
	WRAPPER_JSON,  /* no row: a call that begins with its own first byte */
	WRAPPER_FENCE, /* no row: a fence of code that is the whole answer */
};

enum { WRAPPER_TOKEN = 1, WRAPPER_ALWAYS = 2, WRAPPER_START = 4, WRAPPER_HEAD = 8, WRAPPER_WORDS = 16 };

struct wrapper {
	enum wrapper_kind kind;
	unsigned flags;
	const char *opening, *closing;
	uint8_t opening_len, closing_len;
};

extern const struct wrapper wrappers[];
extern const size_t wrappers_count;

/* A token of a chat template that has no row; a call without a wrapper; one in a fence. */
extern const struct wrapper wrapper_token, wrapper_json, wrapper_fence;

/* The openings and closings of the rows, for a look-up by their first two bytes. */
struct wrapper_text {
	const char *text;
	const struct wrapper *wrapper;
	bool opening;
	const struct wrapper_text *next; /* one that may begin alike; NULL: none */
};

void wrappers_prepare(void); /* before the first look-up; from any thread, again and again */

/* Those that may begin at a byte; len: how many bytes are there (0: none begins). */
const struct wrapper_text *wrapper_texts(const char *at, size_t len);

#endif
