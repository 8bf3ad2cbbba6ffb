/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's side of the command channel: calls the file of each command
 * (agentd/commands/), and holds the commands that are not answered yet. */
#ifndef TT_AGENTD_COMMANDS_H
#define TT_AGENTD_COMMANDS_H

#include "agentd/agent.h"

struct commands;

struct commands *commands_new(struct agent *a, const char *socket_path, struct err *e);
void commands_free(struct commands *c); /* answers all that are pending; NULL is fine */

/* A scan has ended and its result is published. */
void commands_scan_ended(struct commands *c);

/* Something changed that a pending command may wait for. NULL is fine. */
void commands_progress(struct commands *c);

#endif
