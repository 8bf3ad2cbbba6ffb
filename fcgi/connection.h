/* SPDX-License-Identifier: Apache-2.0 */
/* The FastCGI connections of one worker: from a descriptor to whole requests, and from
 * answers back to records. Nothing here ever blocks. One thread.
 *
 *   IDLE -> (INTAKE ->) ACTIVE -> IDLE ... or closed
 *
 * A request that lies whole in the socket's buffer is read from there by libfcgi. One
 * that comes in pieces, or whose body is longer than that buffer, is collected (INTAKE)
 * and handed over when it is whole and checked. One deadline runs from the connection, or
 * from a kept connection's first byte, to the whole request. */
#ifndef TT_FCGI_CONNECTION_H
#define TT_FCGI_CONNECTION_H

#include "core/base/err.h"
#include "fcgi/request.h"
#include "fcgi/request_id.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connections;
struct connection;

struct connections_host {
	/* A whole request: answer it with connection_head, connection_write and
	 * connection_end, now or later. Its parameters and body are valid until this
	 * returns. */
	void (*request)(void *arg, struct connection *c);
	/* One connection less. */
	void (*closed)(void *arg);
	/* Nothing runs any more on one that is kept. */
	void (*idle)(void *arg);
	void *arg;
};

struct connections *connections_new(struct event_base *base, const struct connections_host *host, struct err *e);
void connections_free(struct connections *s); /* drops every connection */

void connections_limits(struct connections *s, int64_t request_timeout_ms, size_t body_limit);

/* Takes over an accepted descriptor (blocking mode, close-on-exec). look: at once for a
 * request, which most peers have sent by then. */
void connections_adopt(struct connections *s, int fd, bool look);

/* To call at the end of each iteration of the loop: sends what the iteration wrote,
 * frees what it closed. */
void connections_flush(struct connections *s);

/* Closes the kept connection on which nothing has run for the longest time, to have its
 * descriptor. false: there is none. */
bool connections_close_idle(struct connections *s);

size_t connections_count(const struct connections *s);
size_t connections_active(const struct connections *s); /* with a request in work */

/* From now on a connection is closed after its next response instead of kept. */
void connections_drain(struct connections *s);

/* --- one request ------------------------------------------------------------------ */
const struct request_params *connection_params(const struct connection *c);
const char *connection_header(const struct connection *c, const char *name); /* as request_header */
const char *connection_body(const struct connection *c, size_t *len);
/* The body was longer than body_limit, or than what the web server takes, and is not there. */
bool connection_body_too_large(const struct connection *c);

/* Room for REQUEST_ID_MAX characters, filled by who serves the request. */
char *connection_request_id(struct connection *c);

/* Who answers later wants to know what happens to the connection. Ends with
 * connection_end. */
struct connection_owner {
	void (*resume)(void *arg); /* the backlog is low again, after connection_write said 1 */
	void (*gone)(void *arg);   /* the peer left; the connection is gone when this returns */
};
void connection_own(struct connection *c, const struct connection_owner *owner, void *arg);

/* The response's header block, ended by an empty line; at most 4 KiB. Leaves with the first byte
 * of the body, so that until then the web server may ask another worker. */
void connection_head(struct connection *c, const char *bytes, size_t len);

/* A piece of the body; goes out at the end of the loop's iteration. apart: the web server
 * is made to pass it on as an HTTP chunk of its own; without a byte, what follows is in no
 * chunk with what was before. Returns 1 where the caller should
 * wait for resume; what was given is sent in any case. */
int connection_write(struct connection *c, const char *bytes, size_t len, bool apart);

/* The response is complete; c must not be used any more. */
void connection_end(struct connection *c);

#endif
