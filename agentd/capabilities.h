/* SPDX-License-Identifier: Apache-2.0 */
/* What a usable LLM can do, requested once per deployment (core/probe): its model ids and context
 * length, and, where the deployment does not say, whether it takes tools (a small real request with
 * tools). What stayed unknown is requested again later, with exponential backoff. A cloud LLM is
 * asked for its models only. Another server may answer at a configured URL at any time: see
 * capabilities_forget.
 *
 * Readiness gate: a healthy LLM whose model id or tools are unknown is not offered (track.gated)
 * until it has answered, or for READINESS_GATE_MS. */
#ifndef TT_AGENTD_CAPABILITIES_H
#define TT_AGENTD_CAPABILITIES_H

#include "agentd/services.h"
#include "core/llm/quirks.h"

#define READINESS_GATE_MS 1000

struct capabilities;

/* Something about the LLM at index changed: what is known, or track.gated. */
typedef void capabilities_learned_fn(void *arg, size_t index);

struct capabilities *capabilities_new(struct services *s, capabilities_learned_fn *learned, void *arg);
void capabilities_free(struct capabilities *c); /* before the http it uses; NULL is fine */

/* The LLM at index answered a probe: requests its capabilities unless that was done. may_gate:
 * it was not offered yet, so track.gated may be set. */
void capabilities_want(struct capabilities *c, size_t index, bool may_gate);

/* A user refreshes, or the configuration changed: what it did not answer is requested again,
 * and so is the model list of a configured LLM; what that refused is tried again. */
void capabilities_forget(struct capabilities *c, size_t index);

/* What l refuses, as turns learned, or as a probe did that it answered at last. False: nothing new. */
bool capabilities_learn_quirks(struct services *s, struct llm *l, const struct quirks *more, const char *refusal);
void capabilities_learn_probed(struct services *s, struct llm *l, const struct quirks *more);

/* What l refused may be accepted now: it is tried again. */
void capabilities_forget_quirks(struct llm *l);

/* It was unhealthy and no longer is. A configured LLM may have been restarted with other flags:
 * whether it takes tools is probed again as well. */
void capabilities_came_back(struct capabilities *c, size_t index);

/* Whether the readiness gate would hold it now. */
bool capabilities_need_gate(const struct llm *l, const struct track *t);

#endif
