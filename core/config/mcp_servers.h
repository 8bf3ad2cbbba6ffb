/* SPDX-License-Identifier: Apache-2.0 */
/* mcp.servers: a list of groups, one for each MCP server. Files have it as libconfig does, every other source as
 * JSON, and so has struct config: the text of an array of objects. Pure. */
#ifndef TT_CONFIG_MCP_SERVERS_H
#define TT_CONFIG_MCP_SERVERS_H

#include "core/base/err.h"
#include "core/config/table.h"

#include <stdbool.h>

#define MCP_SERVERS_MAX     32
#define MCP_SERVER_NAME_MAX 24

/* Checks a value as that of a setting; -1 with e. */
typedef int mcp_servers_check_fn(const struct key_row *row, const json_t *value, struct err *e);

/* -1: e says which server, which field, and what is allowed; the value of a secret is never repeated. */
int mcp_servers_check(const char *text, mcp_servers_check_fn *check, struct err *e);

/* The same text without its secrets: tokens, the values of headers, and the query of a URL. free(); NULL: no memory. */
char *mcp_servers_shown(const char *text);

/* Whether it has any in fields that are meant for them. */
bool mcp_servers_have_secrets(const char *text);

#endif
