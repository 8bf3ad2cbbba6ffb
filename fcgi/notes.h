/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker tells tt-agentd for the ring of recent events. What happens often in one moment is
 * counted and sent once; what tt-agentd does not take is sent again later. One thread. */
#ifndef TT_FCGI_NOTES_H
#define TT_FCGI_NOTES_H

#include "core/control/command.h"
#include "core/status/event_ring.h"

struct notes;

struct notes *notes_new(struct event_base *base, struct command_client *daemon, struct err *e);
void notes_free(struct notes *n); /* NULL is fine */

/* A record of a WORKER's kind, without number and time. Never calls back. */
void notes_add(struct notes *n, const struct event_record *r);

#endif
