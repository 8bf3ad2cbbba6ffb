/* SPDX-License-Identifier: Apache-2.0 */
/* What is read of a request and its answer that pass as bytes: which model is wanted, whether the answer is whole,
 * and what it cost. Nothing of either is built as values, but for a few short pieces. Pure. */
#ifndef TT_PROTOCOL_OPENAI_RELAY_H
#define TT_PROTOCOL_OPENAI_RELAY_H

#include "core/base/buf.h"
#include "core/stream/error_report.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the request ---------------------------------------------------------------------------- */

struct openai_relay_request {
	char *model;     /* as the client calls it */
	size_t at, len;  /* where that is in the body, with its quotes */
	bool streams;    /* the client wants a stream */
	int64_t tokens;  /* that the answer has at most; 0: it does not say */
	int64_t choices; /* answers that are wanted at once */
};
void openai_relay_request_clear(struct openai_relay_request *r);

/* 0 with r filled; 400 with *problem (a new reference), the JSON body that says what is wrong; -1: no memory. */
int openai_relay_parse(const char *body, size_t len, struct openai_relay_request *r, json_t **problem);
/* The same of a body that is known to be a JSON object. */
int openai_relay_read(const char *body, size_t len, struct openai_relay_request *r, json_t **problem);

/* The body with another model in that place, all else as it was; free(). NULL: no memory. */
char *openai_relay_body(const char *body, size_t len, const struct openai_relay_request *r, const char *model,
                        size_t *new_len);

/* ---- the answer ------------------------------------------------------------------------------ */

/* What a whole answer, or the end of a stream, tells. */
struct openai_relay_end {
	bool whole;
	bool failed;                              /* it tells of an error: */
	struct error_report error;                /* that one */
	int64_t prompt_tokens, completion_tokens; /* as the LLM's server counts; -1: it did not say */
};

/* Of an answer that is no stream, and came as a whole. */
void openai_relay_judge(const char *body, size_t len, struct openai_relay_end *e);

/* How many bytes of events there are up to the last empty line. Those before `from` were searched before. */
size_t openai_relay_events(const char *bytes, size_t len, size_t from);

/* Whether the first event that is more than a comment tells of an error; *known: there is such an event. */
bool openai_relay_begins_with_error(const char *events, size_t len, bool *known, struct error_report *error);

/* A stream, as it passes: only its last events are kept, and how many there were. */
#define OPENAI_RELAY_TAIL 16384u
struct openai_relay_stream {
	struct buf tail;
	int64_t events; /* that have data */
};
void openai_relay_stream_init(struct openai_relay_stream *s);
void openai_relay_stream_free(struct openai_relay_stream *s);
void openai_relay_stream_add(struct openai_relay_stream *s, const char *events, size_t len); /* whole ones */
void openai_relay_stream_judge(const struct openai_relay_stream *s, struct openai_relay_end *e);

#endif
