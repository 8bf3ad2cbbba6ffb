/* SPDX-License-Identifier: Apache-2.0 */
#include "core/llm/bearer.h"

#include <errno.h>
#include <jwt.h>
#include <string.h>

char *bearer_token(const char *secret, const char *team_id, const char *token_id, struct err *e)
{
	jwt_t *jwt = NULL;
	char *token = NULL;
	int rc;

	if (secret == NULL || secret[0] == '\0') {
		err_set(e, "no secret to sign the bearer token with (set JWT_SECRET)");
		return NULL;
	}
	rc = jwt_new(&jwt);
	if (rc == 0)
		rc = jwt_add_grant(jwt, "team_id", team_id);
	if (rc == 0)
		rc = jwt_add_grant(jwt, "token_id", token_id);
	if (rc == 0)
		rc = jwt_set_alg(jwt, JWT_ALG_HS256, (const unsigned char *)secret, (int)strlen(secret));
	if (rc != 0) {
		err_set_errno(e, rc, "the bearer token of team %s cannot be made", team_id);
		goto out;
	}
	token = jwt_encode_str(jwt);
	if (token == NULL)
		err_set_errno(e, errno, "the bearer token of team %s cannot be signed", team_id);
out:
	jwt_free(jwt);
	return token;
}
