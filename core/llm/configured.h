/* SPDX-License-Identifier: Apache-2.0 */
/* The configured LLMs: cloud, container, local host. */
#ifndef TT_LLM_CONFIGURED_H
#define TT_LLM_CONFIGURED_H

#include "core/llm/llm.h"

#define CONFIGURED_MAX 3

/* Fills items, which the caller clears. Calls wrong with the reason for each that is configured
 * but unusable. Returns how many there are; -1: out of memory, nothing to clear. */
long configured_llms(const struct config *c, struct llm items[CONFIGURED_MAX], void (*wrong)(const char *text));

#endif
