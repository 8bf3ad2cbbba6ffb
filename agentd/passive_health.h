/* SPDX-License-Identifier: Apache-2.0 */
/* Passive health: what chat turns and canary probes show about LLMs, applied to the state as
 * verdicts and ejections. */
#ifndef TT_AGENTD_PASSIVE_HEALTH_H
#define TT_AGENTD_PASSIVE_HEALTH_H

#include "agentd/agent.h"
#include "agentd/turn_report.h"

/* A worker's report on an attempt. After a failure that counts the LLM is probed at once, and
 * ejected: tried after all others for a time that grows with each repetition. */
enum turn_report_verdict passive_health_report(struct agent *a, const struct turn_report *r);

/* A canary probe has ended. */
void passive_health_canary(struct agent *a, size_t index, const struct probe_result *r);

/* The LLM at index has a new verdict: updates its ejection and canary probes. */
void passive_health_verdict(struct agent *a, size_t index, enum llm_health before);

/* Once a second: ends ejections and warm-ups whose time is over. */
void passive_health_tick(struct agent *a);

/* After a reload: new credentials may be accepted where the old ones were refused. */
void passive_health_reconfigured(struct agent *a, const struct config *old);

/* A full scan has ended: LLMs that came back are preferred again at once, stable or not. */
void passive_health_end_warmup(struct agent *a);

/* A user refreshes or selects: the LLM at index gets a new chance. true: it was ejected, or
 * warming up. */
bool passive_health_clear_ejection(struct agent *a, size_t index);

#endif
