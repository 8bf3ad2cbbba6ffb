/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by connection.c, read.c, output.c and flush_boundary.c only. */
#ifndef TT_FCGI_CONNECTION_INTERNAL_H
#define TT_FCGI_CONNECTION_INTERNAL_H

#include "core/base/buf.h"
#include "fcgi/connection.h"
#include "fcgi/keeper.h"
#include "fcgi/precheck.h"

#include <event2/event_struct.h>
#include <sys/queue.h>

#define CONNECTION_READ_MAX (64u << 10)
/* Of a slow client: of more, only the last one is known. */
#define STATE_CHANGES_MAX 4

enum connection_state {
	CONNECTION_IDLE,    /* waits for a request */
	CONNECTION_READING, /* collects a request that comes in pieces */
	CONNECTION_ACTIVE,  /* a request is being answered */
	CONNECTION_CLOSED,  /* waits to be freed */
};

/* The body of the response. Positions count its bytes from the start. */
struct output {
	struct connection *connection;
	struct buf backlog; /* written, but not yet in a record, */
	size_t taken;       /* but for that much at its front: to move the rest for each record costs a long one dear */
	size_t written, in_records; /* positions */
	size_t on_wire;             /* bytes of the records that were sent */
	size_t *boundaries;         /* positions of flush boundaries that were not passed yet */
	size_t boundary_count, boundary_cap;
	size_t last_boundary; /* position of the last one that was passed; 0: none */
	bool ended, failed;
	bool breaks;    /* it ended, but is not whole */
	bool dirty;     /* in connections->dirty */
	bool just_sent; /* what is before the boundary, by this call of output_flush */
	bool full;      /* until resume is called */
	bool waits_writable;
	enum flush {
		FLUSH_NONE,   /* not at a boundary */
		FLUSH_MARKED, /* all before the boundary was sent, and nothing waits behind it yet */
		FLUSH_SENT,   /* likewise, but something does: in connections->sent, until after the next iteration */
		FLUSH_UNREAD, /* until the peer has read everything before the boundary */
		FLUSH_DELAY,  /* until flush_due_ns */
	} flush;
	int64_t flush_due_ns; /* 0: the peer's read ends at the boundary */
	struct kept *kept;    /* a streamed answer, for the keeper; NULL: not kept */
	unsigned char state;  /* of the reply, as of the last byte in records */
	bool is_text;         /* likewise: what follows is text of the answer */
	uint32_t writes;
	struct state_change { /* states that begin beyond that byte, at these positions */
		size_t at;
		unsigned char state;
		bool is_text;
	} changes[STATE_CHANGES_MAX];
	unsigned change_count;
	/* The frames in the backlog: where each ends, and how much of the text it tells. */
	struct frame {
		size_t end, text_len;
	} * frames;
	size_t frame_count, frame_cap;
	struct buf frame_texts;
};

static inline size_t output_backlog(const struct output *o)
{
	return o->backlog.len - o->taken;
}

struct connection {
	struct connections *set;
	TAILQ_ENTRY(connection) link;    /* in set->all, set->spare or set->dead */
	TAILQ_ENTRY(connection) waiting; /* in set->waiting */
	TAILQ_ENTRY(connection) dirty;   /* in set->dirty */
	TAILQ_ENTRY(connection) delayed; /* in set->delayed or set->sent */
	struct event readable;
	struct event writable; /* added while waits_writable or FLUSH_UNREAD */
	int fd;
	enum connection_state state;
	bool keep;       /* the peer keeps it open after the response */
	bool is_waiting; /* for a whole request: in set->waiting */
	bool peer_left;  /* or shut down its side; what it sent before may be unread */
	bool too_large;
	bool is_head;
	bool distrusted;
	unsigned endpoint;
	int64_t waiting_since_ms;
	int64_t credit; /* bytes that may be written to the socket without polling it again */
	struct precheck precheck;
	struct buf received; /* while READING */
	struct fcgi_request *request;
	const struct connection_owner *owner;
	void *owner_arg;
	struct output out;
	struct {
		const char *bytes; /* as it came, until the answer begins; NULL: too long to be kept */
		size_t len;
	} raw;
	char *rest;                             /* of the path, below the endpoint's; NULL: none */
	char *headers;                          /* more lines for the response's head; NULL: none */
	struct access_identity *identity;       /* who sent the request; NULL: not known */
	const struct connection_orphan *orphan; /* whose worker died, until the answer goes on; NULL: none */
	struct request_log *log;                /* NULL: none */
	char request_id[CONNECTION_ID_MAX + 1];
};

TAILQ_HEAD(connection_list, connection);

struct connections {
	struct event_base *base;
	struct connections_host host;
	struct connection_list all, spare, dead, waiting, dirty, delayed, sent;
	size_t count, active, spares;
	bool draining;
	int64_t request_timeout_ms;
	size_t body_limit;
	int64_t refusal_logged_ms, refused; /* since then */
	int64_t window;                     /* credit of a writable socket; 0: not known yet */
	bool local;                         /* AF_UNIX: SIOCOUTQ is what the peer has not read */
	struct event *deadline;             /* of the first of `waiting` */
	bool deadline_armed;
	int flush_timer_fd; /* timerfd: libevent's timers have milliseconds, which is too coarse */
	struct event *flush_timer;
	struct fcgi_records records;
	char input[CONNECTION_READ_MAX];
};

void connection_close(struct connection *c);
void connection_lost(struct connection *c);          /* notifies the owner and closes */
void connection_watch(struct connection *c);         /* while a request is being answered: is it lost? */
void connection_finished(struct connection *c);      /* the response was sent: keep or close */
void connection_await_request(struct connection *c); /* starts its deadline, unless it runs already */
void connection_stop_waiting(struct connection *c);

void read_check(struct connection *c);    /* IDLE, readable */
void read_continue(struct connection *c); /* READING, readable */
void read_refuse(struct connection *c, const char *reason);
void read_orphan(struct connection *c, const char *request, size_t len);

void output_prepare(struct connection *c); /* a new file descriptor */
void output_reset(struct connection *c);
void output_keep_orphan(struct connection *c); /* from now on its end is certain once more */
void output_free(struct connection *c);
void output_mark(struct connection *c); /* to be flushed at the end of the iteration */
void output_flush(struct connection *c);
bool output_has_room(struct connection *c, size_t len); /* for a record; false: flushed once it has */

void flush_boundary_add(struct output *o);                       /* after all that was written */
bool flush_boundary_pending(const struct output *o);             /* there is one that was not passed */
size_t flush_boundary_limit(const struct output *o, size_t len); /* how much of len is before it */
int flush_boundary_in_record(struct connection *c);              /* -1: not sent, a boundary cannot be in it */
bool flush_boundary_holds(struct connection *c);                 /* the next byte must wait, until output_mark */
void flush_boundary_check(struct connection *c);                 /* UNREAD, writable: the peer may have read */
void flush_boundary_tick(struct connections *s);                 /* the timer fired */
void flush_boundary_after_iteration(struct connections *s);      /* the loop has had one */
void flush_boundary_clear(struct connection *c);

#endif
