/* SPDX-License-Identifier: Apache-2.0 */
/* What connection.c, intake.c, output.c and apart.c share; nobody else looks inside. */
#ifndef TT_FCGI_CONNECTION_INTERNAL_H
#define TT_FCGI_CONNECTION_INTERNAL_H

#include "core/base/buf.h"
#include "fcgi/connection.h"
#include "fcgi/precheck.h"

#include <event2/event_struct.h>
#include <sys/queue.h>

#define CONNECTION_PEEK_MAX (64u << 10)

enum connection_state {
	CONNECTION_IDLE,   /* waits for a request */
	CONNECTION_INTAKE, /* a request comes in pieces */
	CONNECTION_ACTIVE, /* a request is being answered */
	CONNECTION_CLOSED, /* waits to be freed */
};

/* The response on its way out. Positions count bytes of the body from its start. */
struct output {
	struct buf backlog;  /* given, but not yet in a record */
	size_t given, taken; /* taken: put into records */
	size_t *barriers;    /* positions before which all else must have been passed on */
	size_t barrier_count, barrier_cap;
	size_t passed; /* the last of them that was reached; 0: none */
	bool ended, failed;
	bool dirty;  /* listed for the end of the iteration */
	bool enough; /* the writer was told to wait */
	bool waits_writable;
	enum apart {
		FLUSH_NOT,    /* not at a barrier */
		FLUSH_UNREAD, /* the peer has not read all before it */
		FLUSH_MOMENT, /* a moment must pass */
	} apart;
	int64_t apart_due_ns; /* when that is over */
};

struct connection {
	struct connections *set;
	TAILQ_ENTRY(connection) link;  /* in set->all, set->spare or set->dead */
	TAILQ_ENTRY(connection) queue; /* set->waiting while IDLE or INTAKE */
	TAILQ_ENTRY(connection) dirty; /* set->dirty */
	TAILQ_ENTRY(connection) apart; /* set->moments */
	struct event readable;
	struct event writable; /* added while the socket is full, or a read of the peer is waited for */
	int fd;
	enum connection_state state;
	bool keep;
	bool waiting; /* in set->waiting */
	bool too_large;
	int64_t waiting_since_ms;
	int64_t credit; /* bytes of socket buffer that a write may still use unasked */
	struct precheck peek;
	struct buf intake;
	struct request *exchange;
	const struct connection_owner *owner;
	void *owner_arg;
	struct output out;
	char request_id[REQUEST_ID_MAX + 1];
};

TAILQ_HEAD(connection_list, connection);

struct connections {
	struct event_base *base;
	struct connections_host host;
	struct connection_list all, spare, dead, waiting, dirty, moments;
	size_t count, active, spares;
	bool draining;
	int64_t request_timeout_ms;
	size_t body_limit;
	int64_t refusal_told_ms, refused; /* since then */
	int64_t window;                   /* credit that a writable socket gives; 0: not known yet */
	bool local;                       /* AF_UNIX: SIOCOUTQ tells what the peer has not read */
	struct event *deadline;           /* of the first of `waiting` */
	bool deadline_armed;
	int apart_fd; /* timerfd: barriers need better than milliseconds */
	struct event *apart_timer;
	char peeked[CONNECTION_PEEK_MAX];
};

void connection_close(struct connection *c);
void connection_lost(struct connection *c);          /* tells the owner and closes */
void connection_finished(struct connection *c);      /* the response is out: keep or close */
void connection_await_request(struct connection *c); /* its deadline runs from now, unless it does already */
void connection_stop_waiting(struct connection *c);

void read_check(struct connection *c);    /* IDLE: something came */
void read_continue(struct connection *c); /* INTAKE: more came */
void read_refuse(struct connection *c, const char *why);

void output_reset(struct connection *c);
void output_free(struct connection *c);
void output_flush(struct connection *c);
void output_writable(struct connection *c);
bool output_has_room(struct connection *c, size_t len); /* of a record; false: is flushed once it has */
void output_mark(struct connection *c);                 /* is flushed at the end of the iteration */
void output_prepare(struct connection *c);              /* a new descriptor */

void flush_boundary_add(struct connection *c);                   /* a barrier behind all that was given */
bool flush_boundary_pending(const struct output *o);             /* there is one that was not passed */
size_t flush_boundary_limit(const struct output *o, size_t len); /* how much of len lies before it */
bool flush_boundary_holds(struct connection *c); /* the next byte must wait; output_mark tells its end */
void flush_boundary_check(struct connection *c); /* UNREAD: the peer may have read */
void flush_boundary_tick(struct connections *s); /* the timer */
void flush_boundary_clear(struct connection *c);

#endif
