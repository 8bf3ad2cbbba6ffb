/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of one worker: the file `<dir>/worker.N`, one writer each. A worker takes
 * the first N whose lock is free; counters continue, gauges are reset. The daemon and the
 * admin tool map and sum them; nobody else writes. New counters are added at the end of
 * counters.def, so that files of an earlier build remain valid. */
#ifndef TT_STATUS_COUNTERS_H
#define TT_STATUS_COUNTERS_H

#include "core/base/err.h"

#include <stdint.h>

/* COUNTER(id, name, help), GAUGE(id, name, help), and MAXIMUM(id, name, help): a gauge of which the
 * highest of all workers counts. */
#define COUNTER(id, name, help) COUNTER_##id,
#define GAUGE(id, name, help)   COUNTER_##id,
#define MAXIMUM(id, name, help) COUNTER_##id,
enum counter {
#include "core/status/counters.def"
	COUNTERS
};
#undef COUNTER
#undef GAUGE
#undef MAXIMUM

struct counters;

/* Call it in the worker, after the fork (otherwise the lock would be shared). A damaged
 * file starts at 0 again. NULL with e: the worker continues without counters. */
struct counters *counters_open(const char *dir, struct err *e);
void counters_close(struct counters *c); /* the file stays; NULL is fine */

/* Any thread of the worker; some nanoseconds. NULL c is fine. A negative n lowers a gauge.
 * Does nothing if somebody truncated the file. */
void counters_add(struct counters *c, enum counter id, int64_t n);

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

#endif
