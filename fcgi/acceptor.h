/* SPDX-License-Identifier: Apache-2.0 */
/* Takes connections from the listener: a bounded number at once, and none while this
 * worker has as many as it may, or no descriptor, unless room can be made. What is not taken
 * waits in the backlog, or is taken by another worker. One thread. */
#ifndef TT_FCGI_ACCEPTOR_H
#define TT_FCGI_ACCEPTOR_H

#include "core/base/err.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

struct acceptor;

struct acceptor_host {
	/* Owns the descriptor. quiet: there is no burst, so a moment may be spent on this one. */
	void (*accepted)(void *arg, int fd, bool quiet);
	bool (*make_room)(void *arg); /* gives up one of the accepted, which is released; false: none */
	void *arg;
};

/* The listener must not block; it stays the caller's. Its events go before all others where
 * base has priorities. */
struct acceptor *acceptor_new(struct event_base *base, int listener, size_t limit, const struct acceptor_host *host,
                              struct err *e);
void acceptor_free(struct acceptor *a);

/* Takes what waits, without waiting for the loop to say so. */
void acceptor_look(struct acceptor *a);

/* While it is true this worker has no room for a chat but others have: what comes is left to
 * them. What they leave is taken after a moment all the same. */
void acceptor_yield(struct acceptor *a, bool yields);

/* One of the accepted connections is closed. */
void acceptor_release(struct acceptor *a);

/* Nothing runs on one of them any more: make_room may find it. */
void acceptor_one_idle(struct acceptor *a);

/* Takes what waits in the backlog already, then accepts no more, for good. */
void acceptor_stop(struct acceptor *a);

#endif
