/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the HTTP module share; nobody else includes this.
 *
 * http.c          the interface: start, cancel, pause, the end of a transfer
 * http_setup.c    a request becomes the options of an easy handle
 * http_url.c      the host of a URL
 * http_headers.c  the headers of a request
 * http_body.c     what arrives: headers and body
 * http_shard.c     multi handles, sockets and timers on libevent
 * http_watch.c    deadlines and silence: one timer for all transfers
 * http_outcome.c  curl's codes become outcomes and sentences
 * http_exhaustion.c descriptors and memory of ours that run out */
#ifndef TT_HTTP_HTTP_PRIVATE_H
#define TT_HTTP_HTTP_PRIVATE_H

#include "core/base/buf.h"
#include "core/http/http.h"

#include <curl/curl.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

/* curl looks through all connections of a multi for one to reuse, so that a multi with
 * thousands of streams is slow: each takes no more than so many. */
#define LANE_TRANSFERS  128u
#define KEPT_IDLE_S     4  /* uvicorn closes after 5 s */
#define CA_FILE_AGE_S   5L /* how long what was read of a ca_file counts; curl: a day */
#define RESOLVED_SLOTS  256u
#define SPARE_TRANSFERS 256u
#define ERROR_BODY_MAX  (16u << 10)
#define COLLECT_DEFAULT (1u << 20)
#define HEADERS_MAX     (64u << 10)
#define EXPECT_FROM     (1u << 20)
#define KNOWN_URLS      64u
#define HEADER_SETS     16u
/* curl's read buffer: large ones are fast, small ones let thousands of streams fit. */
#define BUFFER_LARGE 16384L
#define BUFFER_SMALL 2048L
#define BUFFER_CROWD 512u /* transfers from which on new ones get a small buffer */
#define NEVER        INT64_MAX

struct shard {
	struct http *http;
	CURLM *multi;
	struct event timer;
	int64_t timer_due_ms; /* when the timer is set to fire; NEVER: not set */
	int64_t curl_due_ms;  /* when curl wants to be called; NEVER: only for sockets */
	int64_t idle_since_ms;
	size_t active;
	bool adding;
};

struct sock {
	struct event event;
	struct shard *lane;
	short wanted; /* what curl waits for */
	short armed;  /* what the loop watches; EV_READ may stay when curl lost interest */
};

enum transfer_state {
	TRANSFER_SPARE, /* or being set up */
	TRANSFER_LOOKING_UP,
	TRANSFER_QUEUED,  /* for a lane */
	TRANSFER_RUNNING, /* in a lane */
	TRANSFER_ENDED,   /* done is due or being called */
};

struct http_transfer {
	TAILQ_ENTRY(http_transfer) link;      /* in http.all or http.spare */
	TAILQ_ENTRY(http_transfer) todo_link; /* in http.queued, ended or cancelled */
	TAILQ_ENTRY(http_transfer) resume_link;
	struct http *http;
	CURL *easy;
	struct shard *lane;
	const struct http_handlers *handlers; /* NULL: cancelled */
	void *arg;
	enum transfer_state state;
	struct resolver_query *query;
	char *url;
	void *body; /* NULL: none, or sent */
	size_t body_len;

	struct header_set *headers;
	struct curl_slist *resolve;
	long buffer_size;
	char *ca_file, *method;
	int64_t connect_ms;
	bool literal; /* the URL names an address: curl may "look it up" */

	int64_t started_ms, deadline_ms, last_ms, total_ms, silence_ms;
	size_t slice; /* bytes delivered in call slice_call */
	uint64_t slice_call;
	bool heard;  /* only what is worth waiting for moves last_ms */
	bool paused; /* by the user */
	bool sliced; /* had its share of this iteration */
	bool held;   /* curl holds bytes back */
	bool resuming;
	bool again; /* was started anew */
	unsigned resume_round;

	long status;
	int64_t retry_after_s;
	size_t header_bytes;
	bool answered;  /* something came */
	bool responded; /* the response handler was asked */
	bool collecting;
	size_t collect_max;
	struct buf collected;
	enum http_outcome outcome; /* ours, where has_outcome */
	bool has_outcome;
	int shortage;              /* what we ran short of: an errno; 0: nothing */
	const char *said;          /* why it fails, where it is us who say so */
	char why[CURL_ERROR_SIZE]; /* what curl says; ours while curl has nothing to do with it */
};
TAILQ_HEAD(transfer_list, http_transfer);

/* A URL whose host is known, so that it is not parsed for each request. */
struct known_url {
	char *url, *host;
	uint16_t port;
	bool literal;
};

/* A list of headers: most transfers have the same, and share it. */
struct header_set {
	struct curl_slist *list;
	char *bearer; /* NULL: none */
	bool json;
	unsigned users;
};

struct http {
	struct event_base *base;
	struct resolver *resolver;
	CURLSH *share;
	struct shard **lanes;
	size_t lane_count, lane_room;
	struct sock **socks; /* by descriptor */
	size_t sock_count;
	struct event *kick;   /* queued, ended and cancelled transfers, lanes that are due */
	struct event *resume; /* what was paused, in the next iteration */
	struct event *watch;
	int64_t watch_due_ms;   /* when the timer fires */
	int64_t judge_due_ms;   /* when the next transfer may be over */
	int64_t stood_still_ms; /* when our loop last did */
	struct transfer_list all, spare, queued, ended, cancelled, resuming;
	size_t active, spares;
	int64_t now_ms; /* of this call of curl */
	uint64_t calls;
	unsigned resume_round;
	unsigned in_curl; /* depth: nothing may be added or removed */
	bool global, ca_folder;
	int64_t shortage_told_ms, shortages; /* since then */
	char *resolved[RESOLVED_SLOTS];      /* what curl's cache was told */
	struct known_url known[KNOWN_URLS];
	struct header_set *header_sets[HEADER_SETS];
};

/* http.c */
void http_end(struct http_transfer *t, enum http_outcome outcome);
/* Why it fails, for people; the first one counts. Not from within curl. Always -1. */
int http_say(struct http_transfer *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void http_resume_soon(struct http_transfer *t);
void http_settle(struct http *h, struct shard *lane);
void http_enter(struct http *h);

/* http_setup.c */
bool http_setup_has_ca_folder(void);
int http_setup_handle(struct http_transfer *t);
int http_setup_request(struct http_transfer *t, const struct http_request *req);
int http_setup_resolve(struct http_transfer *t, const char *resolve);
void http_setup_resolved(struct http_transfer *t);
void http_setup_unresolve(struct http_transfer *t);
void http_setup_forget(struct http_transfer *t);

/* http_headers.c */
int http_headers_set(struct http_transfer *t, const struct http_request *req);
void http_headers_drop(struct http_transfer *t);
void http_headers_forget(struct http *h);

/* http_url.c */
const struct known_url *http_url_find(struct http_transfer *t);
void http_url_forget(struct http *h);

/* http_body.c */
size_t http_body_header(char *bytes, size_t size, size_t count, void *arg);
size_t http_body_write(char *bytes, size_t size, size_t count, void *arg);

/* http_shard.c */
struct shard *http_shard_for(struct http *h);
int http_shard_add(struct shard *l, struct http_transfer *t);
void http_shard_remove(struct http_transfer *t);
void http_shard_run_due(struct http *h);
/* Drops lanes without work; returns when to look again. */
int64_t http_shard_prune(struct http *h, int64_t now_ms);
void http_shard_free_all(struct http *h);
int http_shard_close_socket(void *arg, curl_socket_t fd);

/* http_watch.c */
void http_watch_fire(evutil_socket_t fd, short what, void *arg);
void http_watch_consider(struct http *h, int64_t due_ms);
void http_watch_transfer(struct http_transfer *t);
/* Whether our own loop stood still since then. */
bool http_watch_stood_still(struct http *h, int64_t since_ms);

/* http_outcome.c */
enum http_outcome http_outcome_of(CURLcode code, long status);
void http_outcome_tell(const struct http_transfer *t, CURLcode code, struct http_result *r);
int64_t http_outcome_retry_after(const char *value, size_t len);

/* http_exhaustion.c */
/* We lack what it needs, error says what. Also from within curl. Always -1. */
int http_exhaustion(struct http_transfer *t, int error);
curl_socket_t http_exhaustion_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to);
/* The outcome of a transfer that ran, ours where nothing was sent because of a shortage. */
enum http_outcome http_exhaustion_judge(struct http_transfer *t, CURLcode code, enum http_outcome o);
void http_exhaustion_tell(struct http *h, const char *text); /* in the log, once in a while */

#endif
