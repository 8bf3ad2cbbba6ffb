/* SPDX-License-Identifier: Apache-2.0 */
/* Accepts connections from the listener: a bounded number at once, and none while this worker has
 * as many as it may, or no file descriptor, unless room can be made. What is not accepted waits in
 * the listen backlog, or is accepted by another worker. One thread. */
#ifndef TT_FCGI_ACCEPTOR_H
#define TT_FCGI_ACCEPTOR_H

#include "core/base/err.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

struct acceptor;

struct acceptor_host {
	/* Owns the file descriptor. quiet: there is no burst, so there is time to read from it at once. */
	void (*accepted)(void *arg, int fd, bool quiet);
	bool (*make_room)(void *arg); /* closes one of the accepted connections; false: none can be */
	void *arg;
};

/* The listener must be non-blocking; it stays the caller's. Its events have the highest priority
 * of base. */
struct acceptor *acceptor_new(struct event_base *base, int listener, size_t limit, const struct acceptor_host *host,
                              struct err *e);
void acceptor_free(struct acceptor *a);

/* Accepts what waits in the backlog, without waiting for an event. */
void acceptor_poll(struct acceptor *a);

/* While yields is true this worker has no room for a chat but others have, so new connections are
 * left to them. What they don't accept is accepted here after 100 ms all the same. */
void acceptor_yield(struct acceptor *a, bool yields);

/* There is a connection that was accepted by another worker. */
void acceptor_add(struct acceptor *a);

/* One of the accepted connections is closed. */
void acceptor_release(struct acceptor *a);

/* One of them has become idle: make_room may close it. */
void acceptor_idle(struct acceptor *a);

/* Accepts what waits in the backlog already, and nothing after that. */
void acceptor_stop(struct acceptor *a);

#endif
