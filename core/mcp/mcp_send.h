/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to an MCP server: the message and the headers of each stage, as the era of the session wants them. */
#ifndef TT_MCP_MCP_SEND_H
#define TT_MCP_MCP_SEND_H

#include "core/http/http.h"
#include "core/mcp/mcp_session.h"
#include "core/mcp/mcp_target.h"

#include <jansson.h>
#include <stdbool.h>

/* Where requests go, and how. */
struct mcp_route {
	struct http *http;
	struct mcp_target target;
	char *proxy; /* NULL: none */
};

/* A call, in one of its stages. */
struct mcp_post {
	enum mcp_stage stage;
	json_int_t id;
	const char *method, *name; /* name: for the header Mcp-Name; NULL: none */
	const json_t *params;      /* NULL: none */
	char *const *headers;      /* of the modern era; NULL-terminated; NULL: none */
	char *const *labels;       /* of both */
	const char *last_event;    /* of the stream to resume */
	bool repeatable;           /* may be sent again where the connection breaks */
	bool progress;             /* the server is to send it */
};

/* Its response comes to the handlers of http. NULL: no memory. */
struct http_transfer *mcp_send(const struct mcp_route *to, const struct mcp_session *s, const struct mcp_post *p,
                               const struct http_handlers *handlers, void *arg);

/* Sends a message of the legacy era, or (NULL) deletes the session; steals it. What becomes of it does not matter. */
void mcp_send_notice(const struct mcp_route *to, const struct mcp_session *s, json_t *message);

#endif
