/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the TT-Studio backend which models are deployed. */
#ifndef TT_AGENTD_DISCOVERY_H
#define TT_AGENTD_DISCOVERY_H

#include "agentd/services.h"

struct discovery;

/* list NULL: it failed (the failure was logged), or it is, byte for byte, the answer
 * that was given before; what is known stays in force. Else its items may be moved out. */
typedef void discovery_done_fn(void *arg, struct llm_list *list);

struct discovery *discovery_new(struct services *s, discovery_done_fn *done, void *arg);
void discovery_free(struct discovery *d); /* NULL is fine */

/* Asks now; where a question is on its way already its answer counts. -1: switched off
 * by the configuration, done is not called. */
int discovery_ask(struct discovery *d);

/* Forgets a question that is on its way (the configuration changed). */
void discovery_cancel(struct discovery *d);
bool discovery_running(const struct discovery *d);

/* Age of the last valid answer; -1: there was none. */
int64_t discovery_age_ms(const struct discovery *d);

#endif
