/* SPDX-License-Identifier: Apache-2.0 */
/* The command channel's server side: what each command does. core/control/commands.def says
 * what they take and answer. */
#ifndef TT_AGENTD_COMMANDS_H
#define TT_AGENTD_COMMANDS_H

#include "agentd/agent.h"

struct commands;

struct commands *commands_new(struct agent *a, const char *socket_path, struct err *e);
void commands_free(struct commands *c); /* answers what is open; NULL is fine */

/* The survey that ran has ended and its result is published. */
void commands_surveyed(struct commands *c);

/* Something that a command may wait for has happened. */
void commands_look(struct commands *c);

#endif
