/* SPDX-License-Identifier: Apache-2.0 */
/* What keys and tokens need of OpenSSL's libcrypto. */
#ifndef TT_ACCESS_CRYPTO_H
#define TT_ACCESS_CRYPTO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DIGEST_LEN 32 /* of SHA-256 */

/* A context that is kept, since fetching the algorithm takes longer than a digest. One thread. */
struct digester;
struct digester *digester_new(void); /* NULL: no memory, or libcrypto has no SHA-256 */
void digester_free(struct digester *d);
int digest(struct digester *d, const void *bytes, size_t len, uint8_t out[DIGEST_LEN]);

int digest_once(const void *bytes, size_t len, uint8_t out[DIGEST_LEN]); /* without one; -1: it failed */

int random_bytes(uint8_t *out, size_t len); /* for secrets; -1: there are none */

/* Without padding, terminated; out has room for 4 * ((len + 2) / 3) + 1 bytes. */
void base64url_encode(const uint8_t *bytes, size_t len, char *out);
/* Without padding, nothing but its letters. out has room for len bytes; the length, or -1. */
ssize_t base64url_decode(const char *text, size_t len, uint8_t *out);

#endif
