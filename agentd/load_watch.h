/* SPDX-License-Identifier: Apache-2.0 */
/* How much each LLM has to do, in the table that workers share (core/balance): tt-agentd writes there what is
 * configured, and what servers say of themselves at GET /metrics while they are up. A server that has no such page
 * is asked again an hour later. */
#ifndef TT_AGENTD_LOAD_WATCH_H
#define TT_AGENTD_LOAD_WATCH_H

#include "agentd/services.h"

#include <jansson.h>

struct load_watch;

struct load_watch *load_watch_new(struct services *s, const char *run_dir); /* NULL: no memory */
void load_watch_free(struct load_watch *w);                                 /* before the HTTP client; NULL is fine */

/* Once a second, and before LLMs are published that are new. */
void load_watch_tick(struct load_watch *w);
void load_watch_configure(struct load_watch *w);

/* Adds what is known to each of document_models. */
void load_watch_describe(struct load_watch *w, json_t *models);

#endif
