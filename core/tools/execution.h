/* SPDX-License-Identifier: Apache-2.0 */
/* What running code produced, collected event by event: the text for the model. Pure. Both
 * sandboxes send the same events (E2B's NDJSON): stdout, stderr, result, error,
 * end_of_execution; others are ignored. */
#ifndef TT_TOOLS_EXECUTION_H
#define TT_TOOLS_EXECUTION_H

#include "core/base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct execution {
	struct buf line;      /* of the event stream, not whole yet */
	struct buf out;       /* stdout and stderr as they came */
	struct buf results;   /* values, pictures in words */
	struct buf error;     /* name, value, traceback */
	size_t limit;         /* characters of each that the model reads */
	bool cut;             /* something was left out */
	bool ended, skipping; /* end_of_execution was seen; an overlong line is skipped */
};

void execution_init(struct execution *x, size_t limit);
void execution_clear(struct execution *x);

/* Bytes of the event stream, in any pieces. */
void execution_feed(struct execution *x, const char *bytes, size_t len);

/* The text for the model; free(); NULL: no memory. */
char *execution_text(const struct execution *x);
bool execution_failed(const struct execution *x); /* the code raised an error */

/* The end of a run in either sandbox. x is what the code produced; failure is NULL, or why it
 * was not run to its end (one line). */
typedef void execution_done_fn(void *arg, const struct execution *x, const char *failure);

#endif
