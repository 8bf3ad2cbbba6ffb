/* SPDX-License-Identifier: Apache-2.0 */
/* The LLMs that the configuration names by itself: cloud, container, local host. */
#ifndef TT_LLM_CONFIGURED_H
#define TT_LLM_CONFIGURED_H

#include "core/llm/llm.h"

#define CONFIGURED_MAX 3

/* Fills items, which are the caller's to clear. wrong hears why one that is named cannot be
 * asked. Returns how many there are; -1: no memory, and none to clear. */
long configured_llms(const struct config *c, struct llm items[CONFIGURED_MAX], void (*wrong)(const char *text));

#endif
