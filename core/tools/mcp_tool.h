/* SPDX-License-Identifier: Apache-2.0 */
/* The tools of MCP servers (core/mcp/mcp_tools.h) as tools: those of each configuration, and the clients of their
 * servers, which outlive configurations. Only for toolbox.c. */
#ifndef TT_TOOLS_MCP_TOOL_H
#define TT_TOOLS_MCP_TOOL_H

#include "core/tools/tool.h"

struct mcp_box;

struct mcp_box *mcp_box_new(void);
void mcp_box_free(struct mcp_box *b);

/* The i-th name of a configuration's tools, which lasts as long as c; NULL: there are no more. */
const char *mcp_box_name(const struct config *c, size_t i);

/* The tool of that name, which lasts as long as c; NULL: there is none, or no memory. */
const struct tool *mcp_box_find(struct mcp_box *b, const struct config *c, const char *name, size_t len);

/* Appends the definitions of c's tools. -1: no memory. */
int mcp_box_define(const struct config *c, json_t *all);

/* Whether a tool is one of these; then its state is the tool itself. */
bool mcp_box_has(const struct tool *tool);

#endif
