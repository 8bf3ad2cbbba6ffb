/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the client share: redis.c has its commands, sentinel.c and
 * cluster.c know which server is right, and node.c, below them, has the connection to one. */
#ifndef TT_REDIS_REDIS_PRIVATE_H
#define TT_REDIS_REDIS_PRIVATE_H

#include "core/redis/redis_url.h"
#include "core/redis/reply.h"
#include "core/resolve/resolver.h"

#include <event2/event_struct.h>
#include <openssl/types.h>
#include <sys/queue.h>

struct bufferevent;

struct redis_request {
	TAILQ_ENTRY(redis_request) next;
	struct redis *redis;
	struct node *node;  /* that it waits for or was sent to */
	struct event timer; /* its deadline; where FAILING: ends it from the loop */
	enum { REQUEST_WAITING, REQUEST_SENT, REQUEST_FAILING } state;
	bool repeatable, greeting;
	unsigned sent; /* how often */
	int slot;      /* of a cluster; -1: any */
	struct redis_script *script;
	redis_done_fn *done; /* NULL: nobody waits for it */
	void *arg;
	struct err err; /* of FAILING */
	size_t len;
	char bytes[]; /* as they are sent */
};
TAILQ_HEAD(request_list, redis_request);

/* One server: its connection, and the commands for it. */
struct node {
	TAILQ_ENTRY(node) next;
	struct redis *redis;
	struct redis_address address;
	enum { NODE_DATA, NODE_SENTINEL } kind;
	bool retired; /* a cluster's that serves nothing any more: it is not connected again */
	enum { NODE_IDLE, NODE_LOCATING, NODE_RESOLVING, NODE_CONNECTING, NODE_GREETING, NODE_READY } state;
	bool away;          /* it could not be reached or did not answer: what is not sent fails at once */
	unsigned failures;  /* in a row */
	struct err err;     /* the last of them */
	struct err attempt; /* why an address could not be connected */
	struct resolver_query *query;
	char *addresses; /* "a,b,[c]" those that were not tried yet are at untried */
	const char *untried;
	struct bufferevent *connection;
	struct reply_reader *reader;
	size_t greetings;    /* that were not answered yet */
	struct event *timer; /* the deadline of connecting, or when to connect again */
	struct request_list waiting, sent;
};
TAILQ_HEAD(node_list, node);

struct node_events;

struct redis {
	const struct node_events *events;
	struct event_base *base;
	struct redis_url url;
	char *masked, *password_file, *sentinel_password_file, *cert_file, *key_file, *name;
	int64_t timeout_ms;
	SSL_CTX *tls; /* NULL: none */
	struct resolver *resolver;
	struct node_list nodes; /* at least one, the master of a group */
	/* SENTINEL: where the master is requested. */
	struct node *sentinel; /* that is asked, or was asked last; NULL: none yet */
	size_t next_sentinel, sentinels_left;
	struct event *locate; /* asks the next one */
	/* CLUSTER: */
	struct node **slots; /* SLOTS of them; NULL where it is not known */
	bool refreshing;
	struct request_list failing;
	size_t requests, bytes; /* open */
	redis_changed_fn *changed;
	void *arg;
	enum { REPORTED_NOTHING, REPORTED_USABLE, REPORTED_AWAY } reported; /* by changed */
};

/* ---- node.c ---- */

/* What it says to the others, who call it. */
struct node_events {
	void (*answered)(struct redis_request *q, struct redis_reply *reply); /* the request is in no list */
	void (*changed)(struct node *n);                                      /* it is connected, or no longer */
	void (*locate)(struct node *master);                                  /* SENTINEL: its address is needed */
	void (*slots)(struct node *from, const struct redis_reply *reply);    /* CLUSTER: what it says of them */
	bool (*elsewhere)(struct redis_request *q); /* its node cannot be reached: true: another one has got it */
};

/* NULL: no memory. */
struct redis_request *request_new(struct redis *r, const struct redis_command *c, redis_done_fn *done, void *arg);
void request_free(struct redis_request *q);
void request_finish(struct redis_request *q, struct redis_reply *reply, const struct err *e); /* it is in no list */

struct node *node_new(struct redis *r, const char *host, uint16_t port); /* NULL: no memory */
void node_free(struct node *n);                                          /* its requests are freed, too */

/* Sends it, now or when it is connected; fails it where the server is away. */
void node_send(struct node *n, struct redis_request *q);

/* Sends it although it is not connected yet, or before those that wait. */
void node_write(struct node *n, struct redis_request *q);

/* The connection is of no use any more. Repeatable requests are sent again on the next one. */
void node_reset(struct node *n, bool away, const struct err *why);

/* Its address is known, or has changed. */
void node_connect_to(struct node *n, const char *host, uint16_t port);
void node_cannot_connect(struct node *n, const char *why);

/* ---- sentinel.c ---- */

/* Asks Sentinels in turn where the master is; ends with a call of one of the two above. */
void sentinel_locate(struct node *master);
int sentinel_set_up(struct redis *r, struct err *e);
void sentinel_free(struct redis *r);

/* ---- cluster.c ---- */

#define SLOTS 16384

int cluster_slot(const char *key, size_t len);
int cluster_set_up(struct redis *r, struct err *e);
struct node *cluster_node(const struct redis *r, int slot, size_t server); /* slot -1: the server-th */
void cluster_take_slots(struct node *from, const struct redis_reply *reply);
void cluster_refresh(struct redis *r); /* asks one that answers, or may, for the slots */
/* What waited for a server of which it is not known whether it has the key. false: there is no other. */
bool cluster_elsewhere(struct redis_request *q);
/* Where MOVED or ASK says that it is sent again. false: that cannot be. */
bool cluster_redirect(struct redis_request *q, const struct redis_reply *reply);

#endif
