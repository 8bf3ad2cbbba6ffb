/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which LLMs are preferred. Pure.
 *
 * The cloud if USE_CLOUD_LLM and a token are set; container; discovered; local host; the
 * cloud as fallback. Discovered LLMs of a selectable type: priority models in order (a part
 * of model_name, case-insensitive; all healthy ones before any degraded one), then model
 * types in order (within each, healthy before degraded), then the first healthy one, then
 * the first degraded one, then those that have not been probed yet. A pinned one comes
 * first of all while it is not unhealthy. What the configuration switches off is not a
 * candidate. Unusable ones (unhealthy; a local host that never answered) come last, in the
 * same order: they are tried when nothing else is left, and an unhealthy container yields
 * to anything that works. */
#ifndef TT_LLM_SELECT_H
#define TT_LLM_SELECT_H

#include "core/llm/llm.h"

#include <stddef.h>

/* Fills order (room for count) with indexes of llms, best first, and returns the number
 * of candidates; the first *usable of them can be used (0: there is no LLM). pinned is a
 * deploy_id or NULL. Never fails. */
size_t select_order(const struct llm *llms, size_t count, const struct config *c, const char *pinned, size_t *order,
                    size_t *usable);

/* Why llms[chosen] has its place, for the log: "priority model", "model type", ... A constant
 * string. */
const char *select_reason(const struct llm *llms, size_t count, const struct config *c, const char *pinned,
                          size_t chosen);

#endif
