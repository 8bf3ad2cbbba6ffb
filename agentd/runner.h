/* SPDX-License-Identifier: Apache-2.0 */
/* Whether tt-agent-runner can run code, where the configuration wants it to (code.local,
 * no code.e2b_key): a connection is kept to it, over which it is asked again and again.
 * So its end is known at once, and that it hangs within seconds. */
#ifndef TT_AGENTD_RUNNER_H
#define TT_AGENTD_RUNNER_H

#include "agentd/services.h"

struct runner;

/* changed: runner_trouble says something else now. Never from within runner_new. */
struct runner *runner_new(struct services *s, void (*changed)(void *arg), void *arg);
void runner_free(struct runner *r); /* NULL is fine */

/* To call once a second, and where the configuration has changed. */
void runner_look(struct runner *r);

/* Why it cannot run code, a text that lasts; NULL: it can, or nobody wants it to. */
const char *runner_trouble(const struct runner *r);

#endif
