/* SPDX-License-Identifier: Apache-2.0 */
/* Name lookups that never block the loop: getaddrinfo on threads of its own.
 * Results are cached for a short time; equal queries share one lookup. */
#ifndef TT_RESOLVE_RESOLVER_H
#define TT_RESOLVE_RESOLVER_H

#include "core/base/err.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

struct resolver;
struct resolver_query;

struct resolver *resolver_new(struct event_base *base, struct err *e);
void resolver_free(struct resolver *r); /* cancels open queries, without callbacks */

/* resolve is "host:port:addr[,addr]", the form of CURLOPT_RESOLVE, or NULL with e set.
 * exhausted: it failed because we have no file descriptor, thread or memory left; nothing is
 * known of the name. Called once, from the loop, never from within resolver_lookup. */
typedef void resolver_done_fn(void *arg, const char *resolve, bool exhausted, const struct err *e);
struct resolver_query *resolver_lookup(struct resolver *r, const char *host, uint16_t port, resolver_done_fn *done,
                                       void *arg);
/* done is no longer called. The lookup itself may continue in its thread. */
void resolver_cancel(struct resolver_query *q);

/* A fresh cached answer, or NULL. Valid until the loop runs again. */
const char *resolver_cached(struct resolver *r, const char *host, uint16_t port);

/* The addresses of the host do not answer, so it may have got others: the next lookup asks the name
 * server. No more than once a second: else the milliseconds until that is possible, and nothing
 * changes; 0: done. */
int64_t resolver_doubt(struct resolver *r, const char *host, uint16_t port);

#endif
