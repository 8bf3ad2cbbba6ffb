/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of one worker: the file `<dir>/worker.N`, one writer each. A worker takes
 * the first N whose lock is free; counters go on, gauges are reset. The daemon and the
 * admin tool map and sum them; nobody else writes. New counters are added at the end of
 * counters.def, so that files of an earlier build count on. */
#ifndef TT_STATUS_COUNTERS_H
#define TT_STATUS_COUNTERS_H

#include "core/base/err.h"

#include <stdint.h>

/* COUNTER(id, name, help) and GAUGE(id, name, help) */
#define COUNTER(id, name, help) COUNTER_##id,
#define GAUGE(id, name, help)   COUNTER_##id,
enum counter {
#include "core/status/counters.def"
	COUNTERS
};
#undef COUNTER
#undef GAUGE

struct counters;

/* A worker's own, after it was forked (the lock would be shared otherwise). A damaged
 * file starts at 0 again. NULL with e: the worker then goes on without counters. */
struct counters *counters_open(const char *dir, struct err *e);
void counters_close(struct counters *c); /* the file stays; NULL is fine */

/* Any thread of the worker; some nanoseconds. NULL c is fine. Gauges go down with a
 * negative n. Does nothing any more where somebody cut the file. */
void counters_add(struct counters *c, enum counter id, int64_t n);

/* Sum over all workers' files of dir; of gauges only over workers that live. Files that
 * are none of ours or damaged are left out. -1: dir can't be read; sums are 0. */
int counters_sum(const char *dir, int64_t sums[COUNTERS], struct err *e);
const char *counter_name(enum counter id);
const char *counter_help(enum counter id);

#endif
