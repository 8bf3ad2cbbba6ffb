/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the addresses of the LLMs' hosts fresh (llm.resolve), so that no responder has
 * to look up a name. A name that cannot be looked up keeps the address it had. */
#ifndef TT_AGENTD_HOSTS_H
#define TT_AGENTD_HOSTS_H

#include "agentd/services.h"

struct hosts;

/* changed: the addresses of an LLM changed. */
struct hosts *hosts_new(struct services *s, void (*changed)(void *arg), void *arg);
void hosts_free(struct hosts *h); /* before the resolver; NULL is fine */

/* Looks up names that have no address yet; known ones are looked up again every 30 s. */
void hosts_update(struct hosts *h);

#endif
