/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker lends to its chat turns: LLM connections, history, reports. One thread. */
#ifndef TT_FCGI_CHAT_SERVICES_H
#define TT_FCGI_CHAT_SERVICES_H

#include "core/turn/turn.h"
#include "core/control/command.h"
#include "fcgi/published.h"

struct turns;

struct turns *chat_services_new(struct event_base *base, struct published *p, struct command_client *daemon,
                                struct counters *counters, struct err *e);
void chat_services_free(struct turns *t); /* after the last turn */

/* Opens the conversations' store, once there is a configuration, before a turn waits for it. */
void chat_services_prepare(struct turns *t);

/* Whether conversations lie elsewhere by now: running turns still need those of before, so it
 * takes a new worker. */
bool chat_services_outdated(const struct turns *t, const struct config *c);

const struct chat_services *chat_services_host(const struct turns *t);

#endif
