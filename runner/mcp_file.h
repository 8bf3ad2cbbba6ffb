/* SPDX-License-Identifier: Apache-2.0 */
/* The file of MCP servers that are commands. It is the administrator's, and as other programs have it:
 *
 *   {"mcpServers": {NAME: {"command": "uvx", "args": ["mcp-server-git"], "env": {"KEY": "value"}, "cwd": "/srv"}}} */
#ifndef TT_RUNNER_MCP_FILE_H
#define TT_RUNNER_MCP_FILE_H

#include "core/base/err.h"

#include <event2/event.h>
#include <jansson.h>

/* Its servers, NAME: settings; a new reference, NULL with e. */
json_t *mcp_file_read(const char *path, struct err *e);

struct mcp_file;

/* servers is borrowed. */
typedef void mcp_file_changed_fn(void *arg, json_t *servers);

/* Reads the file again whenever it has changed; the first time, at once, because it may have changed since it was read.
 * What cannot be read, or is not valid, is logged, and changes nothing. NULL: no memory. */
struct mcp_file *mcp_file_watch(struct event_base *base, const char *path, mcp_file_changed_fn *changed, void *arg);
void mcp_file_free(struct mcp_file *f); /* NULL is fine */

/* The same now, changed or not. */
void mcp_file_reread(struct mcp_file *f);

#endif
