/* SPDX-License-Identifier: Apache-2.0 */
/* Executes one health probe: GET <health URL> with the LLM's token, one deadline over
 * everything, judged by probe_judge. A configured container whose server has no /health (404,
 * 405, 501: Ollama, LM Studio) is asked for /v1/models instead, within the same deadline. */
#ifndef TT_PROBE_HEALTH_H
#define TT_PROBE_HEALTH_H

#include "core/llm/verdict.h"
#include "core/http/http.h"

struct prober;

/* Called once for each probe, never from within prober_start. hint is its index then. */
typedef void probe_done_fn(void *arg, uint64_t instance, size_t hint, const struct probe_result *r);

struct prober *prober_new(struct http *http, probe_done_fn *done, void *arg);
void prober_free(struct prober *p); /* cancels what runs, without callbacks; NULL is fine */

/* l and the texts are used during the call only. ca_file: as http.h has it. -1: no memory. */
int prober_start(struct prober *p, const struct llm *l, size_t hint, const char *token, const char *ca_file,
                 int64_t deadline_ms);

/* What the end of a transfer means for the LLM's health, where it is no response. */
enum probe_outcome probe_outcome_of(enum http_outcome o);

#endif
