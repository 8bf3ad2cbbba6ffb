/* SPDX-License-Identifier: Apache-2.0 */
/* A turn's part of a distributed trace: W3C Trace Context as it came, its own spans as OTLP/JSON has them. What is
 * received is passed on also where nothing is recorded. No prompt, answer or secret is part of a span. Pure but for
 * clocks and random numbers. */
#ifndef TT_TRACE_TRACE_H
#define TT_TRACE_TRACE_H

#include "core/base/log.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_STATE_MAX 512
#define TRACE_SPANS_MAX 128 /* of one turn; further ones are counted */

/* ---- the headers ---------------------------------------------------------------------------- */

struct trace_context {
	bool valid;
	bool sampled;
	char trace_id[33], span_id[17]; /* lower-case hexadecimal */
	char state[TRACE_STATE_MAX + 1];
};

/* NULL: the header did not come. A traceparent that is not valid counts as none, and so does its tracestate; of a
 * tracestate that is too long, the entries at its end are left out, and one that is not valid is dropped. */
void trace_context_parse(const char *traceparent, const char *tracestate, struct trace_context *out);

/* So many hexadecimal digits, 32 at most and not all 0, and a NUL. Anyone may know which come next, but they are others
 * each time, in each process that does not fork after its first ones. Any thread. */
void trace_random_hex(char *out, size_t digits);

/* ---- spans ------------------------------------------------------------------------------------ */

struct span {
	char id[17]; /* "": not begun, or not recorded */
	int64_t wall_ns, mono_ns;
};

enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER = 2, SPAN_CLIENT = 3 };

struct trace;

/* received may be NULL or not valid. recorded: spans are wanted at all; sample: of which share of those traces that
 * begin here, where received decides for itself. NULL: there is nothing to pass on or record, or no memory. */
struct trace *trace_new(const struct trace_context *received, bool recorded, double sample);
void trace_free(struct trace *t); /* NULL is fine, here and below */

const char *trace_id(const struct trace *t); /* NULL: there is none */

/* The first one is the turn's: all others are below it. */
void trace_begin(const struct trace *t, struct span *s);

/* Attributes are written as fields of the log: NULL, NaN and negative numbers are left out. */
#define ATTR_STR  L_STR
#define ATTR_INT  L_INT
#define ATTR_REAL L_REAL
#define ATTR_BOOL L_BOOL

struct span_end {
	const char *name;
	enum span_kind kind;
	const struct span *parent; /* NULL: what was received */
	const char *error;         /* error.type; NULL: none */
	const char *message;       /* for people; NULL: none */
	const struct log_field *attributes;
	size_t count;
};

/* Ends it, if it has begun; it may begin again. */
void trace_end(struct trace *t, struct span *s, const struct span_end *e);

/* The spans that have ended, as an array of OTLP/JSON's spans, for the caller; NULL: none. *dropped: how many are
 * missing. */
json_t *trace_take(struct trace *t, unsigned *dropped);

/* For labels.c: "traceparent: ...", and "tracestate: ..." or NULL. */
void trace_parent_line(const struct trace *t, const struct span *s, char *out, size_t size);
const char *trace_state_line(const struct trace *t);

#endif
