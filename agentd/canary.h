/* SPDX-License-Identifier: Apache-2.0 */
/* Canary probes: asks an LLM for a few words, at a low rate, while no chat turn shows that it
 * works. A model that hangs often still answers /health, but never a chat request. */
#ifndef TT_AGENTD_CANARY_H
#define TT_AGENTD_CANARY_H

#include "agentd/services.h"
#include "core/llm/verdict.h"

struct canary;

/* The LLM at index answered, or failed to (r->real is set; PROBE_UNAUTHORIZED: its token
 * was refused). Not called for answers that prove nothing (4xx). */
typedef void canary_done_fn(void *arg, size_t index, const struct probe_result *r);

struct canary *canary_new(struct services *s, canary_done_fn *done, void *arg);
void canary_free(struct canary *c); /* before the http it uses; NULL is fine */

/* Its health, the configuration or what it served changed: plans its next canary probe again,
 * unless one runs. */
void canary_plan(struct canary *c, size_t index);
void canary_replan(struct canary *c); /* all of them */

/* Probes the LLM at index within this many milliseconds, where canary probes are enabled. */
void canary_soon(struct canary *c, size_t index, int64_t within_ms);

#endif
