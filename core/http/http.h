/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP transfers on the event loop: libcurl's multi socket interface on libevent.
 *
 * One struct http belongs to one thread and one event_base; it spreads its transfers over
 * a pool of multi handles (shards). The resolver looks up names, never curl. Only http and
 * https, and only HTTP/1.1; connections and easy handles are reused. Redirects are not
 * followed, and the environment's proxy is not used.
 *
 * Fairness: a transfer that delivered HTTP_SLICE bytes within one iteration of the loop
 * is paused and goes on at the iteration's end, so that one fast server does not starve
 * the others. */
#ifndef TT_HTTP_HTTP_H
#define TT_HTTP_HTTP_H

#include "core/base/err.h"
#include "core/resolve/resolver.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_SLICE (64u << 10)

struct http;
struct http_transfer;

struct http *http_new(struct event_base *base, struct resolver *resolver, struct err *e);
/* Cancels all transfers, without callbacks; not from within one. */
void http_free(struct http *h);

/* How long an idle connection without libcurl (to a server of plain HTTP) stays open for the next request; 6 s where
 * nobody says. Of each server at most 64 do, and 256 in all. One that the server closes is noticed at once, and a
 * request that meets the close is sent again on a new connection. */
void http_set_idle(struct http *h, int64_t ms);

enum http_outcome {
	HTTP_DONE, /* a whole response, whatever its status */
	HTTP_BAD_URL,
	HTTP_NO_HOST, /* the name could not be looked up */
	HTTP_REFUSED, /* no connection */
	HTTP_CONNECT_TIMEOUT,
	HTTP_TIMEOUT,      /* the overall deadline */
	HTTP_SILENCE,      /* no data for silence_ms */
	HTTP_RESET,        /* connection reset, or closed before any response */
	HTTP_CUT,          /* closed in the middle of a response */
	HTTP_TLS,          /* certificate or handshake */
	HTTP_TOO_LARGE,    /* beyond collect_limit */
	HTTP_NO_RESOURCES, /* we have no file descriptor or memory left; not the server's fault */
	HTTP_FAILED,       /* anything else; text says what */
};
const char *http_outcome_text(enum http_outcome o);
/* There was no connection: no name, no answer, or a refusal. */
static inline bool http_outcome_is_unreached(enum http_outcome o)
{
	return o == HTTP_NO_HOST || o == HTTP_REFUSED || o == HTTP_CONNECT_TIMEOUT;
}

struct http_request {
	const char *method; /* "GET", "POST", "DELETE" */
	const char *url;
	const char *resolve;        /* "host:port:addr,..." of the URL's host, NULL: ask the resolver */
	const char *bearer;         /* token of the Authorization header, or NULL */
	const char *const *headers; /* further "Name: value" lines, NULL-terminated; NULL: none */
	const char *const *labels;  /* the same for those that differ in each request (X-Request-Id), which
	                             * therefore shares the others with other requests; copied */
	const void *body;           /* copied; NULL: none. A POST has Content-Type: application/json
	                             * unless headers has another; never "Expect: 100-continue" */
	size_t body_len;
	const char *proxy;    /* "http://[user:password@]host:port", NULL: none; then resolve is
	                       * not used, since the proxy looks up the URL's host */
	const char *socket;   /* path of the Unix socket that the server listens on, NULL: it has an address;
	                       * then the URL's host is not looked up, and proxy and resolve must be NULL */
	const char *ca_file;  /* PEM for https, NULL: the system's */
	int64_t connect_ms;   /* longest wait for a connection */
	int64_t total_ms;     /* overall deadline, 0 = none */
	int64_t silence_ms;   /* longest silence, 0 = none; the clock stops while paused */
	bool plain;           /* the server is known to answer as most do (http_result.plain): where its host has one
	                       * address, libcurl need not try it first */
	bool once;            /* on a new connection. On a reused one, curl sends the request
	                       * again where the connection was closed without a byte */
	size_t collect_limit; /* longest body that is collected, in bytes; 0 = 1 MiB */
};

struct http_result {
	enum http_outcome outcome;
	long status; /* 0 = no response */
	int64_t elapsed_ms;
	int64_t retry_after_s; /* -1 = none */
	bool plain;            /* the server answered as most do: HTTP/1.1 over plain TCP, nothing encoded */
	bool reused;           /* failed on a reused connection before any byte came */
	const char *body;      /* as collected, NUL-terminated; never NULL */
	size_t body_len;
	char text[256]; /* for people: "Connection refused (http://h:7000)"; no secret, no query */
};

struct http_handlers {
	/* Status and headers have arrived (once per transfer, before data). Optional.
	 * Streaming callers that want an error body collected return false: the body is
	 * then collected (up to 16 KiB) instead of going to data. */
	bool (*response)(void *arg, long status, const char *content_type);
	/* A line of the response's head, with its end. Optional. Cancels nothing. */
	void (*header)(void *arg, const char *line, size_t len);
	/* A piece of the body. NULL: it is collected. May call http_pause, http_cancel. */
	void (*data)(void *arg, const char *bytes, size_t len);
	/* What one read of the socket brought was passed to data, in one piece or several. Optional. May do what data
	 * may. */
	void (*read_end)(void *arg);
	/* The end; called exactly once unless cancelled, never from within http_start.
	 * The transfer is gone afterwards. */
	void (*done)(void *arg, const struct http_result *r);
};

/* Errors are reported by done. NULL only without memory. handlers must outlive the transfer. */
struct http_transfer *http_start(struct http *h, const struct http_request *req, const struct http_handlers *handlers,
                                 void *arg);

/* Ends it now: the connection is closed (or reused where the response was complete); no
 * further callback. Allowed from within its own callbacks. */
void http_cancel(struct http_transfer *t);

/* Passes to data what has arrived already, also while it is paused, and lets nothing more arrive: http_cancel must
 * follow. What libcurl reads is left where it is. Does nothing from within its callbacks. */
void http_drain(struct http_transfer *t);

/* A paused transfer no longer calls data and reads at most one buffer from its socket. No
 * byte is lost or repeated. done may be called while it is paused, where all bytes had been
 * delivered. Allowed from within data; data is never called from within http_resume. */
void http_pause(struct http_transfer *t);
void http_resume(struct http_transfer *t);

/* The length that the response says its body has; -1: it does not say. From within response or data. */
int64_t http_content_length(const struct http_transfer *t);

/* The data that arrived was progress: the next progress must follow within silence_ms, or the
 * transfer ends with HTTP_SILENCE; other bytes (keep-alives) no longer count as a sign of
 * life. From within data only. The clock stops while paused. */
void http_progress(struct http_transfer *t, int64_t silence_ms);

/* Transfers that have not ended. */
size_t http_active(const struct http *h);

#endif
