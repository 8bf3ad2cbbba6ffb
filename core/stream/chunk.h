/* SPDX-License-Identifier: Apache-2.0 */
/* One event of an LLM's stream, understood. Pure.
 *
 * Two readers give the same result: chunk_scan, a strict scanner for events of the usual
 * form that builds nothing, and chunk_parse, on jansson, for everything else. Any field may
 * be missing or null. */
#ifndef TT_STREAM_CHUNK_H
#define TT_STREAM_CHUNK_H

#include "core/base/buf.h"
#include "core/stream/error_report.h"
#include "core/stream/finish.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum chunk_kind {
	CHUNK_CHUNK,     /* anything of the stream, an empty one included */
	CHUNK_DONE,      /* [DONE] */
	CHUNK_ERROR,     /* an error object in the stream; the reader's error says what */
	CHUNK_INVALID,   /* not understood: skipped, the stream continues */
	CHUNK_NO_MEMORY, /* lost: there was no memory to read it */
};

/* Where reasoning came: a member of its own, by the names of chunk_reasoning_names, or parts of the
 * content. */
enum chunk_reasoning {
	CHUNK_REASONING,
	CHUNK_REASONING_CONTENT,
	CHUNK_THINKING,
	CHUNK_REASONING_NAMES,
	CHUNK_REASONING_PARTS = CHUNK_REASONING_NAMES,
};
extern const char *const chunk_reasoning_names[CHUNK_REASONING_NAMES];

/* What the content was, where it was not text: servers that want it back want it as it was. */
enum { CHUNK_CONTENT_NULL = 1, CHUNK_CONTENT_STRING = 2 };

struct chunk_text {
	const char *bytes; /* decoded UTF-8, not terminated; NULL = none */
	size_t len;
};

struct chunk {
	enum chunk_kind kind;
	struct chunk_text content;   /* choices[0].delta.content or choices[0].text */
	struct chunk_text reasoning; /* delta.reasoning, reasoning_content or thinking */
	enum chunk_finish finish;
	struct chunk_text finish_word; /* FINISH_BROKEN: the server's */
	bool halves;                   /* marks of halves.h may be in its texts */
	bool message;                  /* it is a whole message: what deltas brought before comes again */
	unsigned char content_was;
	enum chunk_reasoning reasoning_as;
	int64_t choice;            /* its index */
	json_t *tool_calls;        /* delta.tool_calls (or message.tool_calls): array, borrowed; NULL */
	const char *blocks_name;   /* the name of: */
	json_t *blocks;            /* reasoning as typed blocks: array, borrowed; NULL */
	int64_t completion_tokens; /* of usage; -1 = none */
	int64_t prompt_tokens, cached_tokens, reasoning_tokens; /* likewise */
};

/* Holds what a struct chunk points into until the next event. */
struct chunk_reader {
	struct buf scratch; /* decoded strings */
	json_t *json;       /* the parsed event, where it was parsed */
	char finish[48];    /* a finish_reason that is no string */
	struct error_report
		*error; /* the last CHUNK_ERROR, whose text is never empty; NULL: none, as in most streams */
	bool halves;    /* what is in json was repaired, and has marks of halves.h */
};
void chunk_reader_init(struct chunk_reader *r);
void chunk_reader_free(struct chunk_reader *r);

/* Understands one event's data; what c points to is valid until the next call, and as long
 * as data is. */
void chunk_read(struct chunk_reader *r, const char *data, size_t len, struct chunk *c);

/* The two halves. chunk_scan returns false for "not mine". */
bool chunk_scan(struct chunk_reader *r, const char *data, size_t len, struct chunk *c);
void chunk_parse(struct chunk_reader *r, const char *data, size_t len, struct chunk *c);

/* What both share: an empty chunk, and a finish_reason. */
void chunk_clear(struct chunk *c);
void chunk_set_finish(struct chunk *c, const char *word, size_t len);

/* c is an error: this one. CHUNK_NO_MEMORY where it cannot be kept. */
void chunk_set_error(struct chunk_reader *r, struct chunk *c, const struct error_report *error);

#endif
