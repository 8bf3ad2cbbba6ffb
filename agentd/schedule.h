/* SPDX-License-Identifier: Apache-2.0 */
/* When an LLM is probed next. Pure: clock and random numbers are arguments. */
#ifndef TT_AGENTD_SCHEDULE_H
#define TT_AGENTD_SCHEDULE_H

#include "agentd/registry.h"

/* How often an LLM is probed: at health.interval; faster while its health changes (it
 * fails and is not given up yet, comes back, or loads); more rarely while it is down and
 * there are others, unless it was lost not long ago and refuses connections, which costs little. */
enum pace schedule_pace(const struct llm *l, const struct track *t, bool alone, int64_t now_ms);
int64_t schedule_interval_ms(const struct config *c, enum pace p);

/* interval times a factor between from and to percent; chance is any random number. */
int64_t schedule_spread_ms(int64_t interval_ms, unsigned from, unsigned to, uint32_t chance);

/* Monotonic time of the next probe, decided at now. The first one of an LLM, and the
 * first at another pace, is spread over the interval: LLMs that change together are not
 * probed together for ever. */
int64_t schedule_probe(const struct track *t, const struct config *c, enum pace p, int64_t now_ms, uint32_t chance);

/* Monotonic time of the next canary probe; 0: none is wanted. A failed one is soon repeated;
 * an LLM that hangs is probed with exponential backoff; else the interval counts from the
 * last time that it served anything. */
int64_t schedule_canary(const struct llm *l, const struct track *t, const struct config *c, int64_t now_ms,
                        uint32_t chance);

/* health.eject_time, doubled with each repetition, up to health.eject_max. */
int64_t schedule_eject_ms(const struct config *c, unsigned repetitions);

/* Whether it was healthy for health.stable_time since it was lost, or was never lost. */
bool schedule_is_stable(const struct track *t, const struct config *c, int64_t now_ms);

#endif
