/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of an MCP server over HTTP: what a POST asks for, and what it is answered with. Pure.
 *
 * Two eras share one path. Of the modern one (2026-07-28) each request says everything itself, in its _meta and
 * once more in headers, which must agree. The legacy one (2025-11-25 and before) begins with initialize; as this
 * server gives out no session ids, each request stands for itself there, too. */
#ifndef TT_PROTOCOL_MCP_SERVER_H
#define TT_PROTOCOL_MCP_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* NULL: it did not come, or twice and different. */
struct mcp_headers {
	const char *version, *method, *name; /* MCP-Protocol-Version, Mcp-Method, Mcp-Name */
};

struct mcp_message {
	bool modern;
	json_t *body;
	const char *method;   /* in body */
	const json_t *params; /* likewise; an object, or NULL: there are none */
	char *id;             /* as JSON, number for number as it came; NULL: none that may be returned */
	char *progress_token; /* likewise; NULL: the client wants to hear of no progress */
};
void mcp_message_clear(struct mcp_message *r);

struct mcp_refusal {
	int status; /* of HTTP */
	int code;   /* of JSON-RPC, MCP's own among them */
	char message[400];
	json_t *data; /* a new reference; NULL: none */
};

enum mcp_verdict {
	MCP_REQUEST, /* to be answered */
	MCP_NOTICE,  /* 202: a notification, or what answers a request that nobody made */
	MCP_REFUSED, /* with the refusal, under r->id */
};
/* Fills r (mcp_message_clear) and, if it is refused, why. */
enum mcp_verdict mcp_server_read(const char *body, size_t len, const struct mcp_headers *h, struct mcp_message *r,
                                 struct mcp_refusal *why);

/* What server/discover says, newest first; a new reference. */
json_t *mcp_server_versions(void);

/* ---- texts of messages: free(); NULL: no memory. id, token: as JSON; id NULL: it is not known ---- */

/* Steals result, an object. Of the modern era it gets what each result must have. */
char *mcp_server_result(const char *id, bool modern, json_t *result);
/* Steals data; NULL: none. */
char *mcp_server_error(const char *id, int code, const char *message, json_t *data);
char *mcp_server_progress(const char *token, unsigned long long progress, const char *message);

/* {"name","title","version"}: a new reference. */
json_t *mcp_server_info(void);

#endif
