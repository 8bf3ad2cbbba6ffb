/* SPDX-License-Identifier: Apache-2.0 */
/* Asks LLMs for one token at a low rate, where no chat turn shows that they work: a model
 * that hangs often answers /health, and never a completion. */
#ifndef TT_AGENTD_CANARY_H
#define TT_AGENTD_CANARY_H

#include "agentd/services.h"
#include "core/llm/verdict.h"

struct canary;

/* The LLM at index answered, or failed to (r->real is set; PROBE_UNAUTHORIZED: its token
 * was refused). Answers that prove nothing (4xx) are not told. */
typedef void canary_done_fn(void *arg, size_t index, const struct probe_result *r);

struct canary *canary_new(struct services *s, canary_done_fn *done, void *arg);
void canary_free(struct canary *c); /* before the http it uses; NULL is fine */

/* Health, configuration or what it served changed: plans anew where none runs. */
void canary_plan(struct canary *c, size_t index);
void canary_replan(struct canary *c); /* all of them */

/* Asks the LLM at index within so many milliseconds, where completions are wanted. */
void canary_soon(struct canary *c, size_t index, int64_t within_ms);

#endif
