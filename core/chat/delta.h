/* One event of an LLM's stream, understood. Pure.
 *
 * Two readers give the same result: delta_scan, a strict scanner for events of the usual
 * form that builds nothing, and delta_parse, on jansson, for everything else. Both are
 * behind delta_read. Any field may be missing or null. */
#ifndef TT_CHAT_DELTA_H
#define TT_CHAT_DELTA_H

#include "core/base/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum delta_kind {
	DELTA_CHUNK,   /* anything of the stream, an empty one included */
	DELTA_DONE,    /* [DONE] */
	DELTA_ERROR,   /* an error object in the stream; error says what */
	DELTA_INVALID, /* not understood: skipped, the stream goes on */
};

enum delta_finish {
	FINISH_NONE, FINISH_STOP, FINISH_LENGTH, FINISH_TOOL_CALLS, FINISH_ABORT, FINISH_OTHER,
};

struct delta_text {
	const char *bytes; /* decoded UTF-8, not terminated; NULL = none */
	size_t len;
};

struct delta {
	enum delta_kind kind;
	struct delta_text content;   /* choices[0].delta.content or choices[0].text */
	struct delta_text reasoning; /* delta.reasoning, reasoning_content or thinking */
	enum delta_finish finish;
	bool has_usage;
	int64_t prompt_tokens, completion_tokens;
	json_t *tool_calls;          /* delta.tool_calls (or message.tool_calls): array, borrowed; NULL */
	char error[256];             /* DELTA_ERROR: the server's message, one line, cut at a code point */
	long error_status;           /* its code where it is a number, else 0 */
};

/* Holds what a struct delta points into until the next event. */
struct delta_reader {
	struct buf scratch; /* decoded strings */
	json_t *json;       /* the parsed event, where it was parsed */
};
void delta_reader_init(struct delta_reader *r);
void delta_reader_free(struct delta_reader *r);

/* Understands one event's data; what d points to is valid until the next call. */
void delta_read(struct delta_reader *r, const char *data, size_t len, struct delta *d);

/* The two halves, for tests and fuzzers. delta_scan returns false for "not mine". */
bool delta_scan(struct delta_reader *r, const char *data, size_t len, struct delta *d);
void delta_parse(struct delta_reader *r, const char *data, size_t len, struct delta *d);

/* The message of an error body that came with an HTTP error status, in any of the known
 * shapes ({"error":{"message"}}, {"error":"..."}, {"message"}, {"detail"}, plain text). */
void delta_error_text(const char *body, size_t len, char *out, size_t size);

/* Whether an error text says that the context window is exceeded. */
bool delta_is_context_overflow(const char *text);

#endif
