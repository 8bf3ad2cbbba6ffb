/* SPDX-License-Identifier: Apache-2.0 */
/* Any token, and any set of keys: no token holds without its signature. The input's first line is the document
 * with the keys, what follows is the token; or the input's claims are signed here, and then hold only for the
 * user whom they name. */
#include "core/access/crypto.h"
#include "core/access/jwt.h"
#include "core/base/buf.h"
#include "tests/fuzz/fuzz.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#define NOW    INT64_C(1800000000000)
#define SECRET "0123456789abcdef0123456789abcdef"

static const struct jwt_rules rules = {.issuer = "i", .audience = "a", .leeway_ms = 0};

static void any_token(const char *text, size_t len)
{
	const char *line = memchr(text, '\n', len);
	size_t document = line != NULL ? (size_t)(line - text) : len;
	struct err e = ERR_INIT;
	struct jwt_keys *k = jwt_keys_new(SECRET, text, document, &e);
	struct jwt_claims c;

	if (k == NULL)
		k = jwt_keys_new(SECRET, NULL, 0, &e);
	fuzz_require(k != NULL);
	if (line != NULL) {
		fuzz_require(jwt_verify(k, &rules, line + 1, len - document - 1, NOW, &c) != JWT_VALID);
		fuzz_require(c.subject == NULL);
	}
	jwt_keys_free(k);
}

static void add(struct buf *b, const void *bytes, size_t len)
{
	char *text = malloc(4 * ((len + 2) / 3) + 1);

	base64url_encode(bytes, len, text);
	fuzz_require(buf_addf(b, "%s%s", b->len > 0 ? "." : "", text) == 0);
	free(text);
}

static void signed_claims(const char *text, size_t len)
{
	static const char header[] = "{\"alg\":\"HS256\"}";
	struct buf b = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	struct jwt_keys *k = jwt_keys_new(SECRET, NULL, 0, &e);
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned mac_len = 0;
	struct jwt_claims c;

	fuzz_require(k != NULL);
	add(&b, header, sizeof header - 1);
	add(&b, text, len);
	HMAC(EVP_sha256(), SECRET, sizeof SECRET - 1, (const unsigned char *)b.data, b.len, mac, &mac_len);
	add(&b, mac, mac_len);
	if (jwt_verify(k, &rules, b.data, b.len, NOW, &c) == JWT_VALID) {
		fuzz_require(c.expires_ms > NOW && fuzz_is_text(c.subject, strlen(c.subject)));
		fuzz_require(memmem(text, len, "exp", 3) != NULL || memchr(text, '\\', len) != NULL);
	}
	free(c.subject);
	buf_free(&b);
	jwt_keys_free(k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *copy = fuzz_copy(data, len);

	if (len < JWT_MAX / 2) {
		any_token(copy, len);
		signed_claims(copy, len);
	}
	free(copy);
	return 0;
}
