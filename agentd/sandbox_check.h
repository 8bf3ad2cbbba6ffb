/* SPDX-License-Identifier: Apache-2.0 */
/* Whether tt-agent-runner can run code, where the configuration wants it to (code.local,
 * no code.e2b_key): a connection is kept to it, over which it is asked every few seconds.
 * Its end is noticed at once, and within seconds that it hangs. */
#ifndef TT_AGENTD_SANDBOX_CHECK_H
#define TT_AGENTD_SANDBOX_CHECK_H

#include "agentd/services.h"

struct sandbox_check;

/* changed: sandbox_check_problem returns something else. Never from within sandbox_check_new. */
struct sandbox_check *sandbox_check_new(struct services *s, void (*changed)(void *arg), void *arg);
void sandbox_check_free(struct sandbox_check *r); /* NULL is fine */

/* To call once a second, and where the configuration has changed. */
void sandbox_check_tick(struct sandbox_check *r);

/* Why it cannot run code, a text that lasts; NULL: it can, or nobody wants it to. */
const char *sandbox_check_problem(const struct sandbox_check *r);

#endif
