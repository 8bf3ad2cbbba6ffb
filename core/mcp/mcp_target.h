/* SPDX-License-Identifier: Apache-2.0 */
/* A configured MCP server as a value: an entry of mcp.servers, or of what tt-agentd publishes of them, which has its
 * token in place of the file, and its era. Pure. */
#ifndef TT_MCP_MCP_TARGET_H
#define TT_MCP_MCP_TARGET_H

#include "core/base/err.h"
#include "core/config/config.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define MCP_TARGET_BEARER "bearer"
#define MCP_TARGET_ERA    "era" /* the version that it speaks */

struct mcp_target {
	json_t *json; /* owned; the texts below belong to it */
	const char *name;
	const char *url;
	const char *socket;                        /* Unix socket on which it takes HTTP; NULL: it has an address */
	const char *bearer, *token_file, *ca_file; /* NULL: none */
	const char *era;                           /* NULL: not known */
	char *made_url;                            /* of a socket; owned */
	char **headers;                            /* "Name: value" lines, NULL-terminated */
	int64_t timeout_ms;
};

/* Takes a reference of server. -1 with e: no memory. */
int mcp_target_init(struct mcp_target *t, json_t *server, struct err *e);
void mcp_target_clear(struct mcp_target *t);

/* Whether its tool of that name is offered. */
bool mcp_target_offers(const struct mcp_target *t, const char *tool);

/* mcp.servers, a new reference; an empty array where there are none. NULL: no memory. */
json_t *mcp_target_settings(const struct config *c);

/* For people: the URL without its query, or the socket. */
void mcp_target_place(const struct mcp_target *t, char *out, size_t size);

#endif
