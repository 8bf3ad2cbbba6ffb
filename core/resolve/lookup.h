/* SPDX-License-Identifier: Apache-2.0 */
/* getaddrinfo on threads: the resolver's engine. Threads start when they are needed
 * (up to LOOKUP_THREADS, so that a few names whose server is silent do not hold up the
 * others) and end when there was nothing to do for a while. */
#ifndef TT_RESOLVE_LOOKUP_H
#define TT_RESOLVE_LOOKUP_H

#include "core/base/err.h"

#include <event2/event.h>

#define LOOKUP_THREADS 16

struct lookup_pool;
struct lookup_job;

struct lookup_pool *lookup_pool_new(struct event_base *base, struct err *e);
/* No callbacks any more. Never waits for a lookup: a thread within getaddrinfo ends by
 * itself later. */
void lookup_pool_free(struct lookup_pool *p);

enum lookup_failure {
	LOOKUP_NO_NAME,   /* or a name without addresses */
	LOOKUP_TEMPORARY, /* asking again may help */
	LOOKUP_SHORTAGE,  /* we have no descriptor or memory to ask; asking again may help */
};

/* addresses is "a,b,[c]", or NULL with why and e set. Once, from the loop. */
typedef void lookup_done_fn(void *arg, const char *addresses, enum lookup_failure why, const struct err *e);
struct lookup_job *lookup_start(struct lookup_pool *p, const char *host, lookup_done_fn *done, void *arg,
                                struct err *e);

#endif
