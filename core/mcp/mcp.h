/* SPDX-License-Identifier: Apache-2.0 */
/* The Model Context Protocol: what its clients and servers share. Pure.
 *
 * There are two eras. In the modern one (MCP_VERSION) each request stands alone: what a session used to
 * know is in its headers and in params._meta. The legacy versions begin with initialize, and may have sessions. */
#ifndef TT_MCP_MCP_H
#define TT_MCP_MCP_H

#include <jansson.h>
#include <stdbool.h>

#define MCP_VERSION "2026-07-28"

/* V(text), the newest first. */
#define MCP_LEGACY_VERSIONS(V) V("2025-11-25") V("2025-06-18") V("2025-03-26")
#define MCP_LEGACY_NEWEST      "2025-11-25"

/* Codes of JSON-RPC errors. Between -32000 and -32019, nothing certain is meant. */
enum mcp_error_code {
	MCP_PARSE_ERROR = -32700,
	MCP_INVALID_REQUEST = -32600,
	MCP_METHOD_NOT_FOUND = -32601,
	MCP_INVALID_PARAMS = -32602,
	MCP_INTERNAL_ERROR = -32603,
	MCP_HEADER_MISMATCH = -32020,     /* a header and the body differ */
	MCP_MISSING_CAPABILITY = -32021,  /* the client lacks one that the request needs */
	MCP_UNSUPPORTED_VERSION = -32022, /* data: {"supported":[...],"requested":"..."} */
};

/* Members of params._meta. */
#define MCP_META_VERSION      "io.modelcontextprotocol/protocolVersion"
#define MCP_META_CAPABILITIES "io.modelcontextprotocol/clientCapabilities"
#define MCP_META_CLIENT       "io.modelcontextprotocol/clientInfo"
#define MCP_META_SERVER       "io.modelcontextprotocol/serverInfo"
#define MCP_META_TRACE        "traceparent"
#define MCP_META_PROGRESS     "progressToken"

/* Headers of HTTP. */
#define MCP_HEADER_VERSION "MCP-Protocol-Version"
#define MCP_HEADER_METHOD  "Mcp-Method"
#define MCP_HEADER_NAME    "Mcp-Name"
#define MCP_HEADER_SESSION "Mcp-Session-Id"
#define MCP_HEADER_PARAM   "Mcp-Param-" /* and the name that x-mcp-header gives */

/* A header's value that is no plain ASCII text is sent as =?base64?BASE64?=. */
#define MCP_SENTINEL_BEGIN "=?base64?"
#define MCP_SENTINEL_END   "?="

bool mcp_is_legacy_version(const char *version); /* that we speak; NULL is none */

/* Messages; new references, NULL: no memory. id is borrowed (NULL: null); params, result and data are stolen,
 * and may be NULL where there are none. A request without an id is a notification: use mcp_notification. */
json_t *mcp_request(const json_t *id, const char *method, json_t *params);
json_t *mcp_notification(const char *method, json_t *params);
json_t *mcp_result(const json_t *id, json_t *result);
json_t *mcp_error(const json_t *id, int code, const char *message, json_t *data);

#endif
