/* Code in the local sandbox: asks tt-agent-runner, a process of its own whose hardening
 * allows namespaces, over its Unix socket.
 *
 *   -> {"code":"...","timeout_ms":N}\n
 *   <- the events of execution.h, one JSON object a line, until end_of_execution
 *
 * One connection a run; closing it ends the code. */
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
