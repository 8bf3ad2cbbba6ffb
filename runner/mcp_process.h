/* SPDX-License-Identifier: Apache-2.0 */
/* The process of an MCP server: one message a line on its standard input and output; what it writes to stderr
 * is logged. */
#ifndef TT_RUNNER_MCP_PROCESS_H
#define TT_RUNNER_MCP_PROCESS_H

#include "core/base/err.h"

#include <event2/event.h>
#include <jansson.h>
#include <stddef.h>

struct mcp_processes; /* those of this program */

/* line_max: longest line that is taken, in bytes. NULL: no memory. */
struct mcp_processes *mcp_processes_new(struct event_base *base, size_t line_max);
/* Kills those that have not ended. */
void mcp_processes_free(struct mcp_processes *all);
/* Those that have not been waited for yet, be they ending. */
size_t mcp_processes_count(const struct mcp_processes *all);

struct mcp_process;

struct mcp_process_handlers {
	void (*line)(void *arg, const char *line, size_t len); /* without its end */
	/* A piece of a line that is too long: its beginning, as soon as it is; its last bytes, at its end. */
	void (*too_long)(void *arg, const char *piece, size_t len);
	/* It closed its output: it ends, and is gone for the caller. */
	void (*ended)(void *arg);
};

/* settings: {"command", "args", "env", "cwd"}, which are valid. NULL with e. */
struct mcp_process *mcp_process_start(struct mcp_processes *all, const char *name, const json_t *settings,
                                      const struct mcp_process_handlers *handlers, void *arg, struct err *e);

/* Sends a line; line has no end. -1: no memory, or it does not read. */
int mcp_process_send(struct mcp_process *p, const char *line);

/* Closes its input; if it has not ended a while later, it gets SIGTERM, and then SIGKILL. No further callback; allowed
 * from within one. */
void mcp_process_end(struct mcp_process *p);

#endif
