/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define PROXY_PORT 1080

uint64_t http_url_hash(const char *text)
{
	uint64_t hash = 14695981039346656037u;

	for (; *text != '\0'; text++)
		hash = (hash ^ (unsigned char)*text) * 1099511628211u;
	return hash;
}

static struct known_url *slot_of(struct http *h, const char *url)
{
	return &h->known[http_url_hash(url) % KNOWN_URLS];
}

static void forget(struct known_url *k)
{
	free(k->url);
	free(k->host);
	free(k->target);
	free(k->authority);
	*k = (struct known_url){.url = NULL};
}

static bool is_literal(const char *host)
{
	struct in_addr v4;

	return host[0] == '[' || inet_pton(AF_INET, host, &v4) == 1;
}

/* What a request without curl needs; NULL where it is more than http://host:port/path?query. */
static void split(struct known_url *k, const char *url)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *user = NULL, *path = NULL, *query = NULL, *port = NULL;
	bool plain = u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	             curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK && strcmp(scheme, "http") == 0 &&
	             curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_NO_USER &&
	             curl_url_get(u, CURLUPART_PATH, &path, CURLU_URLENCODE) == CURLUE_OK &&
	             strchr(k->host, '%') == NULL;

	curl_url_get(u, CURLUPART_QUERY, &query, 0);
	curl_url_get(u, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT);
	if (plain &&
	    (asprintf(&k->target, "%s%s%s", path, query != NULL ? "?" : "", query != NULL ? query : "") < 0 ||
	     asprintf(&k->authority, "%s%s%s", k->host, port != NULL ? ":" : "", port != NULL ? port : "") < 0)) {
		free(k->target);
		k->target = k->authority = NULL;
	}
	curl_free(scheme);
	curl_free(user);
	curl_free(path);
	curl_free(query);
	curl_free(port);
	curl_url_cleanup(u);
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
		} else if (!is_proxy) {
			split(k, url);
		}
	}
	curl_free(host);
	if (rc == CURLUE_OK)
		return k;
	http_outcome_error(t, "the %s is not usable: %s", is_proxy ? "proxy" : "URL", curl_url_strerror(rc));
	return NULL;
}

struct known_url *http_url_known(struct http *h, const char *url)
{
	struct known_url *k = slot_of(h, url);

	return k->url != NULL && strcmp(k->url, url) == 0 && !k->is_proxy ? k : NULL;
}

void http_url_forget(struct http *h)
{
	for (size_t i = 0; i < KNOWN_URLS; i++)
		forget(&h->known[i]);
}
