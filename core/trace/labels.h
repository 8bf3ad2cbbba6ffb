/* SPDX-License-Identifier: Apache-2.0 */
/* The header lines by which others' logs and traces find the requests of one turn. Pure. */
#ifndef TT_TRACE_LABELS_H
#define TT_TRACE_LABELS_H

#define LABELS_REQUEST_ID_MAX 128
#define LABELS_NONCE_MAX      8

struct trace;
struct span;

struct labels {
	const char *lines[4]; /* "Name: value", ended by NULL; within this struct, so do not copy it */
	char request_id[sizeof "X-Request-Id: -" + LABELS_REQUEST_ID_MAX + LABELS_NONCE_MAX];
	char traceparent[sizeof "traceparent: 00-" + 32 + 1 + 16 + 1 + 2];
};

/* X-Request-Id: the id, and -nonce after it if that is not NULL. traceparent and tracestate of the span, which began
 * in t; NULL: of no trace. */
void labels_set(struct labels *l, const char *request_id, const char *nonce, const struct trace *t,
                const struct span *s);

/* Another one each time, for requests of which each needs an id of its own. */
void labels_nonce(char out[LABELS_NONCE_MAX + 1]);

#endif
