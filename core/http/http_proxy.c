/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_proxy.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define WHITESPACE " \t\r\n"

/* An address as IPv6 (IPv4 is mapped). */
struct address {
	unsigned char bytes[16];
	bool v4;
};

static bool read_address(const char *text, struct address *out)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

	memcpy(out->bytes, mapped, sizeof mapped);
	out->v4 = inet_pton(AF_INET, text, out->bytes + sizeof mapped) == 1;
	return out->v4 || inet_pton(AF_INET6, text, out->bytes) == 1;
}

/* network: "10.0.0.0/8", or an address alone. */
static bool is_in(const struct address *a, const char *network)
{
	const char *slash = strchr(network, '/');
	size_t len = slash != NULL ? (size_t)(slash - network) : strlen(network);
	struct address n;
	char text[64], *end;
	long bits;

	if (len >= sizeof text)
		return false;
	memcpy(text, network, len);
	text[len] = '\0';
	if (!read_address(text, &n) || n.v4 != a->v4)
		return false;
	bits = slash != NULL ? strtol(slash + 1, &end, 10) : n.v4 ? 32 : 128;
	if (bits < 0 || bits > (n.v4 ? 32 : 128) || (slash != NULL && (end == slash + 1 || *end != '\0')))
		return false;
	bits += n.v4 ? 96 : 0;
	return memcmp(a->bytes, n.bytes, (size_t)bits / 8) == 0 &&
	       (bits % 8 == 0 || ((a->bytes[bits / 8] ^ n.bytes[bits / 8]) & (0xff << (8 - bits % 8))) == 0);
}

/* host is the domain, or below it. */
static bool is_below(const char *host, const char *domain, size_t len)
{
	size_t host_len = strlen(host);

	return len > 0 && host_len >= len && strncasecmp(host + host_len - len, domain, len) == 0 &&
	       (host_len == len || host[host_len - len - 1] == '.');
}

static bool is_local(const char *host, const struct address *address)
{
	static const char *const networks[] = {"127.0.0.0/8",    "10.0.0.0/8",     "172.16.0.0/12",
	                                       "192.168.0.0/16", "169.254.0.0/16", "0.0.0.0/32",
	                                       "::1/128",        "fc00::/7",       "fe80::/10"};
	static const char *const domains[] = {"localhost", "local", "internal"};

	for (size_t i = 0; address != NULL && i < sizeof networks / sizeof networks[0]; i++)
		if (is_in(address, networks[i]))
			return true;
	for (size_t i = 0; address == NULL && i < sizeof domains / sizeof domains[0]; i++)
		if (is_below(host, domains[i], strlen(domains[i])))
			return true;
	return address == NULL && strchr(host, '.') == NULL;
}

/* One word of NO_PROXY. */
static bool is_excepted(const char *host, const struct address *address, const char *word, size_t len)
{
	char text[300];

	if (len == 1 && *word == '*')
		return true;
	while (len > 0 && (*word == '*' || *word == '.'))
		word++, len--;
	while (len > 0 && word[len - 1] == '.')
		len--;
	if (len == 0 || len >= sizeof text)
		return false;
	if (address == NULL)
		return is_below(host, word, len);
	if (*word == '[' && word[len - 1] == ']')
		word++, len -= 2;
	memcpy(text, word, len);
	text[len] = '\0';
	return is_in(address, text);
}

static bool is_direct(const struct config *c, const char *host)
{
	const struct cfg_list *exceptions = cfg_list(c, CFG_PROXY_EXCEPTIONS);
	struct address address;
	bool literal = read_address(host, &address);

	if (is_local(host, literal ? &address : NULL))
		return true;
	for (size_t i = 0; i < exceptions->count; i++) {
		for (const char *word = exceptions->items[i]; *word != '\0';) {
			size_t len = strcspn(word, WHITESPACE);

			if (is_excepted(host, literal ? &address : NULL, word, len))
				return true;
			word += len + strspn(word + len, WHITESPACE);
		}
	}
	return false;
}

const char *http_proxy_for(const struct config *c, const char *url)
{
	const char *http = cfg_str(c, CFG_PROXY_HTTP), *https = cfg_str(c, CFG_PROXY_HTTPS), *proxy = NULL;
	char *scheme = NULL, *host = NULL;
	size_t len;
	CURLU *u;

	if (http == NULL && https == NULL)
		return NULL;
	u = curl_url();
	if (u != NULL && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
		len = strlen(host);
		if (host[0] == '[') {
			memmove(host, host + 1, len);
			host[strcspn(host, "]%")] = '\0';
		} else if (len > 0 && host[len - 1] == '.') {
			host[len - 1] = '\0';
		}
		proxy = strcmp(scheme, "https") == 0 ? https : http;
		if (proxy != NULL && is_direct(c, host))
			proxy = NULL;
	}
	curl_free(scheme);
	curl_free(host);
	curl_url_cleanup(u);
	return proxy;
}
