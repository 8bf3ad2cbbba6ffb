/* SPDX-License-Identifier: Apache-2.0 */
/* The client of tt-agent-runner, which runs code in sandboxes on this machine: a process of
 * its own, whose hardening allows namespaces.
 *
 * It listens on a Unix socket. A connection serves one of two purposes:
 *
 *   a run, which closing the connection ends
 *   -> {"code":"...","timeout_ms":N}\n
 *   <- the events of execution.h, one JSON object a line, until end_of_execution
 *
 *   checks whether it is there and its sandbox isolates, any number of them
 *   -> {"hello":true}\n
 *   <- {"type":"ready"}\n
 *
 * It answers nothing before its self-test has passed. */
#ifndef TT_TOOLS_SANDBOX_CLIENT_H
#define TT_TOOLS_SANDBOX_CLIENT_H

#include "core/tools/execution.h"
#include "core/tools/tool.h"

/* One run. */
struct sandbox_client;

/* Runs code at code.runner_socket. done: once, never from within. NULL: no memory. */
struct sandbox_client *sandbox_client_start(const struct tool_context *ctx, const char *code, execution_done_fn *done,
                                            void *arg);
void sandbox_client_cancel(struct sandbox_client *s); /* ends the code; done is not called any more */

/* A connection that does not block, or -1 with errno. */
int sandbox_client_connect(const char *path);

/* Why there is no connection, for people; error is the errno. */
const char *sandbox_client_error_text(int error);

#endif
