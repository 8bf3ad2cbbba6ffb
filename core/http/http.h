/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP transfers on the event loop: libcurl's multi socket interface on libevent.
 *
 * One struct http belongs to one thread and one event_base; it spreads its transfers over
 * as many multi handles as are good for speed. Names are looked up by the resolver, never
 * by curl. HTTP/1.1 only; connections are reused; only http
 * and https. Redirects are not followed. An easy handle that did its work is reused.
 * No proxy is used, whatever the environment says.
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
void http_free(struct http *h); /* cancels what runs, without callbacks; not from within one */

enum http_outcome {
	HTTP_DONE, /* a whole response, whatever its status */
	HTTP_BAD_URL,
	HTTP_NO_HOST, /* the name could not be looked up */
	HTTP_REFUSED, /* no connection */
	HTTP_CONNECT_TIMEOUT,
	HTTP_TIMEOUT,      /* the overall deadline */
	HTTP_SILENCE,      /* nothing came for silence_ms */
	HTTP_RESET,        /* connection reset, or closed before any response */
	HTTP_CUT,          /* closed in the middle of a response */
	HTTP_TLS,          /* certificate or handshake */
	HTTP_TOO_LARGE,    /* beyond collect_limit */
	HTTP_NO_RESOURCES, /* we have no descriptor or memory for it: says nothing of the server */
	HTTP_FAILED,       /* anything else; text says what */
};
const char *http_outcome_text(enum http_outcome o);

struct http_request {
	const char *method; /* "GET", "POST", "DELETE" */
	const char *url;
	const char *resolve;        /* "host:port:addr,..." of the URL's host, NULL: ask the resolver */
	const char *bearer;         /* token of the Authorization header, or NULL */
	const char *const *headers; /* further "Name: value" lines, NULL-terminated; NULL: none */
	const void *body;           /* copied; NULL: none. POST says Content-Type: application/json
	                             * unless headers has another; never "Expect: 100-continue" */
	size_t body_len;
	const char *ca_file;  /* PEM for https, NULL: the system's */
	int64_t connect_ms;   /* longest wait for a connection */
	int64_t total_ms;     /* overall deadline, 0 = none */
	int64_t silence_ms;   /* longest silence, 0 = none; the clock stops while paused */
	bool once;            /* on a new connection: never sent again by curl, as a request
	                       * on a reused one is that was closed without a byte */
	size_t collect_limit; /* a collected body may have so many bytes, 0 = 1 MiB */
};

struct http_result {
	enum http_outcome outcome;
	long status; /* 0 = no response */
	int64_t elapsed_ms;
	int64_t retry_after_s; /* -1 = none */
	bool reused;           /* failed on a reused connection before any byte came */
	const char *body;      /* what was collected, NUL-terminated; never NULL */
	size_t body_len;
	char text[256]; /* for people: "Connection refused (http://h:7000)"; no secret, no query */
};

struct http_handlers {
	/* Status and headers are there (once per transfer, before data). Optional.
	 * Streaming callers that want an error body collected return false: the body is
	 * then collected (up to 16 KiB) instead of going to data. */
	bool (*response)(void *arg, long status, const char *content_type);
	/* A piece of the body. NULL: it is collected. May call http_pause, http_cancel. */
	void (*data)(void *arg, const char *bytes, size_t len);
	/* The end; called exactly once unless cancelled, never from within http_start.
	 * The transfer is gone afterwards. */
	void (*done)(void *arg, const struct http_result *r);
};

/* Never fails visibly: what is wrong comes through done. NULL only without memory.
 * handlers must outlive the transfer. */
struct http_transfer *http_start(struct http *h, const struct http_request *req, const struct http_handlers *handlers,
                                 void *arg);

/* Ends it now: the connection is closed (or kept where the response was whole); no
 * further callback. Allowed from within its own callbacks. */
void http_cancel(struct http_transfer *t);

/* A paused transfer calls data no more and, beyond one buffer, reads nothing from its
 * socket. No byte is lost or doubled. Its end may be told while it is paused, when all
 * its bytes were delivered before. Allowed from within data; data is never called from
 * within http_resume. */
void http_pause(struct http_transfer *t);
void http_resume(struct http_transfer *t);

/* What came was worth waiting for: from now on this must be said again within silence_ms,
 * or the transfer ends with HTTP_SILENCE; other bytes (keep-alives) no longer count as a
 * sign of life. From within data only. The clock stops while paused. */
void http_heard(struct http_transfer *t, int64_t silence_ms);

/* Transfers that run now. */
size_t http_active(const struct http *h);

#endif
