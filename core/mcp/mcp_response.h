/* SPDX-License-Identifier: Apache-2.0 */
/* What a server sends in response to one request: a message of JSON-RPC, or a stream of events among which the answer
 * is. It is read up to the answer, within a limit; long messages are parsed in the background. What the answer means
 * is for others. On the loop. */
#ifndef TT_MCP_MCP_RESPONSE_H
#define TT_MCP_MCP_RESPONSE_H

#include "core/base/background.h"
#include "core/base/buf.h"
#include "core/http/http.h"
#include "core/stream/sse.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define MCP_SESSION_MAX 1024 /* bytes of a session's name */

struct mcp_response_handlers {
	/* A request or a notification of the server. It must not end the response. */
	void (*request)(void *arg, const json_t *message);
	void (*notification)(void *arg, const json_t *message);
	/* The answer has come, or will not; once for each mcp_response_begin. May end the response, and free it. */
	void (*done)(void *arg);
};

struct mcp_response {
	/* Set by whoever owns it, which zeroes the rest. */
	const struct mcp_response_handlers *handlers;
	void *arg;
	struct background *background; /* NULL: all is parsed on the loop */
	size_t limit;                  /* of what comes, in bytes */
	struct http_transfer *transfer;

	/* For done, until mcp_response_end. */
	json_t *answer;            /* NULL: none */
	bool too_long;             /* it exceeded the limit; the transfer still runs */
	bool ended;                /* so did the transfer, with this: */
	struct http_result result; /* without a body */
	long status;
	bool is_stream;                    /* the last response that came was one */
	char session[MCP_SESSION_MAX + 1]; /* the name of the one that it began; "": none */
	struct sse sse;                    /* its id and retry_ms say how to go on with a stream that broke */

	/* Its own. */
	json_int_t id;
	bool reading;   /* sse is in use */
	bool has_other; /* messages that are no answer to the request */
	char type[60];  /* Content-Type */
	size_t received;
	/* A long message, which is parsed in the background, and what came after it. */
	struct background_job *parsing; /* NULL: none */
	struct buf rest;
};

/* To a request with this id; it is sent next, with mcp_response_http and this as arg. last_event: of the stream that it
 * goes on with; "": none. Ends what was before. */
void mcp_response_begin(struct mcp_response *r, json_int_t id, const char *last_event);

/* The response of initialize may begin a session (begins_session). */
const struct http_handlers *mcp_response_http(bool begins_session);

/* Cancels the transfer; no further callback. Also where none has begun. */
void mcp_response_end(struct mcp_response *r);

json_int_t mcp_response_error_code(const struct mcp_response *r); /* 0: the answer is no error */

/* Why there is no result, for people. */
void mcp_response_describe(const struct mcp_response *r, char *out, size_t size);

#endif
