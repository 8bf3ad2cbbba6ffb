/* SPDX-License-Identifier: Apache-2.0 */
/* MCP servers that are commands, behind a Unix socket that takes HTTP: POST /NAME carries a request of the modern
 * era, whatever the server speaks. One process serves all clients; it is started by the first request. The commands are
 * those of a file (mcp_file.h): no request can change what is started. */
#ifndef TT_RUNNER_MCP_SERVICE_H
#define TT_RUNNER_MCP_SERVICE_H

#include "core/base/err.h"

#include <event2/event.h>
#include <jansson.h>
#include <stddef.h>

struct mcp_service;

/* Takes listen_fd over. servers: as mcp_file_read has them (borrowed). line_max: longest message of a server, in bytes.
 * NULL with e. */
struct mcp_service *mcp_service_new(struct event_base *base, int listen_fd, json_t *servers, size_t line_max,
                                    struct err *e);
/* Takes other servers. Those of the same settings go on; the processes of the others end when their calls are answered.
 */
void mcp_service_configure(struct mcp_service *s, json_t *servers);

/* Runs base until the processes have ended, or have been killed. */
void mcp_service_free(struct mcp_service *s);

#endif
