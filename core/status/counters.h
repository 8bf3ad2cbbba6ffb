/* Counters of one worker: the file `<dir>/worker.N`, one writer each. A worker takes
 * the first N whose lock is free; counters go on, gauges are reset. The daemon and the
 * admin tool map and sum them; nobody else writes. */
#ifndef TT_STATUS_COUNTERS_H
#define TT_STATUS_COUNTERS_H

#include "core/base/err.h"

#include <stdint.h>

/* COUNTER(id, name, help) and GAUGE(id, name, help) */
#define COUNTER(id, name, help) COUNTER_##id,
#define GAUGE(id, name, help) COUNTER_##id,
enum counter {
#include "core/status/counters.def"
	COUNTERS
};
#undef COUNTER
#undef GAUGE

struct counters;

struct counters *counters_open(const char *dir, struct err *e); /* a worker's own */
void counters_close(struct counters *c);
void counters_add(struct counters *c, enum counter id, int64_t n); /* NULL c is fine */

/* Sum over all workers' files of dir. */
int counters_sum(const char *dir, int64_t sums[COUNTERS], struct err *e);
const char *counter_name(enum counter id);
const char *counter_help(enum counter id);

#endif
