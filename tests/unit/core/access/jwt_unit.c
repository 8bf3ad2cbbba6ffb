/* SPDX-License-Identifier: Apache-2.0 */
/* Signed tokens: those that hold, and forged ones of every kind. */
#include "core/access/jwt.h"

#include "core/access/crypto.h"
#include "core/base/buf.h"

#include <jansson.h>
#include <jwt.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define NOW    INT64_C(1800000000000) /* ms */
#define SECRET "0123456789abcdef0123456789abcdef"
#define CLAIMS "{\"iss\":\"https://idp\",\"aud\":\"agent\",\"sub\":\"ann\",\"exp\":1800000060}"

static const struct jwt_rules rules = {.issuer = "https://idp", .audience = "agent", .leeway_ms = 30000};

static EVP_PKEY *rsa, *other_rsa, *ec;
static struct jwt_keys *keys; /* the public ones, and SECRET */
static char *jwks;

/* ---- making tokens ------------------------------------------------------------------------------- */

static void add_part(struct buf *b, const void *bytes, size_t len)
{
	char *text = malloc(4 * ((len + 2) / 3) + 1);

	base64url_encode(bytes, len, text);
	assert_int_equal(buf_addf(b, "%s%s", b->len > 0 ? "." : "", text), 0);
	free(text);
}

static size_t sign_public(EVP_PKEY *key, const char *text, size_t len, unsigned char *out, size_t size)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	assert_int_equal(EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestSign(c, out, &size, (const unsigned char *)text, len), 1);
	EVP_MD_CTX_free(c);
	return size;
}

static size_t sign_ec(const char *text, size_t len, unsigned char *out)
{
	unsigned char der[200];
	const unsigned char *at = der;
	size_t size = sign_public(ec, text, len, der, sizeof der);
	ECDSA_SIG *numbers = d2i_ECDSA_SIG(NULL, &at, (long)size);

	assert_non_null(numbers);
	BN_bn2binpad(ECDSA_SIG_get0_r(numbers), out, 32);
	BN_bn2binpad(ECDSA_SIG_get0_s(numbers), out + 32, 32);
	ECDSA_SIG_free(numbers);
	return 64;
}

/* how: H, R, O (another RSA key), E, or 0: no signature at all. The secret is SECRET unless another one is given. */
static char *token(const char *header, const char *claims, char how, const char *secret)
{
	struct buf b = BUF_INIT(100000);
	unsigned char signature[600];
	unsigned mac_len = 0;
	size_t len = 0, size;

	add_part(&b, header, strlen(header));
	add_part(&b, claims, strlen(claims));
	if (secret == NULL)
		secret = SECRET;
	if (how == 'H') {
		HMAC(EVP_sha256(), secret, (int)strlen(secret), (unsigned char *)b.data, b.len, signature, &mac_len);
		len = mac_len;
	} else if (how == 'R' || how == 'O') {
		len = sign_public(how == 'R' ? rsa : other_rsa, b.data, b.len, signature, sizeof signature);
	} else if (how == 'E') {
		len = sign_ec(b.data, b.len, signature);
	}
	add_part(&b, signature, len);
	return buf_steal(&b, &size);
}

static enum jwt_verdict verdict_at(char *text, int64_t now_ms)
{
	struct jwt_claims c;
	enum jwt_verdict v = jwt_verify(keys, &rules, text, strlen(text), now_ms, &c);

	if (v == JWT_VALID) {
		assert_string_equal(c.subject, "ann");
		assert_int_equal(c.expires_ms, INT64_C(1800000060000));
	} else {
		assert_null(c.subject);
	}
	free(c.subject);
	free(text);
	return v;
}

static enum jwt_verdict verdict(char *text)
{
	return verdict_at(text, NOW);
}

#define HS256 "{\"alg\":\"HS256\"}"
#define RS256 "{\"alg\":\"RS256\",\"kid\":\"r\"}"
#define ES256 "{\"alg\":\"ES256\",\"kid\":\"e\"}"

/* ---- keys ------------------------------------------------------------------------------------------- */

static json_t *number(EVP_PKEY *key, const char *name)
{
	unsigned char bytes[600];
	char text[900];
	BIGNUM *n = NULL;
	int len;

	assert_int_equal(EVP_PKEY_get_bn_param(key, name, &n), 1);
	len = strcmp(name, OSSL_PKEY_PARAM_EC_PUB_X) == 0 || strcmp(name, OSSL_PKEY_PARAM_EC_PUB_Y) == 0
	              ? BN_bn2binpad(n, bytes, 32)
	              : BN_bn2bin(n, bytes);
	BN_free(n);
	base64url_encode(bytes, (size_t)len, text);
	return json_string(text);
}

static json_t *rsa_jwk(EVP_PKEY *key)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "kty", "RSA", "kid", "r", "use", "sig", "alg", "RS256", "n",
	                 number(key, OSSL_PKEY_PARAM_RSA_N), "e", number(key, OSSL_PKEY_PARAM_RSA_E));
}

static json_t *ec_jwk(void)
{
	return json_pack("{s:s, s:s, s:s, s:o, s:o}", "kty", "EC", "kid", "e", "crv", "P-256", "x",
	                 number(ec, OSSL_PKEY_PARAM_EC_PUB_X), "y", number(ec, OSSL_PKEY_PARAM_EC_PUB_Y));
}

static char *document_of(json_t *list)
{
	json_t *document = json_pack("{s:o}", "keys", list);
	char *text = json_dumps(document, 0);

	json_decref(document);
	return text;
}

static int make_keys(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	rsa = EVP_RSA_gen(2048);
	other_rsa = EVP_RSA_gen(2048);
	ec = EVP_EC_gen("P-256");
	jwks = document_of(json_pack("[o, o]", rsa_jwk(rsa), ec_jwk()));
	keys = jwt_keys_new(SECRET, jwks, strlen(jwks), &e);
	return keys != NULL ? 0 : -1;
}

static int free_keys(void **state)
{
	(void)state;
	jwt_keys_free(keys);
	free(jwks);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(other_rsa);
	EVP_PKEY_free(ec);
	return 0;
}

/* ---- tests -------------------------------------------------------------------------------------------- */

static void tokens_of_each_algorithm_hold(void **state)
{
	(void)state;
	assert_int_equal(verdict(token(HS256, CLAIMS, 'H', NULL)), JWT_VALID);
	assert_int_equal(verdict(token(RS256, CLAIMS, 'R', NULL)), JWT_VALID);
	assert_int_equal(verdict(token(ES256, CLAIMS, 'E', NULL)), JWT_VALID);
	assert_int_equal(verdict(token("{\"alg\":\"RS256\"}", CLAIMS, 'R', NULL)), JWT_VALID);
	assert_int_equal(verdict(token("{\"typ\":\"at+jwt\",\"alg\":\"ES256\"}", CLAIMS, 'E', NULL)), JWT_VALID);
}

/* Another library makes them as well. */
static void a_token_that_libjwt_signed_holds(void **state)
{
	jwt_t *j = NULL;
	char *text;

	(void)state;
	assert_int_equal(jwt_new(&j), 0);
	assert_int_equal(jwt_add_grants_json(j, CLAIMS), 0);
	assert_int_equal(jwt_set_alg(j, JWT_ALG_HS256, (const unsigned char *)SECRET, (int)strlen(SECRET)), 0);
	text = jwt_encode_str(j);
	jwt_free(j);
	assert_int_equal(verdict(text), JWT_VALID);
}

static void no_signature_is_made_up(void **state)
{
	char *public_text = NULL, *text;
	BIO *b = BIO_new(BIO_s_mem());
	long len;

	(void)state;
	PEM_write_bio_PUBKEY(b, rsa);
	len = BIO_get_mem_data(b, &public_text);
	text = strndup(public_text, (size_t)len);
	BIO_free(b);
	/* HS256 with the text of the public key as its secret, with its key id, without one, and as HS256's own. */
	assert_int_equal(verdict(token("{\"alg\":\"HS256\",\"kid\":\"r\"}", CLAIMS, 'H', text)), JWT_BAD_SIGNATURE);
	assert_int_equal(verdict(token(HS256, CLAIMS, 'H', text)), JWT_BAD_SIGNATURE);
	assert_int_equal(verdict(token(HS256, CLAIMS, 'H', jwks)), JWT_BAD_SIGNATURE);
	free(text);
	/* none, in any spelling */
	assert_int_equal(verdict(token("{\"alg\":\"none\"}", CLAIMS, 0, NULL)), JWT_MALFORMED);
	assert_int_not_equal(verdict(token("{\"alg\":\"none\"}", CLAIMS, 'H', NULL)), JWT_VALID);
	assert_int_not_equal(verdict(token("{\"alg\":\"nOnE\",\"kid\":\"r\"}", CLAIMS, 'R', NULL)), JWT_VALID);
	assert_int_not_equal(verdict(token("{\"alg\":\"\"}", CLAIMS, 'H', NULL)), JWT_VALID);
	assert_int_not_equal(verdict(token("{\"alg\":null}", CLAIMS, 'H', NULL)), JWT_VALID);
	assert_int_not_equal(verdict(token("{\"alg\":[\"HS256\"]}", CLAIMS, 'H', NULL)), JWT_VALID);
	assert_int_not_equal(verdict(token("{}", CLAIMS, 'H', NULL)), JWT_VALID);
	/* right key, other algorithm */
	assert_int_equal(verdict(token("{\"alg\":\"RS512\",\"kid\":\"r\"}", CLAIMS, 'R', NULL)), JWT_WRONG_ALGORITHM);
	assert_int_equal(verdict(token("{\"alg\":\"PS256\",\"kid\":\"r\"}", CLAIMS, 'R', NULL)), JWT_WRONG_ALGORITHM);
	assert_int_equal(verdict(token("{\"alg\":\"ES256\",\"kid\":\"r\"}", CLAIMS, 'E', NULL)), JWT_WRONG_ALGORITHM);
	assert_int_equal(verdict(token("{\"alg\":\"RS256\",\"kid\":\"e\"}", CLAIMS, 'R', NULL)), JWT_WRONG_ALGORITHM);
	assert_int_not_equal(verdict(token("{\"alg\":\"hs256\"}", CLAIMS, 'H', NULL)), JWT_VALID);
	/* other key */
	assert_int_equal(verdict(token(RS256, CLAIMS, 'O', NULL)), JWT_BAD_SIGNATURE);
	assert_int_equal(verdict(token("{\"alg\":\"RS256\"}", CLAIMS, 'O', NULL)), JWT_BAD_SIGNATURE);
	assert_int_equal(verdict(token("{\"alg\":\"RS256\",\"kid\":\"x\"}", CLAIMS, 'R', NULL)), JWT_UNKNOWN_KEY);
	assert_int_equal(verdict(token("{\"alg\":\"RS256\",\"kid\":7}", CLAIMS, 'R', NULL)), JWT_MALFORMED);
	/* keys that the token brings along */
	assert_int_equal(verdict(token("{\"alg\":\"RS256\",\"jku\":\"http://evil\",\"jwk\":{},\"x5u\":\"http://evil\"}",
	                               CLAIMS, 'O', NULL)),
	                 JWT_BAD_SIGNATURE);
	assert_int_equal(verdict(token("{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", CLAIMS, 'H', NULL)),
	                 JWT_MALFORMED);
	assert_int_equal(verdict(token("{\"alg\":\"RS256\",\"alg\":\"HS256\"}", CLAIMS, 'H', NULL)), JWT_MALFORMED);
}

static void a_changed_byte_breaks_a_token(void **state)
{
	static const char *const headers[] = {HS256, RS256, ES256};

	(void)state;
	for (size_t h = 0; h < 3; h++) {
		char *good = token(headers[h], CLAIMS, "HRE"[h], NULL);
		size_t len = strlen(good);

		for (size_t i = 0; i < len; i++) {
			char *bad = strdup(good);

			bad[i] = bad[i] == 'A' ? 'Q' : 'A';
			if (i + 1 == len || good[i + 1] == '.' || strcmp(bad, good) == 0) {
				free(bad); /* its last bits may mean nothing */
				continue;
			}
			assert_int_not_equal(verdict(bad), JWT_VALID);
		}
		for (size_t i = 0; i < len; i++) {
			struct jwt_claims c;

			assert_int_not_equal(jwt_verify(keys, &rules, good, i, NOW, &c), JWT_VALID);
		}
		free(good);
	}
}

static void claims_must_be_as_configured(void **state)
{
#define WITH(text) "{\"iss\":\"https://idp\",\"aud\":\"agent\",\"sub\":\"ann\"," text "}"
	static const struct {
		const char *claims;
		enum jwt_verdict verdict;
	} table[] = {
		{WITH("\"exp\":1800000060,\"nbf\":1800000030,\"iat\":1800000030.5"), JWT_NOT_YET},
		{WITH("\"exp\":1800000060,\"nbf\":1800000030,\"iat\":1800000030"), JWT_VALID},
		{WITH("\"exp\":1800000060.0"), JWT_VALID},
		{WITH("\"exp\":1799999970"), JWT_EXPIRED},
		{WITH("\"exp\":0"), JWT_EXPIRED},
		{WITH("\"exp\":-1"), JWT_EXPIRED},
		{WITH("\"exp\":1e300"), JWT_EXPIRED},
		{WITH("\"exp\":9223372036854775807"), JWT_EXPIRED},
		{WITH("\"exp\":\"1800000060\""), JWT_EXPIRED},
		{WITH("\"exp\":null"), JWT_EXPIRED},
		{WITH("\"iat\":1"), JWT_EXPIRED},
		{WITH("\"exp\":1800000060,\"nbf\":1800000031"), JWT_NOT_YET},
		{WITH("\"exp\":1800000060,\"nbf\":\"0\""), JWT_NOT_YET},
		{"{\"iss\":\"https://idp/\",\"aud\":\"agent\",\"sub\":\"ann\",\"exp\":1800000060}", JWT_WRONG_ISSUER},
		{"{\"iss\":[\"https://idp\"],\"aud\":\"agent\",\"sub\":\"ann\",\"exp\":1800000060}", JWT_WRONG_ISSUER},
		{"{\"aud\":\"agent\",\"sub\":\"ann\",\"exp\":1800000060}", JWT_WRONG_ISSUER},
		{"{\"iss\":\"https://idp\",\"aud\":\"Agent\",\"sub\":\"ann\",\"exp\":1800000060}", JWT_WRONG_AUDIENCE},
		{"{\"iss\":\"https://idp\",\"aud\":[\"a\",\"b\"],\"sub\":\"ann\",\"exp\":1800000060}",
	         JWT_WRONG_AUDIENCE},
		{"{\"iss\":\"https://idp\",\"aud\":[],\"sub\":\"ann\",\"exp\":1800000060}", JWT_WRONG_AUDIENCE},
		{"{\"iss\":\"https://idp\",\"aud\":{\"agent\":1},\"sub\":\"ann\",\"exp\":1800000060}",
	         JWT_WRONG_AUDIENCE},
		{"{\"iss\":\"https://idp\",\"sub\":\"ann\",\"exp\":1800000060}", JWT_WRONG_AUDIENCE},
		{"{\"iss\":\"https://idp\",\"aud\":[1,\"agent\"],\"sub\":\"ann\",\"exp\":1800000060}", JWT_VALID},
		{"{\"iss\":\"https://idp\",\"aud\":\"agent\",\"exp\":1800000060}", JWT_BAD_SUBJECT},
		{"{\"iss\":\"https://idp\",\"aud\":\"agent\",\"sub\":\"\",\"exp\":1800000060}", JWT_BAD_SUBJECT},
		{"{\"iss\":\"https://idp\",\"aud\":\"agent\",\"sub\":7,\"exp\":1800000060}", JWT_BAD_SUBJECT},
		{"{\"iss\":\"https://idp\",\"aud\":\"agent\",\"sub\":\"ann\\nbob\",\"exp\":1800000060}",
	         JWT_BAD_SUBJECT},
		{"{\"iss\":\"https://idp\",\"aud\":\"agent\",\"sub\":\"ann\\u0000\",\"exp\":1800000060}",
	         JWT_MALFORMED},
		{"{\"iss\":\"https://idp\",\"aud\":\"agent\",\"sub\":\"bob\",\"sub\":\"ann\",\"exp\":1800000060}",
	         JWT_MALFORMED},
		{"[]", JWT_MALFORMED},
		{"\"text\"", JWT_MALFORMED},
		{"{", JWT_MALFORMED},
		{"\xff", JWT_MALFORMED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		assert_int_equal(verdict(token(HS256, table[i].claims, 'H', NULL)), table[i].verdict);
	assert_int_equal(verdict_at(token(RS256, CLAIMS, 'R', NULL), INT64_C(1800000089999)), JWT_VALID);
	assert_int_equal(verdict_at(token(RS256, CLAIMS, 'R', NULL), INT64_C(1800000090000)), JWT_EXPIRED);
}

static void what_is_no_token_is_malformed(void **state)
{
	static const char *const texts[] = {"",
	                                    ".",
	                                    "..",
	                                    "...",
	                                    "a.b",
	                                    "a.b.c",
	                                    "a.b.c.d",
	                                    "e30",
	                                    "e30.e30",
	                                    "e30.e30.",
	                                    ".e30.e30",
	                                    "e30..e30",
	                                    "e30.e30.e30",
	                                    "e3 0.e30.e30",
	                                    "e30.e30.e3=",
	                                    "\xff.\xff.\xff",
	                                    "eyJhbGciOiJIUzI1NiJ9.e30.%"};
	char *huge = malloc(JWT_MAX + 100);
	struct jwt_claims c;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		assert_int_not_equal(verdict(strdup(texts[i])), JWT_VALID);
	memset(huge, 'A', JWT_MAX + 99);
	huge[5] = huge[10] = '.';
	assert_int_equal(jwt_verify(keys, &rules, huge, JWT_MAX + 99, NOW, &c), JWT_MALFORMED);
	assert_int_equal(jwt_verify(keys, &rules, huge, JWT_MAX, NOW, &c), JWT_MALFORMED);
	memset(huge, 0, JWT_MAX);
	assert_int_equal(jwt_verify(keys, &rules, huge, JWT_MAX, NOW, &c), JWT_MALFORMED);
	free(huge);
}

static size_t count_of(const char *secret, char *document, struct err *e)
{
	struct jwt_keys *k = jwt_keys_new(secret, document, document != NULL ? strlen(document) : 0, e);
	size_t count = jwt_keys_count(k);

	jwt_keys_free(k);
	free(document);
	return count;
}

static void keys_for_something_else_are_left_out(void **state)
{
	json_t *list = json_array(), *k;
	struct err e = ERR_INIT;
	EVP_PKEY *weak = EVP_RSA_gen(1024);

	(void)state;
	json_array_append_new(list, ec_jwk());
	json_array_append_new(list, json_pack("{s:s, s:s}", "kty", "oct", "k",
	                                      "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0")); /* a secret */
	json_array_append_new(list, rsa_jwk(weak));
	json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "kty", "OKP", "crv", "Ed25519", "x", "AAAA"));
	for (unsigned i = 0; i < 5; i++) {
		k = rsa_jwk(rsa);
		if (i == 0)
			json_object_set_new(k, "use", json_string("enc"));
		else if (i == 1)
			json_object_set_new(k, "alg", json_string("RS512"));
		else if (i == 2)
			json_object_set_new(k, "key_ops", json_pack("[s]", "encrypt"));
		else if (i == 3)
			json_object_set_new(k, "n", json_string("AQAB"));
		else
			json_object_set_new(k, "e", json_integer(3));
		json_array_append_new(list, k);
	}
	k = ec_jwk();
	json_object_set_new(k, "x", json_string("AAAA")); /* no point of the curve */
	json_array_append_new(list, k);
	k = ec_jwk();
	json_object_set_new(k, "crv", json_string("P-384"));
	json_array_append_new(list, k);
	json_array_append_new(list, json_null());
	json_array_append_new(list, json_integer(1));
	assert_int_equal(count_of(NULL, document_of(list), &e), 1);
	assert_false(err_is_set(&e));
	EVP_PKEY_free(weak);
}

static void what_is_no_set_of_keys_is_an_error(void **state)
{
	static const char *const texts[] = {"",
	                                    "[]",
	                                    "{}",
	                                    "{\"keys\":{}}",
	                                    "{\"keys\":[]}",
	                                    "{\"keys\":[{}]}",
	                                    "<html>",
	                                    "{\"keys\":1,\"keys\":[]}"};

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct err e = ERR_INIT;

		assert_int_equal(count_of(NULL, strdup(texts[i]), &e), 0);
		assert_true(err_is_set(&e));
	}
	{
		struct err e = ERR_INIT;

		assert_int_equal(count_of("too short", NULL, &e), 0);
		assert_null(strstr(e.text, "too short for HS256, which needs 33"));
		assert_non_null(strstr(e.text, "32"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_of_each_algorithm_hold),
		cmocka_unit_test(a_token_that_libjwt_signed_holds),
		cmocka_unit_test(no_signature_is_made_up),
		cmocka_unit_test(a_changed_byte_breaks_a_token),
		cmocka_unit_test(claims_must_be_as_configured),
		cmocka_unit_test(what_is_no_token_is_malformed),
		cmocka_unit_test(keys_for_something_else_are_left_out),
		cmocka_unit_test(what_is_no_set_of_keys_is_an_error),
	};

	return cmocka_run_group_tests(tests, make_keys, free_keys);
}
