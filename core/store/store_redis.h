/* SPDX-License-Identifier: Apache-2.0 */
/* What the store in Redis and its part for administrators share. */
#ifndef TT_STORE_STORE_REDIS_H
#define TT_STORE_STORE_REDIS_H

#include "core/redis/redis.h"
#include "core/store/store_impl.h"

/* The first member of each request. */
struct redis_store_request {
	struct store_request base;
	void (*cancel)(struct redis_store_request *r);
};

/* With the configuration's settings; NULL: the defaults. */
struct redis *redis_store_client(struct event_base *base, const char *url, const struct config *c,
                                 redis_changed_fn *changed, void *arg, struct err *e);

extern const struct store_admin_ops store_redis_admin_ops;

#endif
