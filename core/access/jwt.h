/* SPDX-License-Identifier: Apache-2.0 */
/* Signed tokens (JWT) and the issuer's keys (JWKS). A key has one algorithm, which its own record
 * says; what a token says of its algorithm never chooses one: it must be the same, or the token is
 * refused. HS256, RS256 and ES256, checked by libcrypto with keys that are read once (libjwt reads a
 * key for each token, which takes 0.3 ms, and takes an RSA key's text for a secret). A set of keys is used by one
 * thread at a time. */
#ifndef TT_ACCESS_JWT_H
#define TT_ACCESS_JWT_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JWT_MAX        (16u << 10) /* of a token */
#define JWT_SECRET_MIN 32          /* RFC 7518: at least as long as the digest */
#define JWKS_MAX       (256u << 10)

struct jwt_keys;

/* secret: of HS256; NULL: none. jwks: a document with public keys (RSA of 2048 to 8192 bits, P-256); NULL:
 * none. Keys in it that are for something else, or secret, are left out. NULL with e: no memory, or the
 * document is none, or has no key that can be used. */
struct jwt_keys *jwt_keys_new(const char *secret, const char *jwks, size_t jwks_len, struct err *e);
void jwt_keys_free(struct jwt_keys *k); /* NULL is fine */
size_t jwt_keys_count(const struct jwt_keys *k);

struct jwt_rules {
	const char *issuer, *audience; /* exactly these */
	int64_t leeway_ms;             /* by which clocks may differ */
};

enum jwt_verdict {
	JWT_VALID,
	JWT_MALFORMED,
	JWT_UNKNOWN_KEY, /* its key id is none of ours: the issuer may have a new key */
	JWT_WRONG_ALGORITHM,
	JWT_BAD_SIGNATURE,
	JWT_EXPIRED,
	JWT_NOT_YET,
	JWT_WRONG_ISSUER,
	JWT_WRONG_AUDIENCE,
	JWT_BAD_SUBJECT,
	JWT_NO_MEMORY,
	JWT_VERDICTS
};
const char *jwt_verdict_text(enum jwt_verdict v); /* after "The token ..." */

struct jwt_claims {
	char *subject;      /* free() */
	int64_t expires_ms; /* wall clock */
};

/* Any bytes. now_ms: wall clock. */
enum jwt_verdict jwt_verify(const struct jwt_keys *k, const struct jwt_rules *rules, const char *token, size_t len,
                            int64_t now_ms, struct jwt_claims *out);

#endif
