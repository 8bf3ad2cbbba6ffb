/* SPDX-License-Identifier: Apache-2.0 */
/* One event of an LLM's stream, understood. Pure.
 *
 * Two readers give the same result: chunk_scan, a strict scanner for events of the usual
 * form that builds nothing, and chunk_parse, on jansson, for everything else. Both are
 * behind chunk_read. Any field may be missing or null. */
#ifndef TT_STREAM_CHUNK_H
#define TT_STREAM_CHUNK_H

#include "core/base/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum chunk_kind {
	CHUNK_CHUNK,   /* anything of the stream, an empty one included */
	CHUNK_DONE,    /* [DONE] */
	CHUNK_ERROR,   /* an error object in the stream; error says what */
	CHUNK_INVALID, /* not understood: skipped, the stream goes on */
};

enum chunk_finish {
	FINISH_NONE,
	FINISH_STOP,
	FINISH_LENGTH,
	FINISH_TOOL_CALLS,
	FINISH_ABORT,
	FINISH_OTHER,
};

struct chunk_text {
	const char *bytes; /* decoded UTF-8, not terminated; NULL = none */
	size_t len;
};

struct chunk {
	enum chunk_kind kind;
	struct chunk_text content;   /* choices[0].delta.content or choices[0].text */
	struct chunk_text reasoning; /* delta.reasoning, reasoning_content or thinking */
	enum chunk_finish finish;
	bool has_usage;
	int64_t prompt_tokens, completion_tokens;
	json_t *tool_calls; /* delta.tool_calls (or message.tool_calls): array, borrowed; NULL */
	char error[256];    /* CHUNK_ERROR: the server's message, one line, cut at a code point */
	long error_status;  /* its code where it is a number, else 0 */
};

/* Holds what a struct chunk points into until the next event. */
struct chunk_reader {
	struct buf scratch; /* decoded strings */
	json_t *json;       /* the parsed event, where it was parsed */
};
void chunk_reader_init(struct chunk_reader *r);
void chunk_reader_free(struct chunk_reader *r);

/* Understands one event's data; what d points to is valid until the next call. */
void chunk_read(struct chunk_reader *r, const char *data, size_t len, struct chunk *d);

/* The two halves, for tests and fuzzers. chunk_scan returns false for "not mine". */
bool chunk_scan(struct chunk_reader *r, const char *data, size_t len, struct chunk *d);
void chunk_parse(struct chunk_reader *r, const char *data, size_t len, struct chunk *d);

/* The message of an error body that came with an HTTP error status, in any of the known
 * shapes ({"error":{"message"}}, {"error":"..."}, {"message"}, {"detail"}, plain text). */
void chunk_error_text(const char *body, size_t len, char *out, size_t size);

/* Whether an error text says that the context window is exceeded. */
bool chunk_is_context_overflow(const char *text);

#endif
