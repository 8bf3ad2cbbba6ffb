/* SPDX-License-Identifier: Apache-2.0 */
/* Usage of all hosts that share a Redis (hosts.redis). tt-agentd of each host writes there what its rows of a day sum
 * up to, again and again: a sum that was written twice, or late, is still right. */
#ifndef TT_ACCESS_SHARED_USAGE_H
#define TT_ACCESS_SHARED_USAGE_H

#include "core/base/err.h"
#include "core/config/config.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdint.h>

struct redis;

/* A hash for each host and day (UTC): ["KEY ID","MODEL","OUTCOME"] -> [attempts, prompt tokens, completion tokens,
 * ms]. No user is in it. */
struct shared_usage;

/* redis outlives it; file: of usage_log_file. NULL: no memory. */
struct shared_usage *shared_usage_new(struct event_base *base, struct redis *redis, const char *host, const char *file,
                                      int64_t retain_ms);
void shared_usage_free(struct shared_usage *u); /* NULL is fine */

/* Sends what is new, now and then; to call once a second. */
void shared_usage_tick(struct shared_usage *u);

/* Sums over all hosts of whole days since one, for administrators; blocking. by: "key", "model", "outcome", "day" or
 * "host". As usage_log_sums. */
json_t *shared_usage_sums(const struct config *c, const char *by, int64_t since_ms, struct err *e);
bool shared_usage_sums_by(const char *by);

#endif
