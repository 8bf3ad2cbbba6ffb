/* SPDX-License-Identifier: Apache-2.0 */
/* The FastCGI connections of one worker: reads whole requests from them and writes responses to
 * them. Nothing here ever blocks. One thread.
 *
 *   IDLE -> (READING ->) ACTIVE -> IDLE ... or closed
 *
 * A request that is in the socket's buffer as a whole is read from there by libfcgi. One that
 * comes in pieces, or whose body is longer than that buffer, is collected (READING) and passed on
 * when it is whole and checked. One deadline runs from the accept, or from a kept connection's
 * first byte, to the whole request. */
#ifndef TT_FCGI_CONNECTION_H
#define TT_FCGI_CONNECTION_H

#include "core/access/access.h"
#include "core/base/err.h"
#include "fcgi/fcgi_request.h"
#include "fcgi/handover.h"
#include "core/protocol/protocol.h"

#include <event2/event.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request_log;
struct connections;
struct connection;
struct connection_orphan;

struct connections_host {
	/* A whole request. Answer it, now or later, with connection_head, output_write and
	 * output_end. Its parameters and body are valid until this returns. */
	void (*request)(void *arg, struct connection *c);
	/* The response to a request begins: with this status, from the endpoint of connection_set_endpoint. */
	void (*answered)(void *arg, unsigned endpoint, int status); /* may be NULL */
	/* A connection was closed. */
	void (*closed)(void *arg);
	/* A kept connection has become idle. */
	void (*idle)(void *arg);
	void *arg;
	struct keeper *keeper; /* of streamed answers; NULL: none */
};

struct connections *connections_new(struct event_base *base, const struct connections_host *host, struct err *e);
void connections_free(struct connections *s); /* closes every connection */

void connections_limits(struct connections *s, int64_t request_timeout_ms, size_t body_limit);

/* Takes over an accepted file descriptor (blocking mode, close-on-exec). read_now: without waiting
 * for an event, as most peers have sent the request by then. */
void connections_add(struct connections *s, int fd, bool read_now);

/* Takes over the connection of an orphan; request is what o->known tells. */
void connections_add_orphan(struct connections *s, int fd, const struct connection_orphan *o, const char *request);

/* To be called at the end of each iteration of the loop: sends what the iteration wrote, frees
 * what it closed. */
void connections_flush(struct connections *s);
/* Whether the next iteration must not wait for an event, as something is to be looked at after it. */
bool connections_hurry(const struct connections *s);

/* Closes the kept connection that has been idle for the longest time, for its file descriptor.
 * false: there is none. */
bool connections_close_idle(struct connections *s);

size_t connections_count(const struct connections *s);
size_t connections_active(const struct connections *s); /* with a request that is being answered */

/* From now on a connection is closed after its next response instead of kept. */
void connections_drain(struct connections *s);

/* Requests that are being answered end soon, if their owners can tell the client why. */
void connections_stop(struct connections *s);

/* --- one request ------------------------------------------------------------------ */
const struct fcgi_request_params *connection_params(const struct connection *c);
const char *connection_header(const struct connection *c, const char *name); /* as fcgi_request_header */
const char *connection_next_header(const struct connection *c, const char *name, const char *after);
/* The address of the web server over TCP; "" over AF_UNIX. */
void connection_peer(const struct connection *c, char out[INET6_ADDRSTRLEN]);
/* The peer is not known to be the web server: nothing that it says of the client's rights and user counts. */
void connection_distrust(struct connection *c);
bool connection_is_trusted(const struct connection *c);
const char *connection_body(const struct connection *c, size_t *len);
/* Takes it over, NUL-terminated; free(). The request waits then, and its parameters are gone. */
char *connection_take_body(struct connection *c, size_t *len);
/* The body was longer than body_limit, or than the web server accepts, and is missing. */
bool connection_body_too_large(const struct connection *c);
/* The method is HEAD: the response has the header of GET, but no body. */
bool connection_is_head(const struct connection *c);

/* Room for CONNECTION_ID_MAX characters and a NUL, filled by dispatch. */
#define CONNECTION_ID_MAX 128
char *connection_request_id(struct connection *c);

/* Which endpoint the request is for, as a member of LABEL_ENDPOINT (core/status/counters.h). */
void connection_set_endpoint(struct connection *c, unsigned endpoint);

/* The line that it gets in the log when it ends, or when the client leaves; NULL: none. Set once. */
void connection_set_log(struct connection *c, struct request_log *l);
struct request_log *connection_log(const struct connection *c);

/* Gets notified while a response is not complete, up to output_end. */
struct connection_owner {
	void (*resume)(void *arg); /* there is room again, after output_is_full was true */
	void (*closed)(void *arg); /* the peer closed it; c must not be used any more */
	void (*stop)(void *arg);   /* connections_stop; may be NULL */
};
void connection_own(struct connection *c, const struct connection_owner *owner, void *arg);

/* Closes it in the middle of its response, which is lost: for a client that does not read. The owner's closed
 * is called. */
void connection_abort(struct connection *c);
/* Ends the response where it is, as a broken one, once what was written is sent: web servers end a body whose
 * responder is gone as if it were whole, so this one gets a record that is none and closes the client's connection.
 * As output_end for the rest. */
void output_break(struct output *o);
/* What was written waits for the client, which has not read what came before. */
bool output_is_stuck(const struct output *o);

/* The response's header block, ended by an empty line, at most 4 KiB, with this status. It is sent with the first
 * byte of the body; until then the web server may retry the request with another worker. */
void connection_head(struct connection *c, int status, const char *bytes, size_t len);

/* Adds lines, each ended by \r\n, to the head of whatever response is made. */
void connection_add_headers(struct connection *c, const char *lines);
const char *connection_headers(const struct connection *c); /* "" where there are none */

/* What the path has below the endpoint's own, which takes over rest; NULL: nothing. */
void connection_set_rest(struct connection *c, char *rest);
const char *connection_rest(const struct connection *c);

/* Who sent the request: takes over the reference. NULL: not known (yet). */
void connection_set_identity(struct connection *c, struct access_identity *identity);
struct access_identity *connection_identity(const struct connection *c);

/* Before connection_head, of an answer that p streams: if the worker dies, another one resumes it,
 * or its keeper ends it. */
void connection_keep(struct connection *c, const struct protocol *p);

/* An answer whose worker died, with its request once more. Its head was sent already, and so was
 * the text: connection_head does nothing. */
struct connection_orphan {
	const struct protocol *protocol;
	struct orphan known;
	const char *text; /* known.text_len bytes */
};
/* While its request is dispatched; NULL: it is not one. */
const struct connection_orphan *connection_orphan(const struct connection *c);
/* The answer cannot be resumed: ends it as broken. */
void connection_end_orphan(struct connection *c);

/* Where the body is written, after connection_head: core/protocol/output.h, defined in output.c. */
#define CONNECTION_BODY_MAX (16u << 20) /* of a response that is written at once */
struct output *connection_output(struct connection *c);

/* The response is complete; its connection must not be used any more. */
void output_end(struct output *o);

#endif
