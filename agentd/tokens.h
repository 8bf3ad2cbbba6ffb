/* SPDX-License-Identifier: Apache-2.0 */
/* The bearer token of each LLM, made once per secret. Tokens are never logged. */
#ifndef TT_AGENTD_TOKENS_H
#define TT_AGENTD_TOKENS_H

#include "core/llm/llm.h"

struct tokens;

struct tokens *tokens_new(void);
void tokens_free(struct tokens *t); /* NULL is fine */

/* cloud.token for the cloud's LLM and for no other; else the token signed with the
 * deployment's own secret or auth.jwt_secret; NULL: none is sent. Valid until
 * tokens_forget. */
char *tokens_for(struct tokens *t, const struct llm *l, const struct config *c);

/* The token of a restored LLM, until its own secret is known. */
int tokens_set_restored(struct tokens *t, uint64_t instance, const char *token);

/* The backend answered, so the deployments' own secrets are known: drops restored tokens. */
void tokens_drop_restored(struct tokens *t);

/* Forgets what was made: after a change of the configuration. */
void tokens_forget(struct tokens *t);

#endif
