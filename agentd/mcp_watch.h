/* SPDX-License-Identifier: Apache-2.0 */
/* The configured MCP servers (mcp.servers): their tools are listed, again and again, as often as each server says.
 * What is published are the tools of those that answer. */
#ifndef TT_AGENTD_MCP_WATCH_H
#define TT_AGENTD_MCP_WATCH_H

#include "agentd/services.h"

#include <jansson.h>

struct mcp_watch;

/* changed: mcp_watch_tools or mcp_watch_state returns something else; tools: the former. Never from within
 * mcp_watch_new. */
struct mcp_watch *mcp_watch_new(struct services *s, void (*changed)(void *arg, bool tools), void *arg);
void mcp_watch_free(struct mcp_watch *w); /* before the HTTP client; NULL is fine */

/* At start: the tools of an earlier mcp_watch_tools (published; NULL: none) are offered until their servers answer
 * or fail, if these are configured as they were. changed is not called. */
void mcp_watch_restore(struct mcp_watch *w, json_t *published);

/* To call once a second, and where the configuration has changed. */
void mcp_watch_tick(struct mcp_watch *w);

/* The document of core/mcp/mcp_tools.h; borrowed, NULL: no server has any. */
json_t *mcp_watch_tools(const struct mcp_watch *w);

/* For people, an array: {"name", "url", "state": "answers", "failing" or "pending", "version", "tools": their
 * number, "left_out": that of those that are not offered, "left_out_reason": one of them and why, "error", "since"};
 * borrowed, NULL: no server is configured. */
json_t *mcp_watch_state(const struct mcp_watch *w);

#endif
