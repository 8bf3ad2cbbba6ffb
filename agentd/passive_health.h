/* SPDX-License-Identifier: Apache-2.0 */
/* What real turns and real completions say about LLMs, taken into the state: verdicts,
 * ejections, and what is looked at because of it. */
#ifndef TT_AGENTD_PASSIVE_HEALTH_H
#define TT_AGENTD_PASSIVE_HEALTH_H

#include "agentd/agent.h"
#include "agentd/reports.h"

/* A worker's word on a turn. A failure that counts is probed at once, and the LLM is
 * ejected: asked after all others until a time that grows with each repetition. */
enum report_verdict passive_health_report(struct agent *a, const struct report *r);

/* The end of a completion that the daemon asked for itself. */
void passive_health_canary(struct agent *a, size_t index, const struct probe_result *r);

/* A verdict on the LLM at index is in force: what follows from it here. */
void passive_health_verdict(struct agent *a, size_t index, enum llm_health before);

/* Each second: ejections that are over, LLMs that were stable for long enough. */
void passive_health_tick(struct agent *a);

/* What was refused with the credentials of old may be served with those of now. */
void passive_health_reconfigured(struct agent *a, const struct config *old);

/* A survey that somebody asked for is over: nobody waits until an LLM is stable. */
void passive_health_end_warmup(struct agent *a);

/* Somebody asks for a fresh look: what is held against the LLM at index is forgotten.
 * true: it was ejected, or was to wait until it is stable. */
bool passive_health_clear_ejection(struct agent *a, size_t index);

#endif
