/* Where turns wait for an LLM while there is none: in the order in which they came, and not
 * more of them than fit. They are called as soon as one was published. */
#ifndef TT_CHAT_WAITING_H
#define TT_CHAT_WAITING_H

#include "core/base/err.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct waiting_room;

/* Part of who waits. */
struct waiter {
	TAILQ_ENTRY(waiter) link;
	void (*called)(void *arg); /* there is an LLM; it waits no more */
	void *arg;
	struct waiting_room *room; /* NULL: it does not wait */
};

/* there_is_one is asked often while somebody waits, so it must cost next to nothing. */
struct waiting_room *waiting_room_new(struct event_base *base, bool (*there_is_one)(void *arg), void *arg,
                                      struct err *e);
void waiting_room_free(struct waiting_room *r); /* nobody is called; NULL is fine */

/* False: `most` wait already, or no memory. */
bool waiting_room_enter(struct waiting_room *r, struct waiter *w, size_t most);
void waiting_room_leave(struct waiter *w); /* one that does not wait is fine */

#endif
