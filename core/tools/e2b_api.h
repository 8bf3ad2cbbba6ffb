/* SPDX-License-Identifier: Apache-2.0 */
/* E2B's HTTP interface, as its own clients speak it: one function a request. */
#ifndef TT_TOOLS_E2B_API_H
#define TT_TOOLS_E2B_API_H

#include "core/config/config.h"
#include "core/http/http.h"
#include "core/tools/tool.h"

/* What names a sandbox and gives access to it. */
struct e2b_handle {
	char *id;                           /* NULL: there is no sandbox */
	char *domain;                       /* NULL: the configured one */
	char *access_token, *traffic_token; /* NULL: not needed */
};
void e2b_handle_clear(struct e2b_handle *h);

/* Reads E2B's answer about a new sandbox. -1: it names none; the handle is then empty. */
int e2b_handle_read(struct e2b_handle *h, const char *body, size_t len);

/* Status 201 is success for create, 200 for execute. NULL: no memory. */
struct http_transfer *e2b_api_create(const struct tool_context *ctx, const struct http_handlers *handlers, void *arg);
struct http_transfer *e2b_api_execute(const struct tool_context *ctx, const struct e2b_handle *handle, const char *code,
                                      const struct http_handlers *handlers, void *arg);

/* Requests whose answer only the log needs: they outlive their caller. */
void e2b_api_kill(struct http *http, const struct config *c, const char *id);
void e2b_api_extend(const struct tool_context *ctx, const char *id);

/* Why a request failed, from E2B's {"code":N,"message":...} or else from the transfer: one
 * line for the model. */
void e2b_api_failure(const struct http_result *h, const char *what, struct err *e);

#endif
