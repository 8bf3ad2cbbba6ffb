/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes of E2B: one for each conversation, created when it is first needed, reused, kept
 * alive while it is used, ended when it has idled (code.idle, or before the conversation is
 * forgotten). */
#ifndef TT_TOOLS_E2B_H
#define TT_TOOLS_E2B_H

#include "core/tools/execution.h"
#include "core/tools/tool.h"

struct e2b;
struct e2b_run;

/* Whether c has code run by E2B. */
bool e2b_is_enabled(const struct config *c);

struct e2b *e2b_new(struct event_base *base, const char *dir); /* dir: see e2b_shared.h; NULL: no memory */
void e2b_free(struct e2b *b); /* forgets the sandboxes; E2B ends them at their timeout */

/* Runs code in the sandbox of ctx->thread. If that has vanished, another one is created,
 * once. done: once, never from within. NULL: no memory. */
struct e2b_run *e2b_start(struct e2b *b, const struct tool_context *ctx, const char *code, execution_done_fn *done,
                          void *arg);
void e2b_cancel(struct e2b_run *r);

/* Ends the sandbox of a conversation for which nothing runs any more. */
void e2b_forget(struct e2b *b, const char *thread);

#endif
