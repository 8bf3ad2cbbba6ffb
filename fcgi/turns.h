/* What a worker lends to its chat turns: LLM connections, history, reports. One thread. */
#ifndef TT_FCGI_TURNS_H
#define TT_FCGI_TURNS_H

#include "core/chat/turn.h"
#include "core/net/command.h"
#include "fcgi/published.h"

struct turns;

struct turns *turns_new(struct event_base *base, struct published *p, struct command_client *daemon,
			struct counters *counters, struct err *e);
void turns_free(struct turns *t); /* after the last turn */

/* Opens the conversations' store, once there is a configuration, before a turn waits for it. */
void turns_prepare(struct turns *t);

/* Whether conversations lie elsewhere by now: running turns still need those of before, so it
 * takes a new worker. */
bool turns_outdated(const struct turns *t, const struct config *c);

const struct turn_host *turns_host(const struct turns *t);

#endif
