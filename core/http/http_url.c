/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static struct known_url *slot_of(struct http *h, const char *url)
{
	uint32_t hash = 2166136261u;

	for (; *url != '\0'; url++)
		hash = (hash ^ (unsigned char)*url) * 16777619u;
	return &h->known[hash % KNOWN_URLS];
}

static void forget(struct known_url *k)
{
	free(k->url);
	free(k->host);
	*k = (struct known_url){.url = NULL};
}

static bool is_literal(const char *host)
{
	struct in_addr v4;

	return host[0] == '[' || inet_pton(AF_INET, host, &v4) == 1;
}

static CURLUcode parse(const char *url, char **host, char **port)
{
	CURLU *u = curl_url();
	char *scheme = NULL;
	CURLUcode rc = CURLUE_OUT_OF_MEMORY;

	if (u != NULL)
		rc = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
	if (rc == CURLUE_OK)
		rc = curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
	if (rc == CURLUE_OK && strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
		rc = CURLUE_UNSUPPORTED_SCHEME;
	if (rc == CURLUE_OK)
		rc = curl_url_get(u, CURLUPART_HOST, host, 0);
	if (rc == CURLUE_OK)
		rc = curl_url_get(u, CURLUPART_PORT, port, CURLU_DEFAULT_PORT);
	curl_free(scheme);
	curl_url_cleanup(u);
	return rc;
}

/* NULL: the URL cannot be used, and the transfer's error says why. Valid until the next call. */
const struct known_url *http_url_find(struct http_transfer *t)
{
	struct known_url *k = slot_of(t->http, t->url);
	char *host = NULL, *port = NULL;
	CURLUcode rc;

	if (k->url != NULL && strcmp(k->url, t->url) == 0)
		return k;
	forget(k);
	rc = parse(t->url, &host, &port);
	if (rc == CURLUE_OK) {
		k->url = strdup(t->url);
		k->host = strdup(host);
		k->port = (uint16_t)strtoul(port, NULL, 10);
		k->literal = is_literal(host);
		if (k->url == NULL || k->host == NULL) {
			forget(k);
			rc = CURLUE_OUT_OF_MEMORY;
		}
	}
	curl_free(host);
	curl_free(port);
	if (rc == CURLUE_OK)
		return k;
	http_outcome_error(t, "the URL is not usable: %s", curl_url_strerror(rc));
	return NULL;
}

void http_url_forget(struct http *h)
{
	for (size_t i = 0; i < KNOWN_URLS; i++)
		forget(&h->known[i]);
}
