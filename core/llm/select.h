/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which LLMs are preferred. Pure.
 *
 * Cloud when USE_CLOUD_LLM and a token; container; discovered; local host; cloud as
 * fallback. Among discovered ones of a selectable type: priority models in order (a
 * part of model_name, in any case; all healthy ones before any degraded one), then
 * model types in order (within each, healthy before degraded), then the first healthy,
 * then the first degraded, then those that were not probed yet. A pinned one goes
 * before all others while it is not unhealthy. What the configuration switched off is
 * no candidate. Those that can't be used (unhealthy; a local host that never answered)
 * come last of all, in the same order: they are tried when nothing else is left, and
 * an unhealthy container gives way to anything that works. */
#ifndef TT_LLM_SELECT_H
#define TT_LLM_SELECT_H

#include "core/llm/llm.h"

#include <stddef.h>

/* Fills order (room for count) with indexes of llms, best first, and returns how
 * many are candidates; *usable says how many of them can be used (those are the first
 * ones; 0: there is no LLM). pinned is a deploy_id or NULL. Never fails. */
size_t select_order(const struct llm *llms, size_t count, const struct config *c, const char *pinned, size_t *order,
                    size_t *usable);

/* Why llms[chosen] stands where it does, for the log: "priority model", "model type",
 * ... A constant string. */
const char *select_reason(const struct llm *llms, size_t count, const struct config *c, const char *pinned,
                          size_t chosen);

#endif
