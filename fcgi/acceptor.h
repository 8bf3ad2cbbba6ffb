/* Takes connections from the listener: a bounded number at once, and none while this
 * worker has as many as it may. What is not taken waits in the backlog, or is taken by
 * another worker. One thread. */
#ifndef TT_FCGI_ACCEPTOR_H
#define TT_FCGI_ACCEPTOR_H

#include "core/base/err.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

struct acceptor;

/* The listener must not block; it stays the caller's. Its events go before all others where
 * base has priorities. accepted owns the descriptor; quiet: there is no burst, so a moment
 * may be spent on this one. */
typedef void acceptor_fn(void *arg, int fd, bool quiet);
struct acceptor *acceptor_new(struct event_base *base, int listener, size_t limit, acceptor_fn *accepted,
			      void *arg, struct err *e);
void acceptor_free(struct acceptor *a);

/* Takes what waits, without waiting for the loop to say so. */
void acceptor_look(struct acceptor *a);

/* One of the accepted connections is closed. */
void acceptor_release(struct acceptor *a);

/* Takes what waits in the backlog already, then accepts no more, for good. */
void acceptor_stop(struct acceptor *a);

#endif
