/* SPDX-License-Identifier: Apache-2.0 */
/* The tools of an MCP server: tools/list, page after page. */
#ifndef TT_MCP_MCP_LIST_H
#define TT_MCP_MCP_LIST_H

#include "core/mcp/mcp_client.h"

#define MCP_LIST_PAGES_MAX 64
#define MCP_LIST_TOOLS_MAX 1000

struct mcp_list;

/* tools: all of them (borrowed); NULL: why says what failed. ttl_ms: how long the list is good for; -1: the server
 * does not say. Once, never from within mcp_list_start. */
typedef void mcp_list_done_fn(void *arg, json_t *tools, int64_t ttl_ms, const char *why);

/* NULL: no memory. */
struct mcp_list *mcp_list_start(struct mcp_client *c, mcp_list_done_fn *done, void *arg);
void mcp_list_cancel(struct mcp_list *l);

#endif
