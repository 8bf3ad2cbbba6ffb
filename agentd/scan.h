/* SPDX-License-Identifier: Apache-2.0 */
/* A full scan: discovery runs and every LLM that can be probed is probed, all in parallel.
 * Used at start, for polling and for /refresh. */
#ifndef TT_AGENTD_SCAN_H
#define TT_AGENTD_SCAN_H

#include "agentd/discovery.h"
#include "agentd/monitor.h"
#include "agentd/services.h"

struct scan;

typedef void scan_done_fn(void *arg);

struct scan *scan_new(struct services *s, struct discovery *d, struct monitor *m, scan_done_fn *done, void *arg);
void scan_free(struct scan *v); /* NULL is fine */

/* Begins a scan, again where one runs (its running probes count). done is called at its end,
 * never from within scan_start. */
void scan_start(struct scan *v);
bool scan_running(const struct scan *v);

/* A source answered (or failed to) and the registry was merged: new LLMs are awaited as well. */
void scan_merged(struct scan *v);

/* The LLM at index has its verdict and has passed the readiness gate. */
void scan_settled(struct scan *v, size_t index);

#endif
