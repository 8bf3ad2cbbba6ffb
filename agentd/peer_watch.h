/* SPDX-License-Identifier: Apache-2.0 */
/* What hosts that share a Redis (hosts.redis) tell one another, once a second: that they are there, which LLMs
 * chat turns failed on, and how many turns they have in flight at each. That is a hint, which counts for seconds: it
 * changes the order in which LLMs are tried, and takes none away. Each host probes LLMs for itself. */
#ifndef TT_AGENTD_PEER_WATCH_H
#define TT_AGENTD_PEER_WATCH_H

#include "agentd/services.h"

#include <jansson.h>

struct peer_watch;

/* changed: peer_watch_state returns something else, or other hosts think otherwise of an LLM (struct track, doubted).
 * Never from within peer_watch_new. NULL: no memory. */
struct peer_watch *peer_watch_new(struct services *s, const char *run_dir, void (*changed)(void *arg), void *arg);
void peer_watch_free(struct peer_watch *w); /* NULL is fine */

/* To call once a second, and where the configuration has changed. */
void peer_watch_tick(struct peer_watch *w);

/* For people: {"name", "redis": its URL, "state": "connected" or "away", "error", "hosts": [{"name", "version",
 * "since"}]}, this host among them; borrowed, NULL: this host works alone. */
json_t *peer_watch_state(const struct peer_watch *w);

#endif
