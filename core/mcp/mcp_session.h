/* SPDX-License-Identifier: Apache-2.0 */
/* What a client knows of its server: which era it is of, and for a legacy one the version and the session that
 * initialize gave; and what follows for that from the server's answers. Nothing is sent from here. */
#ifndef TT_MCP_MCP_SESSION_H
#define TT_MCP_MCP_SESSION_H

#include "core/base/err.h"
#include "core/mcp/mcp_response.h"

#include <stdbool.h>

enum mcp_stage {
	MCP_STAGE_WAITING,    /* for the handshake */
	MCP_STAGE_DISCOVER,   /* of the handshake: server/discover, */
	MCP_STAGE_INITIALIZE, /* initialize, */
	MCP_STAGE_CONFIRM,    /* and notifications/initialized */
	MCP_STAGE_REQUEST,
	MCP_STAGE_PAUSE, /* before a stream that broke is taken up again */
	MCP_STAGE_RESUME,
};

struct mcp_session {
	enum { MCP_ERA_UNKNOWN, MCP_ERA_MODERN, MCP_ERA_LEGACY } era;
	bool ready;       /* calls may be sent */
	char version[16]; /* of the legacy era */
	char *id;         /* NULL: none */
};

/* era: the version that the server is known to speak; NULL: not known. */
void mcp_session_init(struct mcp_session *s, const char *era);
void mcp_session_clear(struct mcp_session *s);

/* What follows from the response to a request of the handshake: the next stage, MCP_STAGE_REQUEST where it is done, or
 * MCP_STAGE_WAITING with e where it failed. repeated: whether a step of this handshake was taken back; set where this
 * one is. */
enum mcp_stage mcp_session_step(struct mcp_session *s, enum mcp_stage stage, const struct mcp_response *r,
                                bool *repeated, struct err *e);

/* Whether the server refused a call because it knows nothing of our session, or is of the other era. */
bool mcp_session_is_over(const struct mcp_session *s, const struct mcp_response *r);

/* It is: a handshake must come first again. */
void mcp_session_forget(struct mcp_session *s);

#endif
