/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of one worker: the file `<dir>/worker.N`, one writer each. A worker takes
 * the first N whose lock is free; counters continue, gauges are reset. Others map the files and sum
 * them (counters_sum, counters_read); nobody else writes. New counters are added at the end of
 * counters.def, so that files of an earlier build remain valid. */
#ifndef TT_STATUS_COUNTERS_H
#define TT_STATUS_COUNTERS_H

#include "core/base/err.h"
#include "core/status/metric_values.h"

#include <stddef.h>
#include <stdint.h>

/* COUNTER(id, name, help), GAUGE(id, name, help), MAXIMUM(id, name, help): a gauge of which the
 * highest of all workers counts, and LATEST(id, name, help): what a worker has set last, even if it is gone. */
#define COUNTER(id, name, help) COUNTER_##id,
#define GAUGE(id, name, help)   COUNTER_##id,
#define MAXIMUM(id, name, help) COUNTER_##id,
#define LATEST(id, name, help)  COUNTER_##id,
enum counter {
#include "core/status/counters.def"
	COUNTERS
};
#undef COUNTER
#undef GAUGE
#undef MAXIMUM
#undef LATEST

struct counters;

/* Call it in the worker, after the fork (otherwise the lock would be shared). A damaged
 * file starts at 0 again. NULL with e: the worker continues without counters. */
struct counters *counters_open(const char *dir, struct err *e);
void counters_close(struct counters *c); /* the file stays; NULL is fine */

/* Any thread of the worker; some nanoseconds. NULL c is fine. A negative n lowers a gauge.
 * Does nothing if somebody truncated the file. */
void counters_add(struct counters *c, enum counter id, int64_t n);

/* Sets a LATEST, up to UINT32_MAX. */
void counters_set(struct counters *c, enum counter id, int64_t value);

/* Measure LONGEST_ITERATION, in the loop's thread: work for a request begins (if it has not yet in this
 * iteration), and the iteration ends. now_ns: CLOCK_MONOTONIC. NULL c is fine. */
void counters_begin_work(struct counters *c);
void counters_begin_work_at(struct counters *c, int64_t now_ns);
void counters_end_iteration(struct counters *c, int64_t now_ns);

/* Sums over the files of all workers in dir; gauges only over workers that live. Foreign and
 * damaged files are skipped. -1: dir cannot be read; sums are 0. */
int counters_sum(const char *dir, int64_t sums[COUNTERS], struct err *e);
const char *counter_name(enum counter id);
const char *counter_help(enum counter id);

/* --- series: figures for each model, tool and endpoint ---------------------------------------
 *
 * The rows of metrics.def that have a value for each member of a label. A member is a name: of a model that
 * tt-agentd published, of a tool, of an endpoint; never what a request contains. A worker has room for
 * some of each label, and counts the others as "other". */
enum counter_label { LABEL_MODEL, LABEL_TOOL, LABEL_ENDPOINT, COUNTER_LABELS };

#define EACH_COUNTER(label, id, ...) SERIES_##id,
#define EACH_GAUGE(label, id, ...)   SERIES_##id,
#define EACH_BY(label, id, ...)      SERIES_##id,
#define HISTOGRAM(label, id, ...)    SERIES_##id,
enum counter_series {
#include "core/status/metrics.def"
	COUNTER_SERIES
};

struct counter_series_info {
	enum counter_label label;
	enum { SERIES_COUNTER, SERIES_GAUGE, SERIES_BY, SERIES_HISTOGRAM } kind;
	const char *name, *by; /* by: the second label; NULL */
	const char *const
		*texts; /* SERIES_BY: its values; SERIES_HISTOGRAM: the bounds of the buckets but the last, +Inf */
	const int64_t *bounds_us; /* SERIES_HISTOGRAM: the same bounds in microseconds */
	size_t count;             /* of these */
	size_t words;             /* values of one member: 1, or count, or of a histogram: count + 1 buckets, then the
	                           * sum in microseconds. A bucket has only what is above the one before it. */
	size_t at;                /* of the first one among the member's values */
};
const struct counter_series_info *counter_series_info(enum counter_series s);

/* The member of that name, for the functions below; only in the loop's thread. NULL c is fine. */
unsigned counters_member(struct counters *c, enum counter_label label, const char *name);

/* In the loop's thread, which is the only writer: no locked instruction, some nanoseconds. NULL c is fine.
 * which: of the values of a SERIES_BY, else 0. */
void counters_count(struct counters *c, enum counter_series s, unsigned member, size_t which, int64_t n);
/* Adds n times the same duration. */
void counters_observe(struct counters *c, enum counter_series s, unsigned member, int64_t ns, int64_t n);

/* The same of SERIES_TOKEN_GAP, for each token: a few instructions. counters_end_iteration writes it to the file
 * from time to time, and counters_flush at once. */
void counters_observe_gap(struct counters *c, unsigned member, int64_t ns, int64_t n);
void counters_flush(struct counters *c);

/* Of all workers together. */
#define COUNTER_NAME_MAX    127
#define COUNTER_MEMBERS_MAX 64 /* of one label; with "other", which what is beyond is added to */
struct counter_member {
	char name[COUNTER_NAME_MAX + 1]; /* valid UTF-8 */
	int64_t *values;                 /* by counter_series_info()->at */
};
struct counters_total {
	int64_t sums[COUNTERS];
	struct counter_member members[COUNTER_LABELS][COUNTER_MEMBERS_MAX];
	size_t member_count[COUNTER_LABELS];
	struct counter_worker {
		unsigned number; /* N of its file */
		int64_t pid;
	} workers[256]; /* that live */
	size_t worker_count;
};

/* Reads everything: some 10 us for each worker. counters_total_free. NULL with e: dir cannot be read, or no
 * memory. */
struct counters_total *counters_read(const char *dir, struct err *e);
void counters_total_free(struct counters_total *t); /* NULL is fine */

/* A histogram in values of a member: how many observations, and the bound (in seconds, between two bounds in
 * proportion) below which the share q (0 to 1) of them is; NAN: there are none. */
int64_t counters_observations(const struct counter_member *m, enum counter_series s);
double counters_quantile(const struct counter_member *m, enum counter_series s, double q);

#endif
