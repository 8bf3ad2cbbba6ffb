/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker lends to its chat turns: LLM connections, history, reports. One thread. */
#ifndef TT_FCGI_WORKER_SERVICES_H
#define TT_FCGI_WORKER_SERVICES_H

#include "core/turn/turn.h"
#include "core/control/command.h"
#include "fcgi/notes.h"
#include "fcgi/published.h"

struct worker_services;

struct worker_services *worker_services_new(struct event_base *base, struct published *p, struct command_client *daemon,
                                            struct notes *notes, struct counters *counters,
                                            struct background *background, struct err *e);
void worker_services_free(struct worker_services *s); /* after the last turn */

/* Applies the configuration, once there is one, and opens the conversations' store before a turn waits for it. */
void worker_services_prepare(struct worker_services *s);

/* Once a second. */
void worker_services_tick(struct worker_services *s);

/* Whether conversations are stored elsewhere by now: running turns still need those of before,
 * so it takes a new worker. */
bool worker_services_outdated(const struct worker_services *s, const struct config *c);

const struct chat_services *worker_services_chat(const struct worker_services *s);

#endif
