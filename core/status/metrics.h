/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics of the service as text, for Prometheus: the rows of metrics.def, filled from what is mapped
 * (the status file, the workers' counters) and from /proc. Nobody is asked, so it works while every worker
 * is busy and tt-agentd is dead. */
#ifndef TT_STATUS_METRICS_H
#define TT_STATUS_METRICS_H

#include "core/base/buf.h"
#include "core/config/config.h"
#include "core/status/reader.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum metrics_format {
	METRICS_PROMETHEUS,  /* text format 0.0.4 */
	METRICS_OPENMETRICS, /* OpenMetrics 1.0 */
};

/* What an Accept header prefers (NULL: none was sent). */
enum metrics_format metrics_format_of(const char *accept);
const char *metrics_content_type(enum metrics_format f);

/* How much an LLM has to do now (core/balance). */
struct metrics_load {
	int64_t in_flight, capacity; /* 0: not known */
	int64_t taken, refused;      /* ever */
};

struct metrics_source {
	const char *run_dir;
	const struct status_snapshot *snapshot; /* NULL: nothing was ever published */
	bool stale;                             /* tt-agentd gives no sign of life */
	const struct config *config;            /* NULL: none was published yet */
	bool (*load)(const void *arg, uint64_t instance, struct metrics_load *out); /* false: not known; may be NULL */
	const void *arg;
};

/* Appends all of them to out. -1 with e: the run directory cannot be read, out of memory, or longer than out
 * may be. */
int metrics_print(struct buf *out, const struct metrics_source *from, enum metrics_format f, struct err *e);

/* The table for the manual page. */
void metrics_print_manual(FILE *out);

#endif
