/* SPDX-License-Identifier: Apache-2.0 */
/* What it costs to find out who calls: prints nanoseconds of CPU time a request. */
#include "core/access/access.h"
#include "core/access/crypto.h"
#include "core/access/jwt.h"
#include "core/access/keys.h"
#include "core/access/limits.h"
#include "core/base/clock.h"

#include <jansson.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KEYS   1000
#define ROUNDS 200000
#define SECRET "0123456789abcdef0123456789abcdef"
#define CLAIMS "{\"iss\":\"https://idp\",\"aud\":\"agent\",\"sub\":\"ann\",\"exp\":4000000000}"

static char directory[] = "/tmp/access-bench-XXXXXX";

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void report(const char *what, int64_t began_ns, int rounds)
{
	printf("%-28s %7.0f ns\n", what, (double)(cpu_ns() - began_ns) / rounds);
}

static void add_part(char *text, const void *bytes, size_t len)
{
	if (*text != '\0')
		strcat(text, ".");
	base64url_encode(bytes, len, text + strlen(text));
}

/* The token's first two parts. */
static void begin_token(char *text, const char *algorithm)
{
	char header[100];

	*text = '\0';
	snprintf(header, sizeof header, "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"k\"}", algorithm);
	add_part(text, header, strlen(header));
	add_part(text, CLAIMS, strlen(CLAIMS));
}

static json_t *number(EVP_PKEY *key, const char *name)
{
	unsigned char bytes[600];
	char text[900];
	BIGNUM *n = NULL;
	int len = EVP_PKEY_get_bn_param(key, name, &n) == 1 ? BN_bn2bin(n, bytes) : 0;

	BN_free(n);
	base64url_encode(bytes, (size_t)len, text);
	return json_string(text);
}

static void verify_rsa(void)
{
	const struct jwt_rules rules = {.issuer = "https://idp", .audience = "agent"};
	EVP_PKEY *key = EVP_RSA_gen(2048);
	json_t *document = json_pack("{s:[{s:s, s:s, s:o, s:o}]}", "keys", "kty", "RSA", "kid", "k", "n",
	                             number(key, OSSL_PKEY_PARAM_RSA_N), "e", number(key, OSSL_PKEY_PARAM_RSA_E));
	char *jwks = json_dumps(document, 0), text[2000];
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	unsigned char signature[600];
	size_t len = sizeof signature;
	struct err e = ERR_INIT;
	struct jwt_keys *keys = jwt_keys_new(NULL, jwks, strlen(jwks), &e);
	int64_t began_ns;

	begin_token(text, "RS256");
	EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, key);
	EVP_DigestSign(c, signature, &len, (const unsigned char *)text, strlen(text));
	add_part(text, signature, len);
	began_ns = cpu_ns();
	for (int i = 0; i < ROUNDS / 20; i++) {
		struct jwt_claims claims;

		if (jwt_verify(keys, &rules, text, strlen(text), clock_wall_ms(), &claims) != JWT_VALID)
			abort();
		free(claims.subject);
	}
	report("RS256, not seen before", began_ns, ROUNDS / 20);
	EVP_MD_CTX_free(c);
	jwt_keys_free(keys);
	free(jwks);
	json_decref(document);
	EVP_PKEY_free(key);
}

static void identify(struct access *a, const char *what, const char *secret)
{
	char header[3000];
	const struct access_credentials c = {.authorization = header};
	struct access_refusal r;
	int64_t began_ns;

	snprintf(header, sizeof header, "Bearer %s", secret);
	began_ns = cpu_ns();
	for (int i = 0; i < ROUNDS; i++) {
		struct access_identity *who = access_identify(a, &c, &r);

		if (who == NULL) {
			fprintf(stderr, "%s: %s\n", what, r.message);
			abort();
		}
		access_identity_unref(who);
	}
	report(what, began_ns, ROUNDS);
}

static void take_turns(struct access *a, const char *secret)
{
	char header[300];
	const struct access_credentials c = {.authorization = header};
	struct access_refusal r;
	struct access_turn_request t = {.tokens = 1};
	int64_t began_ns;

	snprintf(header, sizeof header, "Bearer %s", secret);
	t.identity = access_identify(a, &c, &r);
	began_ns = cpu_ns();
	for (int i = 0; i < ROUNDS; i++) {
		struct access_turn *turn = access_turn_begin(a, &t, &r);

		if (turn == NULL)
			abort();
		access_turn_end(turn, 1);
	}
	report("limits of a turn", began_ns, ROUNDS);
	access_identity_unref(t.identity);
}

/* The file of keys; the last one's text. */
static void write_keys(const char *file, char text[KEY_TEXT_MAX])
{
	FILE *out = fopen(file, "w");

	for (int i = 0; i < KEYS; i++) {
		char sha256[2 * DIGEST_LEN + 1];
		struct err e = ERR_INIT;

		if (key_make(text, sha256, &e) < 0)
			abort();
		fprintf(out, "{\"id\":\"k%d\",\"sha256\":\"%s\",\"requests_per_minute\":900000000,\"turns\":10}\n", i,
		        sha256);
	}
	fclose(out);
	chmod(file, 0600);
}

int main(void)
{
	char file[100], keys_setting[200], key[KEY_TEXT_MAX], token[2000],
		environment[] = "AGENT_ACCESS_JWT_SECRET=" SECRET;
	const char *const sets[] = {"access.require=all", keys_setting, "access.jwt_issuer=https://idp",
	                            "access.jwt_audience=agent"};
	char *const variables[] = {environment, NULL};
	const struct config_source source = {.sets = sets, .set_count = 4, .environment = variables};
	struct event_base *base = event_base_new();
	struct config_report r;
	struct err e = ERR_INIT;
	unsigned char mac[EVP_MAX_MD_SIZE];
	unsigned mac_len = 0;
	struct background *background;
	struct config *config;
	struct access *a;

	if (mkdtemp(directory) == NULL)
		return 1;
	snprintf(file, sizeof file, "%s/keys.jsonl", directory);
	snprintf(keys_setting, sizeof keys_setting, "access.keys_file=%s", file);
	write_keys(file, key);
	config_report_init(&r);
	config = config_load(&source, &r);
	background = background_new(base, &e);
	a = access_new(base, directory, background, &e);
	if (config == NULL || a == NULL) {
		fprintf(stderr, "%s%s\n", r.errors.data != NULL ? r.errors.data : "", e.text);
		return 1;
	}
	access_configure(a, config);
	begin_token(token, "HS256");
	HMAC(EVP_sha256(), SECRET, sizeof SECRET - 1, (unsigned char *)token, strlen(token), mac, &mac_len);
	add_part(token, mac, mac_len);
	identify(a, "API key, of 1000", key);
	identify(a, "token, seen before", token);
	verify_rsa();
	take_turns(a, key);
	access_free(a);
	background_free(background);
	config_unref(config);
	config_report_free(&r);
	event_base_free(base);
	unlink(file);
	snprintf(file, sizeof file, "%s/%s", directory, LIMITS_FILE);
	unlink(file);
	rmdir(directory);
	return 0;
}
