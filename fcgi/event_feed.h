/* SPDX-License-Identifier: Apache-2.0 */
/* The clients of GET /events in one worker: the state, how busy the service is, and the events of the
 * ring, as they change. All from mapped files; one timer for all clients, and none without. */
#ifndef TT_FCGI_EVENT_FEED_H
#define TT_FCGI_EVENT_FEED_H

#include "fcgi/connection.h"
#include "fcgi/published.h"

struct event_feed;

struct event_feed_host {
	/* A client has left. entry is what event_feed_add was given. */
	void (*left)(void *arg, unsigned entry);
	void *arg;
};

struct event_feed *event_feed_new(struct event_base *base, struct published *p, const struct event_feed_host *host,
                                  struct err *e);
void event_feed_free(struct event_feed *f); /* after the connections; NULL is fine */

/* Begins a response on c that does not end before its client leaves, or event_feed_end. admin: it may see
 * everything, whatever http.public_status is. last_id: the Last-Event-ID header, or NULL. -1: no memory; c
 * still waits for a response, and left is not called. */
int event_feed_add(struct event_feed *f, struct connection *c, bool admin, const char *last_id, unsigned entry);

/* The worker drains: clients are told to come back soon, and new ones likewise. */
void event_feed_end(struct event_feed *f);

#endif
