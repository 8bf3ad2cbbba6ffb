/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define PROXY_PORT 1080

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

/* curl takes port 1080 where the URL of a proxy has none, except for https. */
static CURLUcode parse(const char *url, bool is_proxy, char **host, uint16_t *port)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *text = NULL;
	CURLUcode rc = CURLUE_OUT_OF_MEMORY;

	if (u != NULL)
		rc = curl_url_set(u, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
	if (rc == CURLUE_OK)
		rc = curl_url_get(u, CURLUPART_SCHEME, &scheme, 0);
	if (rc == CURLUE_OK && strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)
		rc = CURLUE_UNSUPPORTED_SCHEME;
	if (rc == CURLUE_OK)
		rc = curl_url_get(u, CURLUPART_HOST, host, 0);
	if (rc == CURLUE_OK) {
		bool own = is_proxy && strcmp(scheme, "http") == 0;

		rc = curl_url_get(u, CURLUPART_PORT, &text, own ? 0 : CURLU_DEFAULT_PORT);
		*port = (uint16_t)(rc == CURLUE_OK ? strtoul(text, NULL, 10) : PROXY_PORT);
		if (own && rc == CURLUE_NO_PORT)
			rc = CURLUE_OK;
	}
	curl_free(text);
	curl_free(scheme);
	curl_url_cleanup(u);
	return rc;
}

/* NULL: the URL cannot be used, and the transfer's error says why. Valid until the next call. */
const struct known_url *http_url_find(struct http_transfer *t, const char *url, bool is_proxy)
{
	struct known_url *k = slot_of(t->http, url);
	char *host = NULL;
	uint16_t port = 0;
	CURLUcode rc;

	if (k->url != NULL && strcmp(k->url, url) == 0 && k->is_proxy == is_proxy)
		return k;
	forget(k);
	rc = parse(url, is_proxy, &host, &port);
	if (rc == CURLUE_OK) {
		k->url = strdup(url);
		k->host = strdup(host);
		k->port = port;
		k->is_proxy = is_proxy;
		k->literal = is_literal(host);
		if (k->url == NULL || k->host == NULL) {
			forget(k);
			rc = CURLUE_OUT_OF_MEMORY;
		}
	}
	curl_free(host);
	if (rc == CURLUE_OK)
		return k;
	http_outcome_error(t, "the %s is not usable: %s", is_proxy ? "proxy" : "URL", curl_url_strerror(rc));
	return NULL;
}

void http_url_forget(struct http *h)
{
	for (size_t i = 0; i < KNOWN_URLS; i++)
		forget(&h->known[i]);
}
