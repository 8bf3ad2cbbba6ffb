/* What real turns and real completions say about LLMs, taken into the state: verdicts,
 * ejections, and what is looked at because of it. */
#ifndef TT_DAEMON_FEEDBACK_H
#define TT_DAEMON_FEEDBACK_H

#include "core/daemon/agent.h"
#include "core/daemon/reports.h"

/* A worker's word on a turn. A failure that counts is probed at once, and the LLM is
 * ejected: asked after all others until a time that grows with each repetition. */
enum report_verdict feedback_report(struct agent *a, const struct report *r);

/* The end of a completion that the daemon asked for itself. */
void feedback_completion(struct agent *a, size_t index, const struct probe_result *r);

/* A verdict on the LLM at index is in force: what follows from it here. */
void feedback_judged(struct agent *a, size_t index, enum llm_health before);

/* Each second: ejections that are over, LLMs that were stable for long enough. */
void feedback_look(struct agent *a);

/* What was refused with the credentials of old may be served with those of now. */
void feedback_reconfigured(struct agent *a, const struct config *old);

/* A survey that somebody asked for is over: nobody waits until an LLM is stable. */
void feedback_trust(struct agent *a);

/* Somebody asks for a fresh look: what is held against the LLM at index is forgotten.
 * true: it was ejected, or was to wait until it is stable. */
bool feedback_pardon(struct agent *a, size_t index);

#endif
