/* SPDX-License-Identifier: Apache-2.0 */
/* Sends the spans of workers to a collector, by OTLP/HTTP in JSON (trace.*). What the collector does not take waits,
 * within limits, and is sent again later; a collector that is away costs one line of the log. */
#ifndef TT_AGENTD_SPAN_EXPORT_H
#define TT_AGENTD_SPAN_EXPORT_H

#include "agentd/services.h"

#include <jansson.h>

struct span_export;

struct span_export *span_export_new(const struct services *s); /* NULL: no memory */
void span_export_free(struct span_export *x);                  /* NULL is fine; what waits is lost */

/* Spans as in OTLP/JSON (borrowed), and how many were lost on their way. */
void span_export_add(struct span_export *x, const json_t *spans, int64_t lost);

#endif
