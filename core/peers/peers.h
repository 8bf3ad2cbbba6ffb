/* SPDX-License-Identifier: Apache-2.0 */
/* Several hosts that serve the same clients: what they share is in one Redis (group hosts of the configuration). */
#ifndef TT_PEERS_PEERS_H
#define TT_PEERS_PEERS_H

#include "core/config/config.h"

#include <jansson.h>

#define PEERS_NAME_MAX 64
/* In the run directory: which hosts tt-agentd has seen lately, this one included, as an array of names. */
#define PEERS_FILE "hosts.json"

/* In Redis: a hash of name -> what that host says once a second, "TIME {...}" with Redis' time in ms. */
#define PEERS_KEY      "tt:{hosts}"
#define PEERS_FRESH_MS 5000 /* what it says counts for so long */

/* Of such a text: its object, a new reference, and *at_ms; NULL: it is none. at_ms may be NULL. */
json_t *peers_message(const char *text, size_t len, int64_t *at_ms);

/* The URL of the Redis that hosts share: hosts.redis, or threads.store where that is Redis. Borrowed; NULL: there is
 * none, and this host works alone. */
const char *peers_redis(const struct config *c);

/* hosts.name, or the machine's. */
void peers_name(const struct config *c, char out[PEERS_NAME_MAX + 1]);

/* How many hosts there are: as configured (hosts.count), or, if that is 0, as many as tt-agentd saw; at least 1. Reads
 * a file. */
unsigned peers_count(unsigned configured, const char *run_dir);

#endif
