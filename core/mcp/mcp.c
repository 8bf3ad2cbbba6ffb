/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mcp/mcp.h"

#include <stdint.h>
#include <string.h>

bool mcp_is_legacy_version(const char *version)
{
#define V(text) text,
	static const char *const legacy[] = {MCP_LEGACY_VERSIONS(V)};
#undef V

	for (size_t i = 0; version != NULL && i < sizeof legacy / sizeof legacy[0]; i++)
		if (strcmp(version, legacy[i]) == 0)
			return true;
	return false;
}

static json_t *id_of(const json_t *id)
{
	return id != NULL ? json_incref((json_t *)(uintptr_t)id) : json_null();
}

json_t *mcp_request(const json_t *id, const char *method, json_t *params)
{
	return json_pack("{s:s, s:o, s:s, s:o*}", "jsonrpc", "2.0", "id", id_of(id), "method", method, "params",
	                 params);
}

json_t *mcp_notification(const char *method, json_t *params)
{
	return json_pack("{s:s, s:s, s:o*}", "jsonrpc", "2.0", "method", method, "params", params);
}

json_t *mcp_result(const json_t *id, json_t *result)
{
	return json_pack("{s:s, s:o, s:o}", "jsonrpc", "2.0", "id", id_of(id), "result",
	                 result != NULL ? result : json_object());
}

json_t *mcp_error(const json_t *id, int code, const char *message, json_t *data)
{
	return json_pack("{s:s, s:o, s:{s:i, s:s, s:o*}}", "jsonrpc", "2.0", "id", id_of(id), "error", "code", code,
	                 "message", message, "data", data);
}
