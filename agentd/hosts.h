/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the addresses of the LLMs' hosts fresh (llm.resolve), so that no responder has
 * to look up a name. A name that cannot be looked up keeps the address it had. */
#ifndef TT_AGENTD_HOSTS_H
#define TT_AGENTD_HOSTS_H

#include "agentd/services.h"

struct hosts;

/* changed: the addresses of the LLM at index changed, or are known again. */
struct hosts *hosts_new(struct services *s, void (*changed)(void *arg, size_t index), void *arg);
void hosts_free(struct hosts *h); /* before the resolver; NULL is fine */

/* Looks up names that have no address yet; known ones are looked up again every 30 s. */
void hosts_update(struct hosts *h);

/* The LLM at index could not be reached: its host may have got another address, so it is looked up
 * at once, and every second for a minute until it is reached (track.unreached_ms is 0 again). */
void hosts_unreached(struct hosts *h, size_t index);

#endif
