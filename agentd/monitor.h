/* SPDX-License-Identifier: Apache-2.0 */
/* Schedules probes: a new LLM at once, then each at its pace (schedule.h), spread at random
 * so that they never go out all together. */
#ifndef TT_AGENTD_MONITOR_H
#define TT_AGENTD_MONITOR_H

#include "agentd/services.h"

struct monitor;

/* A verdict was applied to the LLM at index; before is its health until then. */
typedef void monitor_verdict_fn(void *arg, size_t index, enum llm_health before);

struct monitor *monitor_new(struct services *s, monitor_verdict_fn *judged, void *arg);
void monitor_free(struct monitor *m); /* before the http it uses is freed; NULL is fine */

/* Probes one now, unless a probe of it runs already. Does nothing for one that is not probed. */
void monitor_probe(struct monitor *m, size_t index);

/* The same, one of many: it waits while very many run. */
void monitor_enqueue(struct monitor *m, size_t index);

/* Probes all that were never probed. */
void monitor_probe_new(struct monitor *m);

/* all: those that were never healthy are watched as well (while there is no LLM and
 * polling has ended, only /refresh looks for new ones). alone: no LLM can be used, so the
 * first answer is enough and nobody waits longer for one. */
void monitor_watch(struct monitor *m, bool all, bool alone);

/* A verdict was applied to l: notes when its episode began, and since when it is healthy. */
void monitor_note(struct track *t, const struct llm *l, enum llm_health before);

/* The interval changed: plans all probes again. */
void monitor_replan(struct monitor *m);

/* Enabled by the configuration. */
bool monitor_enabled(const struct config *c);

#endif
