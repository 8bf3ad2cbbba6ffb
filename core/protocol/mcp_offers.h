/* SPDX-License-Identifier: Apache-2.0 */
/* The tools that MCP clients are offered: those of this service that the configuration provides and the client may
 * use, under names of their own, and what only this service can do: ask an LLM, and say what runs. */
#ifndef TT_PROTOCOL_MCP_OFFERS_H
#define TT_PROTOCOL_MCP_OFFERS_H

#include "core/access/access.h"
#include "core/config/config.h"
#include "core/protocol/mcp_reply.h"
#include "core/protocol/request.h"
#include "core/tools/tool.h"

#include <jansson.h>

enum mcp_offer_kind {
	MCP_OFFER_TOOL,   /* runs a tool of the toolbox */
	MCP_OFFER_CHAT,   /* asks an LLM: protocol_mcp_chat */
	MCP_OFFER_STATUS, /* says what runs */
};

struct mcp_offer {
	const char *name, *title, *description;
	enum mcp_offer_kind kind;
	const struct tool *tool;                     /* MCP_OFFER_TOOL */
	const char *input_schema, *output_schema;    /* JSON; NULL: the tool's own parameters, none */
	bool is_read_only, is_repeatable, is_closed; /* readOnlyHint, idempotentHint, no openWorldHint */
};

/* The one of that name; NULL: there is none, or the configuration does not provide it. *allowed: the client may
 * use it, as its key says by this name or by the one that models know. */
const struct mcp_offer *mcp_offers_find(const struct config *c, const struct access_identity *who, const char *name,
                                        bool *allowed);

/* For tools/list, always in the same order: a new reference. */
json_t *mcp_offers_list(const struct config *c, const struct access_identity *who);

/* The arguments of `chat`, for protocol_mcp_chat. 0 with r filled (chat_request_clear); -1: no memory; 1: wrong,
 * with a sentence for the model. args may be NULL. */
int mcp_offers_chat(const json_t *args, const struct mcp_reply *reply, struct chat_request *r, const char **sentence);

#endif
