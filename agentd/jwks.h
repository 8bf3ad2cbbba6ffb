/* SPDX-License-Identifier: Apache-2.0 */
/* Fetches the public keys with which clients' tokens are checked (access.jwt_jwks_url), and writes
 * them to the run directory for the responders. At intervals, and when a token names a key that is
 * not among them; never twice within JWKS_PAUSE_MS, whoever asks and whatever the result was, so that
 * forged tokens cost the issuer nothing. What was fetched last stays until there is something better. */
#ifndef TT_AGENTD_JWKS_H
#define TT_AGENTD_JWKS_H

#include "agentd/services.h"

#define JWKS_PAUSE_MS INT64_C(30000)

struct jwks;

struct jwks *jwks_new(struct services *s, const char *run_dir); /* NULL: no memory */
void jwks_free(struct jwks *j);                                 /* NULL is fine */
void jwks_tick(struct jwks *j);                                 /* once a second, and after a reload */
void jwks_want(struct jwks *j);                                 /* a token names a key that is not known */
const char *
jwks_error(const struct jwks *j); /* why the last request brought no keys; NULL: it did, or there was none */

#endif
