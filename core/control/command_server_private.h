/* SPDX-License-Identifier: Apache-2.0 */
/* The server's side of the command channel. A peer is a connection: lines in and out. A call
 * is one command of a peer until its answer; it may outlive the peer. */
#ifndef TT_CONTROL_COMMAND_SERVER_PRIVATE_H
#define TT_CONTROL_COMMAND_SERVER_PRIVATE_H

#include "core/control/command_listen.h"
#include "core/control/command_wire.h"

#include <event2/bufferevent.h>
#include <event2/event_struct.h>
#include <event2/listener.h>
#include <sys/queue.h>

struct command_call {
	LIST_ENTRY(command_call) link;
	struct event_base *base;
	struct peer *peer; /* NULL: gone */
	int64_t id;
	enum command command;
	uid_t uid;
	bool timed_out; /* the peer was answered so */
	bool timed;
	struct event timer;
	void (*closed)(void *arg);
	void *closed_arg;
	bool stream; /* ends when the peer stops writing */
};
LIST_HEAD(call_list, command_call);

struct peer {
	LIST_ENTRY(peer) link;
	struct command_server *server;
	struct bufferevent *bev;
	struct command_peer who;
	struct call_list calls;
	size_t call_count, scanned;
	bool closing; /* nothing is read any more; what is written still goes out */
	bool close_scheduled;
	struct event close_event;
};
LIST_HEAD(peer_list, peer);

struct command_server {
	struct event_base *base;
	struct command_listen listen;
	struct evconnlistener *listener;
	struct event *accept_again;
	command_handler_fn *handler;
	void *arg;
	struct peer_list peers;
	size_t peer_count;
	/* What a hostile peer can cause again and again is logged at most every ten seconds. */
	struct log_limit {
		int64_t logged_ms, times; /* since then */
	} peers_refused, peers_dropped, commands_refused;
};

/* Whether this occurrence is to be logged, with *times for those since the last line. */
bool calls_may_log(struct log_limit *l, int64_t *times);

/* --- command_calls.c: what a peer is sent ----------------------------------------------- */

void peer_send(struct peer *p, char *line, size_t len); /* steals line; NULL: no memory for it */
void peer_send_error(struct peer *p, const int64_t *id, const char *text);
void peer_write_now(struct peer *p);       /* what the socket takes at once */
size_t peer_pending(const struct peer *p); /* bytes that are not written yet */
void peer_schedule_close(struct peer *p);  /* frees it from the event loop: safe in any callback */

void calls_start(struct peer *p, const struct wire_request *r);
void calls_end(struct peer *p);         /* the peer has gone */
void calls_end_streams(struct peer *p); /* the peer writes no more */

#endif
