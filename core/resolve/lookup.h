/* SPDX-License-Identifier: Apache-2.0 */
/* getaddrinfo on threads, for the resolver. Threads start when they are needed (up to
 * LOOKUP_THREADS, so that a few names whose server does not answer do not block the others)
 * and end when they have been idle for a while. */
#ifndef TT_RESOLVE_LOOKUP_H
#define TT_RESOLVE_LOOKUP_H

#include "core/base/err.h"

#include <event2/event.h>

#define LOOKUP_THREADS 16

struct lookup_pool;
struct lookup_job;

struct lookup_pool *lookup_pool_new(struct event_base *base, struct err *e);
/* No callback follows. Never waits for a lookup: a thread within getaddrinfo ends by itself
 * later. */
void lookup_pool_free(struct lookup_pool *p);

enum lookup_failure {
	LOOKUP_NO_NAME,   /* or a name without addresses */
	LOOKUP_TEMPORARY, /* a retry may help */
	LOOKUP_EXHAUSTED, /* we have no file descriptor or memory left; a retry may help */
};

/* addresses is "a,b,[c]", or NULL with why and e set. Called once, from the loop. */
typedef void lookup_done_fn(void *arg, const char *addresses, enum lookup_failure why, const struct err *e);
struct lookup_job *lookup_start(struct lookup_pool *p, const char *host, lookup_done_fn *done, void *arg,
                                struct err *e);

#endif
