/* SPDX-License-Identifier: Apache-2.0 */
/* The tools of MCP servers as tt-agentd publishes them (config_mcp), a JSON document:
 *
 *   {"servers": [an entry of mcp.servers with its token and its era, ...],
 *    "tools": [{"name": as models are offered it, "server": name, "tool": the server's name,
 *               "description", "parameters": schema, "headers": map (mcp_wire.h), "repeatable": bool}, ...]}
 *
 * Names, descriptions and schemas come from others: they are bounded, and nothing that they refer to is fetched.
 * Pure. */
#ifndef TT_MCP_MCP_TOOLS_H
#define TT_MCP_MCP_TOOLS_H

#include "core/mcp/mcp_target.h"

#include <stddef.h>

#define MCP_TOOLS_NAME_MAX        64  /* as OpenAI's API has it: letters, digits, - and _ */
#define MCP_TOOLS_OF_SERVER       128 /* further ones are left out */
#define MCP_TOOLS_DESCRIPTION_MAX 2048
#define MCP_TOOLS_SCHEMA_MAX      (16u << 10)
#define MCP_TOOLS_MAX             256
#define MCP_TOOLS_BYTES_MAX       (512u << 10) /* of all that is published */

/* The name under which a tool is offered: NAME__tool. Where that has other characters or is too long, a part of
 * it and a hash, so that it is the same every time and that of no other tool. */
void mcp_tools_name(const char *server, const char *tool, char out[MCP_TOOLS_NAME_MAX + 1]);

/* Why a tool is left out; name is the server's, and safe to show. */
typedef void mcp_tools_left_out_fn(void *arg, const char *name, const char *why);

/* Appends what is offered of a server's tools (an array, as tools/list has them; borrowed). Returns how many. */
size_t mcp_tools_add(json_t *to, const struct mcp_target *t, const json_t *tools, mcp_tools_left_out_fn *left_out,
                     void *arg);

/* Appends what a document that was published before offers of a server. Returns how many. */
size_t mcp_tools_restore(json_t *to, const char *server, const json_t *published);

/* The server of an offered name: the length of its part of the name; 0: it is not of that form. */
size_t mcp_tools_server_of(const char *name);

#endif
