/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints that tt-agentd answers: each is one command of the command channel. */
#ifndef TT_FCGI_ENDPOINTS_DAEMON_COMMAND_H
#define TT_FCGI_ENDPOINTS_DAEMON_COMMAND_H

#include "core/control/command.h"
#include "fcgi/connection.h"
#include "fcgi/worker.h"

/* Sends the command and answers with its result; without a daemon, with an error that says so.
 * Steals args (NULL: none). */
void daemon_command_forward(struct worker *w, struct connection *c, enum command command, json_t *args);

#endif
