/* SPDX-License-Identifier: Apache-2.0 */
/* A chat turn over a connection, in any protocol: admission, refusals, and the turn's life. */
#ifndef TT_FCGI_CHAT_H
#define TT_FCGI_CHAT_H

#include "core/protocol/protocol.h"
#include "core/trace/trace.h"
#include "fcgi/connection.h"
#include "fcgi/worker.h"

/* Answers the request on c, now or later. */
void chat_dispatch(const struct protocol *p, struct worker *w, struct connection *c);

/* The trace that the request on c belongs to, by its headers. */
void chat_receive_trace(const struct connection *c, struct trace_context *out);

/* Among whose requests the places at a full model are shared fairly. address: NULL: not known. */
uint64_t chat_client_key(const struct connection *c, const char *address);

/* Who sent a request, which may have waited since. */
struct chat_client {
	const char *address; /* NULL: not known */
	struct trace_context trace;
};
/* The same for a request that was read already; chat is moved. */
void chat_begin(const struct protocol *p, struct worker *w, struct connection *c, const struct chat_client *client,
                struct chat_request *chat);

#endif
