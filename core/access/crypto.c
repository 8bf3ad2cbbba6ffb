/* SPDX-License-Identifier: Apache-2.0 */
#include "core/access/crypto.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

struct digester {
	EVP_MD *algorithm;
	EVP_MD_CTX *context;
};

struct digester *digester_new(void)
{
	struct digester *d = calloc(1, sizeof *d);

	if (d == NULL)
		return NULL;
	d->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
	d->context = EVP_MD_CTX_new();
	if (d->algorithm != NULL && d->context != NULL)
		return d;
	digester_free(d);
	return NULL;
}

void digester_free(struct digester *d)
{
	if (d == NULL)
		return;
	EVP_MD_CTX_free(d->context);
	EVP_MD_free(d->algorithm);
	free(d);
}

int digest(struct digester *d, const void *bytes, size_t len, uint8_t out[DIGEST_LEN])
{
	return EVP_DigestInit_ex2(d->context, d->algorithm, NULL) == 1 &&
	                       EVP_DigestUpdate(d->context, bytes, len) == 1 &&
	                       EVP_DigestFinal_ex(d->context, out, NULL) == 1
	               ? 0
	               : -1;
}

int digest_once(const void *bytes, size_t len, uint8_t out[DIGEST_LEN])
{
	return EVP_Digest(bytes, len, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -1;
}

int random_bytes(uint8_t *out, size_t len)
{
	return len <= INT_MAX && RAND_bytes(out, (int)len) == 1 ? 0 : -1;
}

/* ---- base64url: libcrypto's base64 with two other letters and without padding ---- */

void base64url_encode(const uint8_t *bytes, size_t len, char *out)
{
	char *end = out + EVP_EncodeBlock((unsigned char *)out, bytes, (int)len);

	while (end > out && end[-1] == '=')
		end--;
	*end = '\0';
	for (char *p = out; p < end; p++)
		*p = (char)(*p == '+' ? '-' : *p == '/' ? '_' : *p);
}

ssize_t base64url_decode(const char *text, size_t len, uint8_t *out)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	size_t padded = (len + 3) / 4 * 4;
	char *base64;
	ssize_t result = -1;
	int decoded;

	if (len == 0)
		return 0;
	if (len > INT_MAX / 2 || len % 4 == 1 || (base64 = malloc(2 * padded)) == NULL)
		return -1;
	for (size_t i = 0; i < padded; i++) {
		char c = i < len ? text[i] : '=';

		if (i < len && (c == '\0' || strchr(letters, c) == NULL))
			goto out;
		base64[i] = (char)(c == '-' ? '+' : c == '_' ? '/' : c);
	}
	decoded = EVP_DecodeBlock((unsigned char *)base64 + padded, (unsigned char *)base64, (int)padded);
	if (decoded < 0)
		goto out;
	result = decoded - (ssize_t)(padded - len); /* it counts what stands for the padding */
	memcpy(out, base64 + padded, (size_t)result);
out:
	free(base64);
	return result;
}
