/* SPDX-License-Identifier: Apache-2.0 */
/* Whether tt-agent-runner can run code, where the configuration wants it to (code.local, no
 * code.e2b_key): a connection to it is kept open and checked every few seconds. A runner that
 * ends is noticed at once, one that hangs within seconds. */
#ifndef TT_AGENTD_SANDBOX_CHECK_H
#define TT_AGENTD_SANDBOX_CHECK_H

#include "agentd/services.h"

struct sandbox_check;

/* changed: sandbox_check_problem returns something else. Never from within sandbox_check_new. */
struct sandbox_check *sandbox_check_new(struct services *s, void (*changed)(void *arg), void *arg);
void sandbox_check_free(struct sandbox_check *r); /* NULL is fine */

/* To call once a second, and where the configuration has changed. */
void sandbox_check_tick(struct sandbox_check *r);

/* Why it cannot run code, a text that lasts; NULL: it can, or need not. */
const char *sandbox_check_problem(const struct sandbox_check *r);

#endif
