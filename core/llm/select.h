/* The order in which LLMs are preferred. Pure.
 *
 * Cloud when USE_CLOUD_LLM and a token; container; discovered; local host; cloud
 * as fallback. Among discovered ones: priority models in order (all healthy before
 * any degraded), then model types in order (healthy before degraded), then the
 * first healthy, then the first degraded. A pinned one goes first while it is not
 * unhealthy. Unhealthy ones come last of all (they are tried when nothing else is
 * left); an unhealthy container gives way to a healthy one. */
#ifndef TT_LLM_SELECT_H
#define TT_LLM_SELECT_H

#include "core/llm/llm.h"

#include <stddef.h>

/* Fills order (room for count) with indexes of llms, best first, and returns how
 * many are candidates; *usable says how many of them are not unhealthy (those are
 * the first ones). pinned is a deploy_id or NULL. */
size_t select_order(const struct llm *llms, size_t count, const struct config *c, const char *pinned,
                    size_t *order, size_t *usable);

/* Why order[0] was chosen, for the log: "priority model", "model type", ... */
const char *select_reason(const struct llm *llms, size_t count, const struct config *c, const char *pinned,
                          size_t chosen);

#endif
