/* SPDX-License-Identifier: Apache-2.0 */
/* The HS256 token of requests to LLMs. The only user of libjwt. */
#ifndef TT_LLM_BEARER_H
#define TT_LLM_BEARER_H

#include "core/base/err.h"

/* JWT of {"team_id":..., "token_id":...} signed with secret; free(); NULL with e. */
char *bearer_token(const char *secret, const char *team_id, const char *token_id, struct err *e);

#endif
