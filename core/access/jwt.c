/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access/jwt.h"

#include "core/access/crypto.h"

#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX    64
#define SUBJECT_MAX 256
#define COORDINATE  32 /* bytes, of P-256 */
#define CHECKS_MAX  4  /* signatures that one token may have checked: without a key id it may be any key's */

struct algorithm;

struct jwt_key {
	const struct algorithm *algorithm;
	char *id; /* NULL: it has none, and is tried for every token */
	EVP_PKEY_CTX
	*verifying; /* of a public key, ready for a signature: to prepare it takes longer than to check one */
	unsigned char *secret;
	size_t secret_len;
};

struct jwt_keys {
	size_t count;
	struct jwt_key keys[KEYS_MAX + 1];
};

/* ---- signatures ------------------------------------------------------------------------------- */

static bool verify_secret(const struct jwt_key *k, const char *text, size_t len, const uint8_t *signature, size_t size)
{
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned mac_len = 0;

	return HMAC(EVP_sha256(), k->secret, (int)k->secret_len, (const unsigned char *)text, len, mac, &mac_len) !=
	               NULL &&
	       size == mac_len && CRYPTO_memcmp(mac, signature, size) == 0;
}

static bool verify_public(const struct jwt_key *k, const char *text, size_t len, const uint8_t *signature, size_t size)
{
	uint8_t sha256[DIGEST_LEN];

	return digest_once(text, len, sha256) == 0 &&
	       EVP_PKEY_verify(k->verifying, signature, size, sha256, DIGEST_LEN) == 1;
}

/* A token has the two numbers as they are, libcrypto wants them as DER. */
static bool verify_ec(const struct jwt_key *k, const char *text, size_t len, const uint8_t *signature, size_t size)
{
	ECDSA_SIG *numbers = ECDSA_SIG_new();
	BIGNUM *r = NULL, *s = NULL;
	unsigned char *der = NULL;
	bool valid = false;
	int der_len;

	if (size == 2 * COORDINATE) {
		r = BN_bin2bn(signature, COORDINATE, NULL);
		s = BN_bin2bn(signature + COORDINATE, COORDINATE, NULL);
	}
	if (numbers != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(numbers, r, s) == 1) {
		r = s = NULL;
		der_len = i2d_ECDSA_SIG(numbers, &der);
		valid = der_len > 0 && verify_public(k, text, len, der, (size_t)der_len);
	}
	OPENSSL_free(der);
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(numbers);
	return valid;
}

/* ---- keys of a document ------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* The number in a member; NULL: there is none. */
static BIGNUM *number_of(const json_t *jwk, const char *name)
{
	const char *text = text_of(jwk, name);
	size_t len = text == NULL ? 0 : strlen(text);
	uint8_t *bytes = len == 0 || len > 2048 ? NULL : malloc(len);
	ssize_t size = bytes == NULL ? -1 : base64url_decode(text, len, bytes);
	BIGNUM *n = size > 0 ? BN_bin2bn(bytes, (int)size, NULL) : NULL;

	free(bytes);
	return n;
}

static EVP_PKEY *make_key(const char *type, OSSL_PARAM_BLD *build)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, type, NULL), *check = NULL;
	EVP_PKEY *key = NULL;

	if (params != NULL && c != NULL && EVP_PKEY_fromdata_init(c) == 1 &&
	    EVP_PKEY_fromdata(c, &key, EVP_PKEY_PUBLIC_KEY, params) == 1)
		check = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	if (check == NULL || EVP_PKEY_public_check(check) != 1) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	EVP_PKEY_CTX_free(check);
	EVP_PKEY_CTX_free(c);
	OSSL_PARAM_free(params);
	return key;
}

static EVP_PKEY *read_rsa(const json_t *jwk)
{
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	BIGNUM *n = number_of(jwk, "n"), *e = number_of(jwk, "e");
	EVP_PKEY *key = NULL;

	if (build != NULL && n != NULL && e != NULL && BN_num_bits(n) >= 2048 && BN_num_bits(n) <= 8192 &&
	    BN_num_bits(e) <= 64 && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1)
		key = make_key("RSA", build);
	BN_free(n);
	BN_free(e);
	OSSL_PARAM_BLD_free(build);
	return key;
}

static EVP_PKEY *read_ec(const json_t *jwk)
{
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	const char *curve = text_of(jwk, "crv");
	BIGNUM *x = number_of(jwk, "x"), *y = number_of(jwk, "y");
	unsigned char point[1 + 2 * COORDINATE] = {POINT_CONVERSION_UNCOMPRESSED};
	EVP_PKEY *key = NULL;

	if (build != NULL && curve != NULL && strcmp(curve, "P-256") == 0 && x != NULL && y != NULL &&
	    BN_bn2binpad(x, point + 1, COORDINATE) == COORDINATE &&
	    BN_bn2binpad(y, point + 1 + COORDINATE, COORDINATE) == COORDINATE &&
	    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point) == 1)
		key = make_key("EC", build);
	BN_free(x);
	BN_free(y);
	OSSL_PARAM_BLD_free(build);
	return key;
}

static const struct algorithm {
	const char *name, *type;              /* alg, kty */
	EVP_PKEY *(*read)(const json_t *jwk); /* NULL: not from a document */
	bool (*verify)(const struct jwt_key *k, const char *text, size_t len, const uint8_t *signature, size_t size);
} algorithms[] = {
	{"HS256", "oct", NULL, verify_secret},
	{"RS256", "RSA", read_rsa, verify_public},
	{"ES256", "EC", read_ec, verify_ec},
};
#define HS256 (&algorithms[0])

static bool contains(const json_t *list, const char *text)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *item = json_string_value(json_array_get(list, i));

		if (item != NULL && strcmp(item, text) == 0)
			return true;
	}
	return false;
}

/* NULL: the key is for something else. */
static const struct algorithm *algorithm_of(const json_t *jwk)
{
	const char *type = text_of(jwk, "kty"), *name = text_of(jwk, "alg");
	const json_t *use = json_object_get(jwk, "use"), *operations = json_object_get(jwk, "key_ops");

	if (type == NULL || (use != NULL && (!json_is_string(use) || strcmp(json_string_value(use), "sig") != 0)) ||
	    (operations != NULL && !contains(operations, "verify")))
		return NULL;
	for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++)
		if (strcmp(algorithms[i].type, type) == 0)
			return json_object_get(jwk, "alg") == NULL ||
			                       (name != NULL && strcmp(name, algorithms[i].name) == 0)
			               ? &algorithms[i]
			               : NULL;
	return NULL;
}

/* -1: no memory. */
static int add_key(struct jwt_keys *k, const json_t *jwk)
{
	const struct algorithm *a = algorithm_of(jwk);
	EVP_PKEY *pkey = a == NULL || a->read == NULL || k->count >= KEYS_MAX ? NULL : a->read(jwk);
	const char *id = text_of(jwk, "kid");
	EVP_PKEY_CTX *c;
	char *copy = NULL;

	if (pkey == NULL)
		return 0;
	c = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
	EVP_PKEY_free(pkey); /* the context has a reference */
	if (c == NULL || EVP_PKEY_verify_init(c) != 1 ||
	    (a->read == read_rsa && EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING) != 1) ||
	    EVP_PKEY_CTX_set_signature_md(c, EVP_sha256()) != 1 || (id != NULL && (copy = strdup(id)) == NULL)) {
		EVP_PKEY_CTX_free(c);
		return -1;
	}
	k->keys[k->count++] = (struct jwt_key){.algorithm = a, .id = copy, .verifying = c};
	return 0;
}

static int add_document(struct jwt_keys *k, const char *text, size_t len, struct err *e)
{
	json_t *document = len > JWKS_MAX ? NULL : json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *list = json_object_get(document, "keys");
	size_t before = k->count;
	int result = 0;

	if (!json_is_array(list))
		result = err_set(e, "not a JSON object with a list of keys");
	for (size_t i = 0; result == 0 && i < json_array_size(list); i++)
		if (add_key(k, json_array_get(list, i)) < 0)
			result = err_set(e, "no memory for keys");
	if (result == 0 && k->count == before)
		result = err_set(
			e, "none of its %zu keys can be used (RSA of 2048 bits or more with RS256, P-256 with ES256)",
			json_array_size(list));
	json_decref(document);
	return result;
}

static int add_secret(struct jwt_keys *k, const char *secret, struct err *e)
{
	size_t len = strlen(secret);
	unsigned char *copy = len < JWT_SECRET_MIN ? NULL : (unsigned char *)strdup(secret);

	if (len < JWT_SECRET_MIN)
		return err_set(e, "a secret of %zu bytes is too short for HS256, which needs %d", len, JWT_SECRET_MIN);
	if (copy == NULL)
		return err_set(e, "no memory for keys");
	k->keys[k->count++] = (struct jwt_key){.algorithm = HS256, .secret = copy, .secret_len = len};
	return 0;
}

struct jwt_keys *jwt_keys_new(const char *secret, const char *jwks, size_t jwks_len, struct err *e)
{
	struct jwt_keys *k = calloc(1, sizeof *k);

	if (k == NULL) {
		err_set(e, "no memory for keys");
		return NULL;
	}
	if ((secret == NULL || add_secret(k, secret, e) == 0) &&
	    (jwks == NULL || add_document(k, jwks, jwks_len, e) == 0))
		return k;
	jwt_keys_free(k);
	return NULL;
}

void jwt_keys_free(struct jwt_keys *k)
{
	if (k == NULL)
		return;
	for (size_t i = 0; i < k->count; i++) {
		free(k->keys[i].id);
		EVP_PKEY_CTX_free(k->keys[i].verifying);
		OPENSSL_cleanse(k->keys[i].secret, k->keys[i].secret_len);
		free(k->keys[i].secret);
	}
	free(k);
}

size_t jwt_keys_count(const struct jwt_keys *k)
{
	return k == NULL ? 0 : k->count;
}

/* ---- tokens --------------------------------------------------------------------------------------- */

static const char *const texts[JWT_VERDICTS] = {
	[JWT_VALID] = "is valid",
	[JWT_MALFORMED] = "is not a signed JWT",
	[JWT_UNKNOWN_KEY] = "is signed with a key that is not known (yet)",
	[JWT_WRONG_ALGORITHM] = "is signed with another algorithm than that of its key",
	[JWT_BAD_SIGNATURE] = "has a wrong signature",
	[JWT_EXPIRED] = "has expired, or does not say when it expires",
	[JWT_NOT_YET] = "is not valid yet",
	[JWT_WRONG_ISSUER] = "is of another issuer",
	[JWT_WRONG_AUDIENCE] = "is for another service",
	[JWT_BAD_SUBJECT] = "names no user",
	[JWT_NO_MEMORY] = "could not be checked for lack of memory",
};

const char *jwt_verdict_text(enum jwt_verdict v)
{
	return texts[v];
}

struct part {
	const char *text;
	size_t len;
};

static bool split(const char *token, size_t len, struct part parts[3])
{
	for (int i = 0; i < 3; i++) {
		const char *dot = memchr(token, '.', len);
		size_t n = dot == NULL ? len : (size_t)(dot - token);

		if (n == 0 || (dot == NULL) != (i == 2))
			return false;
		parts[i] = (struct part){token, n};
		token += n + 1;
		len -= i == 2 ? n : n + 1;
	}
	return true;
}

/* NULL: it is not an object in JSON. Two members of one name could mean one thing here and another elsewhere. */
static json_t *json_of(const struct part *p)
{
	uint8_t *bytes = malloc(p->len);
	ssize_t len = bytes == NULL ? -1 : base64url_decode(p->text, p->len, bytes);
	json_t *j = len < 0 ? NULL : json_loadb((const char *)bytes, (size_t)len, JSON_REJECT_DUPLICATES, NULL);

	free(bytes);
	if (json_is_object(j))
		return j;
	json_decref(j);
	return NULL;
}

/* Tries each key that the header's kid allows. */
static enum jwt_verdict check_signature(const struct jwt_keys *k, const json_t *header, const struct part parts[3])
{
	const char *algorithm = text_of(header, "alg"), *id = text_of(header, "kid");
	const size_t signed_len = (size_t)(parts[1].text + parts[1].len - parts[0].text);
	enum jwt_verdict v = JWT_UNKNOWN_KEY;
	unsigned checks = 0;
	uint8_t *signature;
	ssize_t size;

	/* What is critical (RFC 7515) we do not know. */
	if (algorithm == NULL || json_object_get(header, "crit") != NULL ||
	    (id == NULL && json_object_get(header, "kid") != NULL))
		return JWT_MALFORMED;
	signature = malloc(parts[2].len);
	if (signature == NULL)
		return JWT_NO_MEMORY;
	size = base64url_decode(parts[2].text, parts[2].len, signature);
	if (size < 0)
		v = JWT_MALFORMED;
	for (size_t i = 0; size >= 0 && v != JWT_VALID && checks < CHECKS_MAX && i < k->count; i++) {
		const struct jwt_key *key = &k->keys[i];

		if (key->id != NULL && id != NULL && strcmp(key->id, id) != 0)
			continue;
		if (strcmp(key->algorithm->name, algorithm) != 0) {
			v = v == JWT_BAD_SIGNATURE || key->id == NULL ? v : JWT_WRONG_ALGORITHM;
			continue;
		}
		checks++;
		if (key->algorithm->verify(key, parts[0].text, signed_len, signature, (size_t)size))
			v = JWT_VALID;
		else
			v = JWT_BAD_SIGNATURE;
	}
	free(signature);
	return v;
}

/* Seconds since the epoch as milliseconds. False: it is no number, or none that a clock will ever show. */
static bool time_of(const json_t *claim, int64_t *ms)
{
	double s = json_number_value(claim);

	*ms = s > 0 && s < 1e11 ? (int64_t)(s * 1000) : 0;
	return json_is_number(claim) && s > 0 && s < 1e11;
}

static bool is_for(const json_t *audience, const char *ours)
{
	return json_is_string(audience) ? strcmp(json_string_value(audience), ours) == 0 : contains(audience, ours);
}

/* A subject becomes part of names in the store. */
static bool is_subject(const char *text)
{
	size_t len = text == NULL ? 0 : strlen(text);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return len > 0 && len <= SUBJECT_MAX;
}

static enum jwt_verdict check_claims(const json_t *claims, const struct jwt_rules *rules, int64_t now_ms,
                                     int64_t *expires_ms)
{
	const json_t *not_before = json_object_get(claims, "nbf"), *issued = json_object_get(claims, "iat");
	const char *issuer = text_of(claims, "iss");
	int64_t ms;

	if (!time_of(json_object_get(claims, "exp"), expires_ms) || now_ms >= *expires_ms + rules->leeway_ms)
		return JWT_EXPIRED;
	if ((not_before != NULL && (!time_of(not_before, &ms) || now_ms < ms - rules->leeway_ms)) ||
	    (issued != NULL && (!time_of(issued, &ms) || now_ms < ms - rules->leeway_ms)))
		return JWT_NOT_YET;
	if (issuer == NULL || strcmp(issuer, rules->issuer) != 0)
		return JWT_WRONG_ISSUER;
	if (!is_for(json_object_get(claims, "aud"), rules->audience))
		return JWT_WRONG_AUDIENCE;
	return is_subject(text_of(claims, "sub")) ? JWT_VALID : JWT_BAD_SUBJECT;
}

enum jwt_verdict jwt_verify(const struct jwt_keys *k, const struct jwt_rules *rules, const char *token, size_t len,
                            int64_t now_ms, struct jwt_claims *out)
{
	json_t *header = NULL, *claims = NULL;
	enum jwt_verdict v = JWT_MALFORMED;
	struct part parts[3];

	*out = (struct jwt_claims){.subject = NULL};
	if (len > JWT_MAX || !split(token, len, parts))
		return v;
	header = json_of(&parts[0]);
	if (header != NULL)
		v = check_signature(k, header, parts);
	if (v == JWT_VALID) {
		claims = json_of(&parts[1]);
		v = claims == NULL ? JWT_MALFORMED : check_claims(claims, rules, now_ms, &out->expires_ms);
	}
	if (v == JWT_VALID && (out->subject = strdup(text_of(claims, "sub"))) == NULL)
		v = JWT_NO_MEMORY;
	json_decref(claims);
	json_decref(header);
	return v;
}
