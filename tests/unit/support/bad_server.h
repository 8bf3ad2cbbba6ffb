/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP server on the test's own loop that misbehaves as the path asks. */
#ifndef TT_TESTS_UNIT_BAD_SERVER_H
#define TT_TESTS_UNIT_BAD_SERVER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct bad_server {
	struct event_base *base;
	struct evconnlistener *listener;
	uint16_t port;
	int connections; /* ever */
	int open;        /* now */
	int requests;
	int lost; /* connections that the client closed */
	TAILQ_HEAD(, client) clients;
};

enum bad_server_leaves { LEAVES_CLOSING, LEAVES_RESETTING, LEAVES_HALF_CLOSED };

void bad_server_start(struct bad_server *s, struct event_base *base);
bool bad_server_start_ipv6(struct bad_server *s, struct event_base *base); /* false: there is no IPv6 here */
void bad_server_stop(struct bad_server *s);
/* Leaves its open connections in this way, whatever is on them. */
void bad_server_leave(struct bad_server *s, enum bad_server_leaves how);

/* /ok           "hello", kept alive
 * /echo[/...]   the request, as text
 * /status/N     N, with a body and Retry-After: 7
 * /date         429 with Retry-After as a date 60 s ahead
 * /large-error  500 with 100 KiB of text
 * /close        closes before any byte
 * /reset        resets before any byte
 * /once         "hello", then closes although it announced keep-alive
 * /stall        nothing
 * /stall-body   head and 5 bytes, then nothing
 * /cut          head, Content-Length 100, 5 bytes, closes
 * /cut-chunked  one chunk, closes
 * /reset-chunked one chunk, resets
 * /until-close  no length, 5 bytes, closes: complete
 * /bytes        a chunked "hello world" one byte at a time
 * /garbage      not HTTP
 * /interim      100 and 103 first
 * /huge-header  a header of 200 KiB
 * /many-headers 20,000 headers
 * /flood/N[/C]  N bytes of pattern, in chunks of C
 * /gzip/N       "hello", from the Nth request on gzipped
 * /second/HOW   "hello"; a connection's second request ends it, by what HOW says:
 *   close, reset, half-close      when it was read as a whole
 *   early-close, early-reset      when its head was read
 *   cut, cut-reset                in the middle of the response
 * /trickle      a byte every 20 ms, 10 of them, chunked */

/* Byte i of the flood. */
char bad_server_pattern(size_t i);

#endif
