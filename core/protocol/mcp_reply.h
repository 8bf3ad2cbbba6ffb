/* SPDX-License-Identifier: Apache-2.0 */
/* The response to one MCP request: one JSON object, or a stream of events (SSE) whose last one is the answer.
 *
 * It begins as a stream when there is something to tell before the answer: progress that the client wants to hear
 * of, or, after a while, that the answer is still coming. What ends without its last event is no answer: every
 * client takes it for an error. One thread. */
#ifndef TT_PROTOCOL_MCP_REPLY_H
#define TT_PROTOCOL_MCP_REPLY_H

#include "core/protocol/mcp_server.h"
#include "core/protocol/output.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct mcp_reply {
	struct output *output;
	char *id, *progress_token; /* as JSON; NULL: none */
	bool modern;
	bool takes_json, takes_events; /* as the client's Accept says */
	bool begun;                    /* as a stream */
	unsigned long long progress;
};

/* What the client accepts, by its header; NULL: it did not send it. False: neither. */
bool mcp_reply_accepts(const char *accept, bool *json, bool *events);

/* Takes over what m says of its answer: id and progress token. */
void mcp_reply_init(struct mcp_reply *r, struct output *o, struct mcp_message *m, bool takes_json, bool takes_events);
void mcp_reply_clear(struct mcp_reply *r);

/* The same as JSON, for a turn that answers later, and back. A new reference; NULL, -1: no memory. */
json_t *mcp_reply_save(const struct mcp_reply *r);
int mcp_reply_restore(struct mcp_reply *r, struct output *o, const json_t *saved);

/* Whether the client wants to hear of progress. */
static inline bool mcp_reply_wants_progress(const struct mcp_reply *r)
{
	return r->progress_token != NULL && r->takes_events;
}
/* Tells it, if it wants to. */
void mcp_reply_progress(struct mcp_reply *r, const char *message);
/* A comment, which keeps the connection open, if the client takes events. */
void mcp_reply_beat(struct mcp_reply *r);

/* Another program began the stream and died; memo: as of output_remember. */
void mcp_reply_resume(struct mcp_reply *r, const char *memo);

/* The states of output_set_state: what is done where the program dies. */
enum mcp_reply_state {
	MCP_REPLY_AGAIN, /* another one does all of it again */
	MCP_REPLY_ONCE,  /* nobody: it must not be done twice */
};

/* ---- the ends; the response is complete then, but for output_end ---- */

/* Steals result, an object; NULL: no memory. */
void mcp_reply_result(struct mcp_reply *r, json_t *result);
/* headers: more lines, each ended by \r\n. Steals data; NULL: none. */
void mcp_reply_error(struct mcp_reply *r, int status, const char *headers, int code, const char *message, json_t *data);

/* The result of a call: text that the model reads, and what programs read; both may be NULL. Steals structured. */
json_t *mcp_reply_text(const char *text, bool is_error, json_t *structured);

#endif
