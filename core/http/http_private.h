/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the HTTP module share; nobody else includes this.
 *
 * http.c          the life of a transfer, from its start to its end
 * http_setup.c    a request becomes the options of an easy handle
 * http_url.c      the host of a URL
 * http_headers.c  the headers of a request
 * http_shard.c    the pool: multi handles, their sockets and timers on libevent
 * http_plain.c    requests without libcurl: HTTP/1.1 over TCP, to servers that libcurl got usual answers from
 * http_receive.c  what arrives of a response goes to the caller, unless it is paused
 * response.c      the response to such a request
 * http_watch.c    deadlines and silence: when the one timer for all transfers is due
 * http_outcome.c  curl's codes become outcomes and sentences
 *
 * Each calls only functions of those below it. */
#ifndef TT_HTTP_HTTP_PRIVATE_H
#define TT_HTTP_HTTP_PRIVATE_H

#include "core/base/buf.h"
#include "core/http/http.h"
#include "core/http/response.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <sys/queue.h>

/* curl searches all connections of a multi for one to reuse, so that a multi with thousands
 * of streams is slow: a shard has no more transfers than this. */
#define SHARD_TRANSFERS   128u
#define CONNECTION_IDLE_S 4  /* uvicorn closes idle connections after 5 s */
#define CA_FILE_AGE_S     5L /* how long a ca_file that was read is used; curl's default is a day */
#define RESOLVED_SLOTS    256u
#define SPARE_TRANSFERS   256u
#define ERROR_BODY_MAX    (16u << 10)
#define COLLECT_DEFAULT   (1u << 20)
#define HEADERS_MAX       (64u << 10)
#define EXPECT_FROM       (1u << 20)
#define KNOWN_URLS        64u
#define PLAIN_IDLE_MS     6000 /* unless http_set_idle says something else */
#define HEADER_SETS       16u
/* curl's read buffer: large ones are fast, small ones leave room for thousands of streams. */
#define BUFFER_LARGE 16384L
#define BUFFER_SMALL 2048L
#define BUFFER_CROWD 512u /* transfers from which on new ones get a small buffer */
#define NEVER        INT64_MAX
/* Of a socket, as setsockopt takes it: otherwise the kernel takes up to 32 MiB from an LLM whose client reads
 * slowly, and nothing holds the LLM back. */
#define RECEIVE_BUFFER (256 << 10)
#define STALL_MS       1000 /* if a timer is this late, our own loop stalled, and no server is to blame */

/* A part of the pool: a multi handle. */
struct shard {
	struct http *http;
	CURLM *multi;
	struct event timer;
	int64_t timer_due_ms; /* when the timer is set to fire; NEVER: not set */
	int64_t curl_due_ms;  /* when curl wants to be called; NEVER: for sockets only */
	int64_t idle_since_ms;
	size_t active;
	bool adding;
};

struct sock {
	struct event event;
	struct shard *shard;
	short wanted; /* the events that curl waits for */
	short armed;  /* those that the loop watches; EV_READ may stay longer than curl wants it */
};

enum transfer_state {
	TRANSFER_SPARE, /* or being set up */
	TRANSFER_LOOKING_UP,
	TRANSFER_QUEUED,  /* for a shard */
	TRANSFER_RUNNING, /* in a shard */
	TRANSFER_PLAIN,   /* on a connection of ours, without curl */
	TRANSFER_ENDED,   /* done is due or being called */
};

struct http_transfer {
	TAILQ_ENTRY(http_transfer) link;       /* in http.all or http.spare */
	TAILQ_ENTRY(http_transfer) queue_link; /* in http.queued, ended or cancelled */
	TAILQ_ENTRY(http_transfer) resume_link;
	struct http *http;
	CURL *easy; /* NULL: it is plain */
	struct shard *shard;
	struct plain *plain;                  /* its connection; NULL: it has none */
	const struct http_handlers *handlers; /* NULL: cancelled */
	void *arg;
	enum transfer_state state;
	struct resolver_query *query;
	char *url;
	char verb[8]; /* GET, POST ... */
	void *body;   /* NULL: none, or sent */
	size_t body_len;
	char *head; /* of a plain request; NULL: it is sent, or there is none */
	size_t head_len;

	struct header_set *headers;
	struct curl_slist *labels; /* in front of those; NULL: none */
	struct curl_slist *resolve;
	long buffer_size;
	char *ca_file, *proxy, *socket, *method;
	int64_t connect_ms;
	bool literal;       /* the URL names an address: curl may "look it up" */
	bool odd;           /* the response is not for http_plain.c */
	bool only_address;  /* of a plain one: curl would try no other */
	uint64_t addresses; /* http_url_hash of those that curl was given */

	int64_t started_ms, deadline_ms, last_ms, total_ms, silence_ms;
	size_t slice; /* bytes delivered in call slice_call */
	uint64_t slice_call;
	bool progress_only; /* only http_progress moves last_ms */
	bool paused;        /* by the caller */
	bool sliced;        /* had its slice of this iteration */
	bool held;          /* curl holds bytes back */
	bool resuming;
	bool telling;   /* a plain one's caller is being told something */
	bool restarted; /* after our own loop had stalled */
	unsigned resume_round;

	long status;
	int64_t length; /* of the body, as the response says; -1: it does not say */
	int64_t retry_after_s;
	size_t header_bytes;
	bool answered;  /* some bytes have arrived */
	bool responded; /* the response handler was called */
	bool collecting;
	size_t collect_max;
	struct buf collected;
	enum http_outcome outcome; /* ours, where has_outcome */
	bool has_outcome;
	int exhausted;                    /* the errno of the resource that we ran out of; 0: none */
	const char *last_error;           /* why it fails, where this module knows better than curl */
	char curl_error[CURL_ERROR_SIZE]; /* curl's text, or the text of last_error */
};
TAILQ_HEAD(transfer_list, http_transfer);

/* A server's address. */
struct plain_address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} at;
	socklen_t len; /* 0: unknown */
};

/* A URL whose host is known, so that it is not parsed for each request. */
struct known_url {
	char *url, *host;
	uint16_t port;
	bool literal;
	bool is_proxy;
	/* For plain requests. */
	char *target, *authority;     /* of the request's first line and its Host; NULL: only curl can do it */
	bool odd;                     /* its server gave a response that only curl understands */
	bool only_address;            /* its host has no other one */
	bool doubted;                 /* a plain request failed: until curl gets a usual response */
	struct plain_address address; /* where curl got a usual response, or the only one */
	uint64_t addresses;           /* http_url_hash of those that curl chose from */
};

/* A list of headers, which transfers share: most have the same. */
struct header_set {
	struct curl_slist *list;
	char *text;   /* the same, as they are sent */
	char *bearer; /* NULL: none */
	bool json;
	unsigned users;
};

struct http {
	struct event_base *base;
	struct resolver *resolver;
	CURLSH *share;
	struct shard **shards;
	size_t shard_count, shard_room;
	struct sock **socks; /* by file descriptor */
	size_t sock_count;
	struct event *wake;   /* queued, ended and cancelled transfers, shards that are due */
	struct event *resume; /* transfers that had their slice, in the next iteration */
	struct event *watch;
	event_callback_fn on_socket, on_timer; /* of a shard */
	/* What http_plain.c tells. */
	void (*on_plain_end)(struct http_transfer *t,
	                     enum http_outcome o);     /* has_outcome and cancellation come first */
	void (*on_plain_odd)(struct http_transfer *t); /* curl shall do it, from its start */
	TAILQ_HEAD(plain_list, plain) plain_idle;      /* the one that was used last comes first */
	size_t plain_idle_count;
	TAILQ_HEAD(, plain_server) plain_servers; /* that there are connections to */
	int64_t plain_idle_ms;                    /* how long a connection may be idle; 0: every request is curl's */
	bool plain_always;                        /* also to addresses that curl does not know yet (for tests) */
	char *plain_buffer;                       /* what is being read */
	int64_t watch_due_ms;                     /* when the timer fires */
	int64_t check_due_ms;                     /* when the next transfer may be over */
	int64_t stalled_ms;                       /* when our own loop last stalled */
	struct transfer_list all, spare, queued, ended, cancelled, resuming;
	size_t active, spares;
	int64_t now_ms; /* of this call of curl */
	uint64_t calls;
	unsigned resume_round;
	unsigned in_curl; /* depth: nothing may be added or removed */
	bool global, ca_directory;
	int64_t exhaustion_logged_ms, exhaustions; /* since then */
	char *resolved[RESOLVED_SLOTS];            /* the addresses in curl's cache */
	struct known_url known[KNOWN_URLS];
	struct header_set *header_sets[HEADER_SETS];
};

/* http_setup.c */
bool http_setup_has_ca_directory(void);
int http_setup_handle(struct http_transfer *t);
int http_setup_request(struct http_transfer *t, const struct http_request *req);
/* The part of it that the transfer itself says. */
int http_setup_handle_for(struct http_transfer *t, bool once);
int http_setup_resolve(struct http_transfer *t, const char *resolve);
void http_setup_resolved(struct http_transfer *t);
void http_setup_unresolve(struct http_transfer *t);
void http_setup_forget(struct http_transfer *t);

/* http_plain.c */
/* Where a request like this can be sent without curl; NULL: it cannot. Valid until the next call. */
const struct known_url *http_plain_route(struct http *h, const struct http_request *req);
/* Sends it. -1: it cannot, and nothing has changed. */
int http_plain_start(struct http_transfer *t, const struct known_url *u);
/* t no longer needs its connection. */
void http_plain_drain(struct http_transfer *t);
void http_plain_leave(struct http_transfer *t);
/* What was held back is told. */
void http_plain_resume(struct http_transfer *t);
/* curl's transfer ended with a whole response. */
bool http_plain_learn(struct http_transfer *t);
/* Closes connections that were idle for long; returns when the next one has been. */
int64_t http_plain_prune(struct http *h, int64_t now_ms);
void http_plain_forget(struct http *h);

/* http_receive.c */
/* libcurl's callbacks of a transfer. */
size_t http_receive_header(char *bytes, size_t size, size_t count, void *t);
size_t http_receive_body(char *bytes, size_t size, size_t count, void *t);
/* The same without it. False: stop. A transfer that its caller cancels meanwhile ends when these return. */
bool http_receive_plain_head(struct http_transfer *t, const struct response *r);
bool http_receive_plain_body(struct http_transfer *t, const char *bytes, size_t len);
bool http_receive_plain_read_end(struct http_transfer *t);

/* http_headers.c */
/* Finds or makes what the request says; http_headers_give gives it to curl. */
int http_headers_set(struct http_transfer *t, const struct http_request *req);
void http_headers_give(struct http_transfer *t);
void http_headers_drop(struct http_transfer *t);
void http_headers_forget(struct http *h);

/* http_url.c */
const struct known_url *http_url_find(struct http_transfer *t, const char *url, bool is_proxy);
/* The same, of a URL that http_url_find was asked for; NULL: it is not known (any more). */
struct known_url *http_url_known(struct http *h, const char *url);
uint64_t http_url_hash(const char *text);
void http_url_forget(struct http *h);

/* http_shard.c */
struct shard *http_shard_for(struct http *h);
int http_shard_add(struct shard *shard, struct http_transfer *t);
void http_shard_remove(struct http_transfer *t);
void http_shard_arm(struct sock *s, curl_socket_t fd, short what); /* what the loop watches */
void http_shard_set_timer(struct shard *shard);                    /* to when curl wants to be called */
/* Frees shards that were idle for long; returns when the next one may be. */
int64_t http_shard_prune(struct http *h, int64_t now_ms);
void http_shard_free_all(struct http *h);
curl_socket_t http_shard_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to);
int http_shard_close_socket(void *arg, curl_socket_t fd);

/* http_watch.c */
int64_t http_watch_due(const struct http_transfer *t); /* when it is over, if nothing moves that; NEVER */
void http_watch_consider(struct http *h, int64_t due_ms);
void http_watch_transfer(struct http_transfer *t);
/* Whether our own loop has stalled since then. */
bool http_watch_stalled_since(struct http *h, int64_t since_ms);

/* http_outcome.c */
/* Why it fails, for people; the first error is kept. Not from within curl. Always -1. */
int http_outcome_error(struct http_transfer *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* We lack a resource that the transfer needs; error is the errno. Also from within curl.
 * Always -1. */
int http_outcome_exhausted(struct http_transfer *t, int error);
enum http_outcome http_outcome_of(CURLcode code, long status);
/* The outcome of a transfer that ran: HTTP_NO_RESOURCES in place of o, where nothing was sent
 * because we lacked a resource. */
enum http_outcome http_outcome_of_exhaustion(struct http_transfer *t, CURLcode code, enum http_outcome o);
void http_outcome_log_exhaustion(struct http *h, const char *text); /* at most once in 10 s */
void http_outcome_describe(const struct http_transfer *t, CURLcode code, struct http_result *r);
int64_t http_outcome_retry_after(const char *value, size_t len);

#endif
