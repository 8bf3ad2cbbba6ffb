/* SPDX-License-Identifier: Apache-2.0 */
/* What goes over the wire to MCP servers and back, as values. Pure. */
#ifndef TT_MCP_MCP_WIRE_H
#define TT_MCP_MCP_WIRE_H

#include "core/base/buf.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Appends a header's value as MCP encodes it. -1: no memory, or no room in out. */
int mcp_wire_header_value(const char *value, struct buf *out);

/* ---- x-mcp-header ----------------------------------------------------------------------------
 *
 * A map says which arguments of a tool are sent as headers as well: [["Region", "region"], ["City", "to", "city"]],
 * the header's name and the path of the argument. */

/* The map of a schema, a new reference; NULL with *why: the annotations are not valid, and neither is the tool. */
json_t *mcp_wire_header_map(const json_t *schema, const char **why);

/* The lines for these arguments, free() each and the list, which NULL ends. NULL: no memory. */
char **mcp_wire_header_lines(const json_t *map, const json_t *arguments);

/* ---- messages ---------------------------------------------------------------------------------- */

/* A message; what text cannot have is replaced. NULL: it is no JSON. */
json_t *mcp_wire_parse(const char *bytes, size_t len);

enum mcp_kind {
	MCP_OTHER,        /* nothing that JSON-RPC knows, or an answer to another request */
	MCP_ANSWER,       /* to the request: it has a result or an error */
	MCP_REQUEST,      /* of the server */
	MCP_NOTIFICATION, /* of the server */
};
enum mcp_kind mcp_wire_kind(const json_t *message, json_int_t id);

/* The error of an answer for people: "Unknown tool (-32602)"; bounded, and safe to show. */
void mcp_wire_error_text(const json_t *error, char *out, size_t size);

/* params with _meta as the modern era wants it (modern), with the trace (NULL: none) and the token of what is told
 * while the server works (0: none); new reference, NULL: no memory. */
json_t *mcp_wire_params(const json_t *params, bool modern, const char *traceparent, json_int_t progress);

/* What a notification tells of the work on the request with this token, as one line that is safe to show: its message,
 * or else how much is done. false: it tells nothing of it. */
bool mcp_wire_progress(const json_t *message, json_int_t token, char *out, size_t size);

/* The client as MCP wants it described. */
json_t *mcp_wire_client_info(void);

/* ---- results of tools ---------------------------------------------------------------------------- */

/* A result of tools/call as the text that a model reads, of at most limit bytes and a note; *failed: it is an
 * error. free(); NULL: no memory. */
char *mcp_wire_result_text(const json_t *result, size_t limit, bool *failed);

#endif
