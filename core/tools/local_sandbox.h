/* SPDX-License-Identifier: Apache-2.0 */
/* Code in the local sandbox: asks tt-agent-runner, a process of its own whose hardening
 * allows namespaces, over its Unix socket (runner_socket.h). */
#ifndef TT_TOOLS_LOCAL_SANDBOX_H
#define TT_TOOLS_LOCAL_SANDBOX_H

#include "core/tools/execution.h"
#include "core/tools/tool.h"

struct local_sandbox_run;

/* done: once, never from within; as of e2b_done_fn. NULL: no memory. */
struct local_sandbox_run *local_sandbox_start(const struct tool_context *ctx, const char *code,
                                              void (*done)(void *arg, const struct execution *x, const char *failure),
                                              void *arg);
void local_sandbox_cancel(struct local_sandbox_run *r);

#endif
