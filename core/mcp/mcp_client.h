/* SPDX-License-Identifier: Apache-2.0 */
/* A client of one MCP server. It finds out which era the server is of, the modern one first, and remembers it until
 * the server answers otherwise; it begins sessions, and begins them again where the server forgot them. Everything
 * runs on the loop; nothing blocks. What a server does wrong (it hangs, dies, sends too much or nonsense) ends the
 * call that it was done to, and no other. */
#ifndef TT_MCP_MCP_CLIENT_H
#define TT_MCP_MCP_CLIENT_H

#include "core/base/background.h"
#include "core/http/http.h"
#include "core/mcp/mcp_target.h"

#include <event2/event.h>
#include <jansson.h>

struct mcp_client;

struct mcp_client_place {
	struct event_base *base;
	struct http *http;
	struct background *background; /* where long answers are parsed; NULL: on the loop */
	const char *proxy;             /* for its URL; NULL: none; copied */
	size_t reply_limit;            /* of what a server sends in answer to one call, in bytes */
};

/* Takes a reference of what target is made of. NULL: no memory. */
struct mcp_client *mcp_client_new(const struct mcp_client_place *place, const struct mcp_target *target);

/* Cancels its calls, without callbacks, and ends the session. Before the http that it uses, and not from within a
 * callback of its own; NULL is fine. */
void mcp_client_free(struct mcp_client *c);

const struct mcp_target *mcp_client_target(const struct mcp_client *c);

/* The version that the server speaks; NULL: not known. */
const char *mcp_client_version(const struct mcp_client *c);

struct mcp_call;

struct mcp_outcome {
	const json_t *result; /* NULL: it failed; then text says why */
	const char *text;     /* for people and models: "HTTP 401: ...", one line, safe to show */
	bool timed_out;
	bool refused; /* the server answered, with an error of JSON-RPC: the fault is the call's, not the server's */
};

/* Once; never from within mcp_client_call, and not after mcp_call_cancel. The call is gone afterwards. */
typedef void mcp_done_fn(void *arg, const struct mcp_outcome *o);

/* What the server tells while it works: one line, safe to show. Not more than one a second, but for the first. The call
 * must not be cancelled from within. */
typedef void mcp_progress_fn(void *arg, const char *text);

struct mcp_request {
	const char *method;
	const json_t *params;      /* borrowed; NULL: none */
	const char *name;          /* for the header Mcp-Name, NULL: none */
	char *const *headers;      /* further lines, for the modern era only; NULL-terminated; copied; NULL: none */
	const char *const *labels; /* the same for every era, X-Request-Id and traceparent */
	bool repeatable;           /* sent again once where the connection broke */
	int64_t timeout_ms;        /* 0: the target's */
	mcp_progress_fn *progress; /* with the arg of done; NULL: nobody wants to know */
};

/* NULL: no memory. */
struct mcp_call *mcp_client_call(struct mcp_client *c, const struct mcp_request *r, mcp_done_fn *done, void *arg);

/* The server is told, in the way of its era. */
void mcp_call_cancel(struct mcp_call *call);

#endif
