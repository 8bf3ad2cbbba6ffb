/* SPDX-License-Identifier: Apache-2.0 */
/* Who calls: by a key, a token, or the word of the web server. */
#include "core/access/access_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TOKENS_MAX 4096u /* that were verified and are remembered; a power of two */

/* A token that was verified, by its digest. */
struct verified {
	uint8_t sha256[DIGEST_LEN];
	struct identity *identity; /* NULL: none */
	int64_t until_ms;          /* wall clock */
};

bool access_is_required(const struct access *a, bool is_api)
{
	return a->level == REQUIRE_ALL || (a->level == REQUIRE_API && is_api);
}

/* "Bearer KEY" -> KEY and its length; NULL: another scheme, or none. */
static const char *bearer_of(const char *header, size_t *len)
{
	static const char scheme[] = "Bearer";

	if (header == NULL)
		return NULL;
	header += strspn(header, " \t");
	if (strncasecmp(header, scheme, sizeof scheme - 1) != 0 || strspn(header + sizeof scheme - 1, " \t") == 0)
		return NULL;
	header += sizeof scheme - 1;
	header += strspn(header, " \t");
	*len = strlen(header);
	while (*len > 0 && strchr(" \t", header[*len - 1]) != NULL)
		--*len;
	return *len > 0 ? header : NULL;
}

static bool is_signed(const char *text, size_t len)
{
	const char *dot = memchr(text, '.', len), *end = text + len;

	return dot != NULL && memchr(dot + 1, '.', (size_t)(end - dot - 1)) != NULL;
}

static struct access_identity *by_web_server(const struct access *a, const char *user, struct access_refusal *r)
{
	struct identity *i;

	if (*user == '\0')
		return access_identity_ref(&a->nobody->known);
	i = identity_new(user, "", "user", user);
	return i != NULL ? &i->known : access_refuse_memory(r);
}

static struct access_identity *by_key(const struct access *a, const uint8_t sha256[DIGEST_LEN],
                                      struct access_refusal *r)
{
	const struct key *k = keys_find(a->keys, sha256);

	if (k == NULL)
		return access_refuse_credentials(r, "The API key is not valid.");
	if (k->revoked)
		return access_refuse_credentials(r, "The API key was revoked.");
	if (k->expires_ms != 0 && clock_wall_ms() >= k->expires_ms)
		return access_refuse_credentials(r, "The API key has expired.");
	return access_identity_ref(&k->identity->known);
}

void access_identify_forget(struct access *a)
{
	for (size_t i = 0; a->verified != NULL && i < TOKENS_MAX; i++)
		identity_unref(a->verified[i].identity);
	free(a->verified);
	a->verified = NULL;
}

static void remember(struct access *a, const uint8_t sha256[DIGEST_LEN], size_t at, struct identity *i,
                     int64_t expires_ms)
{
	if (a->verified == NULL)
		a->verified = calloc(TOKENS_MAX, sizeof *a->verified);
	if (a->verified == NULL)
		return;
	identity_unref(a->verified[at].identity);
	i->refs++;
	a->verified[at] = (struct verified){.identity = i, .until_ms = expires_ms};
	memcpy(a->verified[at].sha256, sha256, DIGEST_LEN);
}

static struct access_identity *by_token(struct access *a, const char *token, size_t len,
                                        const uint8_t sha256[DIGEST_LEN], struct access_refusal *r)
{
	const struct jwt_rules rules = {.issuer = a->issuer, .audience = a->audience, .leeway_ms = a->leeway_ms};
	int64_t now_ms = clock_wall_ms();
	struct verified *v = a->verified;
	struct jwt_claims claims;
	enum jwt_verdict verdict;
	struct identity *i;
	char text[150];
	size_t at;

	memcpy(&at, sha256, sizeof at);
	at &= TOKENS_MAX - 1;
	if (v != NULL && v[at].identity != NULL && memcmp(v[at].sha256, sha256, DIGEST_LEN) == 0 &&
	    now_ms < v[at].until_ms)
		return access_identity_ref(&v[at].identity->known);
	verdict = jwt_verify(a->jwt_keys, &rules, token, len, now_ms, &claims);
	if ((verdict == JWT_UNKNOWN_KEY || verdict == JWT_BAD_SIGNATURE) && a->jwks_file.path != NULL &&
	    a->unknown_key != NULL)
		a->unknown_key(a->unknown_key_arg);
	if (verdict == JWT_NO_MEMORY)
		return access_refuse_memory(r);
	if (verdict != JWT_VALID) {
		snprintf(text, sizeof text, "The token %s.", jwt_verdict_text(verdict));
		return access_refuse_credentials(r, text);
	}
	i = identity_new(claims.subject, "", "token", claims.subject);
	free(claims.subject);
	if (i == NULL)
		return access_refuse_memory(r);
	remember(a, sha256, at, i, claims.expires_ms);
	return &i->known;
}

/* A key or a token. NULL with r, *known: it is one, but does not hold (any more). */
static struct access_identity *by_secret(struct access *a, const char *secret, size_t len, struct access_refusal *r,
                                         bool *known)
{
	uint8_t sha256[DIGEST_LEN];

	*known = false;
	if (len > JWT_MAX || digest(a->digester, secret, len, sha256) < 0)
		return access_refuse_credentials(r, "The API key is not valid.");
	if (a->jwt_keys != NULL && is_signed(secret, len)) {
		*known = true;
		return by_token(a, secret, len, sha256, r);
	}
	*known = keys_find(a->keys, sha256) != NULL;
	return by_key(a, sha256, r);
}

struct access_identity *access_identify(struct access *a, const struct access_credentials *c, struct access_refusal *r)
{
	const char *user = c->user != NULL ? c->user : "";
	struct {
		const char *text;
		size_t len;
	} secrets[] = {{.text = c->api_key}, {.text = NULL}};
	struct access_refusal other;
	bool refused = false, known = false;

	if (!access_is_required(a, c->is_api))
		return by_web_server(a, user, r);
	secrets[0].len = c->api_key != NULL ? strlen(c->api_key) : 0;
	secrets[1].text = bearer_of(c->authorization, &secrets[1].len);
	for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
		struct access_identity *found;
		bool is_known;

		if (secrets[i].len == 0)
			continue;
		found = by_secret(a, secrets[i].text, secrets[i].len, refused ? &other : r, &is_known);
		if (found != NULL)
			return found;
		refused = true;
		known |= is_known;
	}
	/* What is no key of ours may be for the web server, which has checked it. */
	if (*user != '\0' && !known)
		return by_web_server(a, user, r);
	return refused ? NULL
	               : access_refuse_credentials(
				 r,
				 "This service needs an API key: send it in the header Authorization, as "
				 "Bearer KEY.");
}
