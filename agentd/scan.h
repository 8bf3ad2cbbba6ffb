/* SPDX-License-Identifier: Apache-2.0 */
/* One look at everything: the backend is asked and every LLM that can be probed is
 * probed, all in parallel. What start, polling and /refresh have in common. */
#ifndef TT_AGENTD_SCAN_H
#define TT_AGENTD_SCAN_H

#include "agentd/discovery.h"
#include "agentd/monitor.h"
#include "agentd/services.h"

struct scan;

typedef void scan_done_fn(void *arg);

struct scan *scan_new(struct services *s, struct discovery *d, struct monitor *m, scan_done_fn *done, void *arg);
void scan_free(struct scan *v); /* NULL is fine */

/* Begins one; one that runs begins anew (probes that are on their way count). Its end is
 * told through done, never from within scan_start. */
void scan_start(struct scan *v);
bool scan_running(const struct scan *v);

/* The registry was merged with the backend's answer, or it gave none (answered), or
 * with the configuration: what is new is awaited as well. */
void scan_merged(struct scan *v, bool answered);

/* The LLM at index has its verdict and all that it was held back for. */
void scan_settled(struct scan *v, size_t index);

#endif
