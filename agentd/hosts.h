/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the addresses of the LLMs' hosts fresh (llm.resolve), so that no responder has
 * to look up a name. A name that cannot be looked up keeps the address it had. */
#ifndef TT_AGENTD_HOSTS_H
#define TT_AGENTD_HOSTS_H

#include "agentd/services.h"

struct hosts;

/* changed: the addresses of an LLM are others now. */
struct hosts *hosts_new(struct services *s, void (*changed)(void *arg), void *arg);
void hosts_free(struct hosts *h); /* before the resolver; NULL is fine */

/* Looks up what has no address yet; all others are looked up again now and then. */
void hosts_update(struct hosts *h);

#endif
