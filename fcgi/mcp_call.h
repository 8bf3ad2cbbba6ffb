/* SPDX-License-Identifier: Apache-2.0 */
/* What an MCP client calls of this service, besides chat. */
#ifndef TT_FCGI_MCP_CALL_H
#define TT_FCGI_MCP_CALL_H

#include "core/protocol/mcp_offers.h"
#include "core/protocol/mcp_reply.h"
#include "fcgi/connection.h"
#include "fcgi/worker.h"

#include <jansson.h>

/* Runs the offer's tool for the client of c, within the limits of its chats, and answers the request, now or later.
 * args: an object, or NULL; address: REMOTE_ADDR, or NULL. reply is moved. */
void mcp_call_start(struct worker *w, struct connection *c, const struct mcp_offer *offer, const json_t *args,
                    const char *address, struct mcp_reply *reply);

/* The result of llm_status, as the client of c may see it: a new reference; NULL: no memory. */
json_t *mcp_call_status(struct worker *w, struct connection *c);

#endif
