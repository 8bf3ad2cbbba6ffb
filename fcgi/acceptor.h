/* Takes connections from the listener: a bounded number at once, and none while this
 * worker has as many as it may. What is not taken waits in the backlog, or is taken by
 * another worker. One thread. */
#ifndef TT_FCGI_ACCEPTOR_H
#define TT_FCGI_ACCEPTOR_H

#include "core/base/err.h"

#include <event2/event.h>
#include <stddef.h>

struct acceptor;

/* The listener must not block; it stays the caller's. accepted owns the descriptor. */
typedef void acceptor_fn(void *arg, int fd);
struct acceptor *acceptor_new(struct event_base *base, int listener, size_t limit, acceptor_fn *accepted, void *arg,
			      struct err *e);
void acceptor_free(struct acceptor *a);

/* One of the accepted connections is closed. */
void acceptor_release(struct acceptor *a);

/* Takes what waits in the backlog already, then accepts no more, for good. */
void acceptor_stop(struct acceptor *a);

#endif
