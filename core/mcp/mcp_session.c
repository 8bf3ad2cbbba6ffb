/* SPDX-License-Identifier: Apache-2.0 */
#include "core/mcp/mcp_session.h"

#include "core/base/utf8.h"
#include "core/mcp/mcp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OLDEST_VERSION "2024-11-05" /* we don't speak it, but what we need of it is the same */

void mcp_session_init(struct mcp_session *s, const char *era)
{
	*s = (struct mcp_session){.era = MCP_ERA_UNKNOWN};
	if (era == NULL)
		return;
	s->era = strcmp(era, MCP_VERSION) == 0 ? MCP_ERA_MODERN : MCP_ERA_LEGACY;
	s->ready = s->era == MCP_ERA_MODERN;
}

void mcp_session_clear(struct mcp_session *s)
{
	free(s->id);
	s->id = NULL;
}

/* ---- the handshake ------------------------------------------------------------------------------------- */

static bool is_modern_code(json_int_t code)
{
	return code <= MCP_HEADER_MISMATCH && code >= MCP_UNSUPPORTED_VERSION;
}

/* The first version of a list that we speak; NULL: none. */
static const char *spoken(const json_t *versions)
{
	const char *legacy = NULL;
	json_t *version;
	size_t i;

	json_array_foreach(versions, i, version)
	{
		const char *text = json_string_value(version);

		if (text != NULL && strcmp(text, MCP_VERSION) == 0)
			return MCP_VERSION;
		if (mcp_is_legacy_version(text) && (legacy == NULL || strcmp(text, legacy) > 0))
			legacy = text;
	}
	return legacy;
}

static enum mcp_stage fail(const struct mcp_response *r, struct err *e)
{
	char text[sizeof e->text];

	mcp_response_describe(r, text, sizeof text);
	err_set(e, "%s", text);
	return MCP_STAGE_WAITING;
}

static enum mcp_stage fail_versions(const json_t *versions, struct err *e)
{
	char *text = json_dumps(versions, JSON_COMPACT | JSON_ENCODE_ANY), shown[201];

	snprintf(shown, sizeof shown, "%.*s", text != NULL ? (int)utf8_cut(text, 200) : 0, text != NULL ? text : "");
	utf8_disarm(shown);
	free(text);
	err_set(e, "it speaks none of our versions, but %s", shown);
	return MCP_STAGE_WAITING;
}

static enum mcp_stage discovered(struct mcp_session *s, const struct mcp_response *r, bool *repeated, struct err *e)
{
	const json_t *result = json_object_get(r->answer, "result");
	const json_t *error = json_object_get(r->answer, "error");
	const json_t *supported = result != NULL ? json_object_get(result, "supportedVersions")
	                                         : json_object_get(json_object_get(error, "data"), "supported");
	const char *version = spoken(supported);

	if (result != NULL && version != NULL && strcmp(version, MCP_VERSION) == 0) {
		s->era = MCP_ERA_MODERN;
		return MCP_STAGE_REQUEST;
	}
	if (error != NULL && version != NULL && strcmp(version, MCP_VERSION) == 0 && !*repeated) {
		*repeated = true; /* it refused the version that it says it speaks */
		return MCP_STAGE_DISCOVER;
	}
	if (json_is_array(supported) && (version == NULL || strcmp(version, MCP_VERSION) == 0))
		return fail_versions(supported, e);
	if ((r->ended && r->result.outcome != HTTP_DONE) || (r->status >= 300 && r->status < 400) || r->status == 401 ||
	    r->status == 403 || r->status == 429 ||
	    (r->status >= 500 && (r->answer == NULL || r->status >= 502)) || /* of a gateway */
	    (is_modern_code(mcp_response_error_code(r)) && version == NULL))
		return fail(r, e);
	s->era = MCP_ERA_LEGACY;
	return MCP_STAGE_INITIALIZE;
}

static enum mcp_stage initialized(struct mcp_session *s, const struct mcp_response *r, bool *repeated, struct err *e)
{
	const json_t *result = json_object_get(r->answer, "result");
	const json_t *member = json_object_get(result, "protocolVersion");
	const char *version = json_string_value(member);

	if (result == NULL && is_modern_code(mcp_response_error_code(r)) && !*repeated) {
		*repeated = true;
		return MCP_STAGE_DISCOVER;
	}
	if (result == NULL || version == NULL ||
	    (!mcp_is_legacy_version(version) && strcmp(version, OLDEST_VERSION) != 0)) {
		s->era = MCP_ERA_UNKNOWN;
		return result == NULL ? fail(r, e) : fail_versions(member, e);
	}
	snprintf(s->version, sizeof s->version, "%s", version);
	free(s->id);
	s->id = r->session[0] != '\0' ? strdup(r->session) : NULL;
	return MCP_STAGE_CONFIRM;
}

static enum mcp_stage confirmed(struct mcp_session *s, const struct mcp_response *r, struct err *e)
{
	if (r->ended && r->result.outcome == HTTP_DONE && r->result.status < 300)
		return MCP_STAGE_REQUEST;
	s->era = MCP_ERA_UNKNOWN;
	return fail(r, e);
}

enum mcp_stage mcp_session_step(struct mcp_session *s, enum mcp_stage stage, const struct mcp_response *r,
                                bool *repeated, struct err *e)
{
	enum mcp_stage next = stage == MCP_STAGE_DISCOVER     ? discovered(s, r, repeated, e)
	                      : stage == MCP_STAGE_INITIALIZE ? initialized(s, r, repeated, e)
	                                                      : confirmed(s, r, e);

	s->ready |= next == MCP_STAGE_REQUEST;
	return next;
}

/* ---- its end --------------------------------------------------------------------------------------------- */

bool mcp_session_is_over(const struct mcp_session *s, const struct mcp_response *r)
{
	json_int_t code = mcp_response_error_code(r);

	if (r->status == 404 || r->status == 405)
		return true;
	if (r->status != 400)
		return s->era == MCP_ERA_MODERN && r->status < 300 && code == MCP_METHOD_NOT_FOUND;
	if (s->era == MCP_ERA_LEGACY)
		return code != MCP_INVALID_PARAMS && code != MCP_INTERNAL_ERROR;
	return code == MCP_UNSUPPORTED_VERSION ||
	       !(is_modern_code(code) || code == MCP_INVALID_PARAMS || code == MCP_INTERNAL_ERROR);
}

void mcp_session_forget(struct mcp_session *s)
{
	s->ready = false;
	if (s->era == MCP_ERA_MODERN || s->id == NULL)
		s->era = MCP_ERA_UNKNOWN;
	mcp_session_clear(s);
}
