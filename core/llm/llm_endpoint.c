/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of llm.h that deal with URLs. libcurl parses them. */
#include "core/llm/llm.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CHAT_ENDPOINT    "/chat/completions"
#define LEGACY_ENDPOINT  "/completions"
#define CHAT_PATH        "/v1" CHAT_ENDPOINT
#define COMPLETIONS_PATH "/v1" LEGACY_ENDPOINT
#define HEALTH_PATH      "/health"
#define CONTAINER_PORT   "7000"
#define WHITESPACE       " \t\r\n"

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* The same as curl_url_get, on the heap of free(). */
static char *url_part(CURLU *u, CURLUPart part, unsigned flags)
{
	char *text = NULL, *copy = NULL;

	if (curl_url_get(u, part, &text, flags) == CURLUE_OK)
		copy = strdup(text);
	curl_free(text);
	return copy;
}

/* What a message may show of a URL: credentials never. */
static const char *shown(const char *url)
{
	return strchr(url, '@') == NULL ? url : "(with a user name)";
}

/* A parsed http or https URL, or NULL with e. The text may lack its scheme (then it is http), and
 * whitespace around it does not count. Credentials are refused: URLs are shown in /status and in logs. */
static CURLU *parse(const char *text, struct err *e)
{
	CURLU *u = curl_url();
	char *url = NULL, *scheme = NULL;
	size_t len;
	CURLUcode rc;

	text += strspn(text, WHITESPACE);
	len = strlen(text);
	while (len > 0 && strchr(WHITESPACE, text[len - 1]) != NULL)
		len--;
	if (u == NULL || asprintf(&url, "%s%.*s", strstr(text, "://") == NULL ? "http://" : "", (int)len, text) < 0) {
		curl_url_cleanup(u);
		err_set(e, "out of memory");
		return NULL;
	}
	rc = curl_url_set(u, CURLUPART_URL, url, CURLU_DISALLOW_USER | CURLU_NON_SUPPORT_SCHEME);
	if (rc == CURLUE_USER_NOT_ALLOWED) {
		err_set(e, "a URL must not contain a user name; use the token settings");
		goto bad;
	}
	if (rc != CURLUE_OK) {
		err_set(e, "invalid URL \"%.200s\": %s", shown(url), curl_url_strerror(rc));
		goto bad;
	}
	scheme = url_part(u, CURLUPART_SCHEME, 0);
	if (scheme == NULL || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)) {
		err_set(e, "invalid URL \"%.200s\": it must begin with http:// or https://", shown(url));
		goto bad;
	}
	curl_url_set(u, CURLUPART_FRAGMENT, NULL, 0);
	free(scheme);
	free(url);
	return u;
bad:
	curl_url_cleanup(u);
	free(scheme);
	free(url);
	return NULL;
}

/* Adds the path to a URL that names only a server. Returns the complete URL, free(). */
static char *finish(CURLU *u, const char *default_path, struct err *e)
{
	char *path = url_part(u, CURLUPART_PATH, 0);
	char *whole = NULL;

	if (path == NULL)
		goto out;
	if (strcmp(path, "/") == 0 && curl_url_set(u, CURLUPART_PATH, default_path, 0) != CURLUE_OK)
		goto out;
	whole = url_part(u, CURLUPART_URL, 0);
out:
	free(path);
	if (whole == NULL)
		err_set(e, "out of memory");
	return whole;
}

char *llm_full_url(const char *text, const char *default_path, struct err *e)
{
	CURLU *u = parse(text, e);
	char *whole;

	if (u == NULL)
		return NULL;
	whole = finish(u, default_path, e);
	curl_url_cleanup(u);
	return whole;
}

/* What stands behind NAME= or NAME:PORT= in hosts; NULL: nothing. */
static const char *find_mapping(const struct cfg_list *hosts, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < hosts->count; i++)
		if (strncasecmp(hosts->items[i], name, len) == 0 && hosts->items[i][len] == '=')
			return hosts->items[i] + len + 1;
	return NULL;
}

/* Where host:port is to be found; NULL: there. */
static const char *mapped_to(const struct cfg_list *hosts, const char *host, const char *port)
{
	const char *to = NULL;
	char *both = NULL;

	if (host != NULL && port != NULL && asprintf(&both, "%s:%s", host, port) >= 0)
		to = find_mapping(hosts, both);
	free(both);
	return to == NULL && host != NULL ? find_mapping(hosts, host) : to;
}

char *llm_map_host(const char *url, const struct config *c, struct err *e)
{
	const struct cfg_list *hosts = cfg_list(c, CFG_DISCOVERY_HOSTS);
	CURLU *u = hosts->count > 0 ? parse(url, e) : NULL;
	char *host, *port, *mapped = NULL;
	const char *to, *colon;

	if (u == NULL)
		return hosts->count > 0 ? NULL : strdup(url);
	host = url_part(u, CURLUPART_HOST, 0);
	port = url_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT);
	to = mapped_to(hosts, host, port);
	if (to == NULL) {
		mapped = strdup(url);
		goto out;
	}
	colon = strrchr(to, ':');
	if (colon != NULL && strchr(colon, ']') != NULL)
		colon = NULL; /* it is part of an address */
	free(host);
	host = colon != NULL ? strndup(to, (size_t)(colon - to)) : strdup(to);
	if (host != NULL && curl_url_set(u, CURLUPART_HOST, host, 0) == CURLUE_OK &&
	    (colon == NULL || curl_url_set(u, CURLUPART_PORT, colon + 1, 0) == CURLUE_OK))
		mapped = url_part(u, CURLUPART_URL, 0);
out:
	if (mapped == NULL)
		err_set(e, "out of memory");
	free(host);
	free(port);
	curl_url_cleanup(u);
	return mapped;
}

/* ---- the API of a server ----------------------------------------------------------------- */

/* The length of path without its last segment ("/a/b" -> 2, the length of "/a"). */
static size_t parent(const char *path, size_t len)
{
	while (len > 0 && path[len - 1] != '/')
		len--;
	return len > 0 ? len - 1 : 0;
}

static bool last_is(const char *path, size_t len, const char *segment)
{
	size_t begin = parent(path, len) + 1;

	return len >= begin && len - begin == strlen(segment) && strncasecmp(path + begin, segment, len - begin) == 0;
}

/* v1, v4, v1beta, v1beta1 */
static bool last_is_version(const char *path, size_t len)
{
	size_t i = parent(path, len) + 1;
	size_t digits = i < len && (path[i] == 'v' || path[i] == 'V') ? strspn(path + i + 1, "0123456789") : 0;

	if (digits == 0)
		return false;
	for (i += 1 + digits; i < len && isalnum((unsigned char)path[i]);)
		i++;
	return i == len;
}

static bool has_version(const char *path, size_t len)
{
	for (; len > 0; len = parent(path, len))
		if (last_is_version(path, len))
			return true;
	return false;
}

/* The length of path without an endpoint of the API's that people give in place of its base. */
static size_t without_endpoint(const char *path, size_t len)
{
	static const struct {
		const char *name;
		bool without_version; /* "/models" is as clear as "/v1/models" */
	} endpoints[] = {
		{"models", true},      {"health", true},     {"chat", false},     {"chat/completion", false},
		{"embeddings", false}, {"responses", false}, {"messages", false},
	};

	for (size_t i = 0; i < COUNT(endpoints); i++) {
		size_t end = strlen(endpoints[i].name) + 1, rest = len >= end ? len - end : 0;

		if (len < end || path[rest] != '/' || strncasecmp(path + rest + 1, endpoints[i].name, end - 1) != 0)
			continue;
		if (has_version(path, rest) || (rest == 0 && endpoints[i].without_version))
			return rest;
	}
	return len;
}

/* What is missing in the path of an API's base; NULL: it is none that we know, so it is used as it is. */
static const char *missing_part(const char *path, size_t len)
{
	/* GitHub Models, Databricks, Cloudflare's gateway. */
	static const char *const without_version[] = {"inference", "serving-endpoints", "compat"};

	if (len == 0)
		return CHAT_PATH;
	for (size_t i = 0; i < COUNT(without_version); i++)
		if (last_is(path, len, without_version[i]))
			return CHAT_ENDPOINT;
	if (last_is_version(path, len) || last_is(path, parent(path, len), "deployments"))
		return CHAT_ENDPOINT;
	if (last_is(path, len, "openai") || last_is(path, len, "openapi")) /* after /v1beta; alone */
		return has_version(path, len) ? CHAT_ENDPOINT : CHAT_PATH;
	return NULL;
}

/* Completes the path of u to that of a chat endpoint, if it is only a server or the base of an
 * API; slashes after an endpoint are cut off. 1: an API's base was completed; -1: out of memory. */
static int complete_path(CURLU *u)
{
	char *path = url_part(u, CURLUPART_PATH, 0), *whole = NULL;
	const char *missing = "";
	size_t len = path != NULL ? strlen(path) : 0, base;
	bool is_endpoint;
	int result = -1;

	while (len > 0 && path[len - 1] == '/')
		len--;
	is_endpoint = len > 0 && last_is(path, len, "completions");
	base = is_endpoint ? len : without_endpoint(path, len);
	if (!is_endpoint)
		missing = missing_part(path, base);
	if (path != NULL && missing == NULL)
		result = 0;
	else if (path != NULL && asprintf(&whole, "%.*s%s", (int)base, path, missing) >= 0 &&
	         curl_url_set(u, CURLUPART_PATH, whole, 0) == CURLUE_OK)
		result = len > 0 && !is_endpoint;
	free(whole);
	free(path);
	return result;
}

/* The path of another endpoint next to a chat or completions endpoint: "/openai/v1/chat/completions"
 * has /openai/health, /openai/v1/models, "/api/paas/v4/chat/completions" has /api/paas/v4/models. */
static char *sibling_path(const char *own, const char *path)
{
	size_t len = strlen(own), version = strcspn(path + 1, "/") + 1;
	bool in_api = strncmp(path, "/v1/", 4) == 0;
	char *whole;

	if (ends_with(own, CHAT_ENDPOINT))
		len -= strlen(CHAT_ENDPOINT);
	else if (ends_with(own, LEGACY_ENDPOINT))
		len -= strlen(LEGACY_ENDPOINT);
	else
		return strdup(path);
	if (last_is(own, parent(own, len), "deployments")) /* Azure */
		len = parent(own, parent(own, len));
	if (in_api)
		path += version;
	else if (last_is_version(own, len))
		len = parent(own, len);
	else if (has_version(own, len))
		len = 0;
	return asprintf(&whole, "%.*s%s", (int)len, own, path) >= 0 ? whole : NULL;
}

char *llm_sibling_url(const char *url, const char *path)
{
	struct err ignored = ERR_INIT;
	CURLU *u = parse(url, &ignored);
	char *own = NULL, *sibling = NULL, *whole = NULL;

	if (u == NULL)
		return NULL;
	own = url_part(u, CURLUPART_PATH, 0);
	sibling = own != NULL ? sibling_path(own, path) : NULL;
	if (sibling != NULL && curl_url_set(u, CURLUPART_PATH, sibling, 0) == CURLUE_OK &&
	    curl_url_set(u, CURLUPART_QUERY, NULL, 0) == CURLUE_OK)
		whole = url_part(u, CURLUPART_URL, 0);
	curl_url_cleanup(u);
	free(sibling);
	free(own);
	return whole;
}

/* u is released. given: what it was made of. */
static int set_url(struct llm *l, CURLU *u, const char *given, struct err *e)
{
	int completed = complete_path(u);
	char *path = url_part(u, CURLUPART_PATH, 0);

	free(l->url);
	free(l->given_url);
	l->url = completed >= 0 && path != NULL ? url_part(u, CURLUPART_URL, 0) : NULL;
	l->given_url = completed > 0 ? strdup(given) : NULL;
	if (l->url != NULL && (completed == 0 || l->given_url != NULL)) {
		l->uses_completions = ends_with(path, COMPLETIONS_PATH);
	} else {
		err_set(e, "out of memory");
		free(l->url);
		l->url = NULL;
	}
	free(path);
	curl_url_cleanup(u);
	return l->url != NULL ? 0 : -1;
}

int llm_set_url(struct llm *l, const char *text, struct err *e)
{
	CURLU *u = parse(text, e);

	if (u != NULL)
		return set_url(l, u, text, e);
	free(l->url);
	l->url = NULL;
	return -1;
}

int llm_endpoint_parse(const char *url, struct llm_endpoint *out, struct err *e)
{
	CURLU *u = parse(url, e);
	char *port = NULL;
	unsigned long number;
	size_t len;
	struct in6_addr address;

	*out = (struct llm_endpoint){.scheme = NULL};
	if (u == NULL)
		return -1;
	out->scheme = url_part(u, CURLUPART_SCHEME, 0);
	out->host = url_part(u, CURLUPART_HOST, 0);
	port = url_part(u, CURLUPART_PORT, CURLU_DEFAULT_PORT);
	curl_url_cleanup(u);
	if (out->scheme == NULL || out->host == NULL || port == NULL) {
		err_set(e, "out of memory");
		goto bad;
	}
	number = strtoul(port, NULL, 10);
	if (number == 0 || number > 65535) {
		err_set(e, "invalid URL \"%.200s\": port %s", url, port);
		goto bad;
	}
	out->port = (uint16_t)number;
	len = strlen(out->host);
	if (len > 2 && out->host[0] == '[' && out->host[len - 1] == ']') {
		memmove(out->host, out->host + 1, len - 2);
		out->host[len - 2] = '\0';
	}
	out->literal = inet_pton(AF_INET, out->host, &address) == 1 || inet_pton(AF_INET6, out->host, &address) == 1;
	free(port);
	return 0;
bad:
	free(port);
	llm_endpoint_clear(out);
	return -1;
}

void llm_endpoint_clear(struct llm_endpoint *p)
{
	free(p->scheme);
	free(p->host);
	*p = (struct llm_endpoint){.scheme = NULL};
}

/* Derives the probe URL and the model of a configured LLM. */
static int complete(struct llm *l, const struct config *c, struct err *e)
{
	l->probe_url = llm_sibling_url(l->url, HEALTH_PATH);
	if (l->probe_url == NULL || llm_choose_model(l, c, NULL) < 0)
		return err_set(e, "out of memory");
	return 0;
}

int llm_cloud(const struct config *c, struct llm *out, struct err *e)
{
	const char *token = cfg_str(c, CFG_CLOUD_TOKEN);

	*out = (struct llm){.kind = LLM_CLOUD, .latency_ms = -1};
	if (!cfg_bool(c, CFG_CLOUD_ENABLED) && !cfg_bool(c, CFG_CLOUD_FALLBACK))
		return 1;
	if (token == NULL || token[0] == '\0')
		return 1;
	if (llm_set_url(out, cfg_str(c, CFG_CLOUD_URL), e) < 0) {
		err_prefix(e, "cloud.url (CLOUD_CHAT_UI_URL)");
		llm_clear(out);
		return -1;
	}
	if (llm_choose_model(out, c, NULL) < 0) {
		llm_clear(out);
		return err_set(e, "out of memory");
	}
	return 0;
}

/* A name without port and scheme gets the port on which LLM containers listen. */
static int container_url(struct llm *l, const char *name, struct err *e)
{
	CURLU *u = parse(name, e);
	char *port = NULL;

	if (u == NULL)
		return -1;
	if (strstr(name, "://") == NULL && curl_url_get(u, CURLUPART_PORT, &port, 0) == CURLUE_NO_PORT)
		curl_url_set(u, CURLUPART_PORT, CONTAINER_PORT, 0);
	curl_free(port);
	return set_url(l, u, name, e);
}

int llm_container(const struct config *c, struct llm *out, struct err *e)
{
	const char *name = cfg_str(c, CFG_CONTAINER_NAME);

	*out = (struct llm){.kind = LLM_CONTAINER, .latency_ms = -1};
	if (name == NULL || name[0] == '\0')
		return 1;
	if (container_url(out, name, e) < 0 || complete(out, c, e) < 0) {
		err_prefix(e, "container.name (LLM_CONTAINER_NAME)");
		llm_clear(out);
		return -1;
	}
	return 0;
}

int llm_local(const struct config *c, struct llm *out, struct err *e)
{
	const char *host = cfg_str(c, CFG_LOCAL_HOST);
	bool bare_ipv6 = host != NULL && strchr(host, ':') != NULL && host[0] != '[';
	char *url = NULL;
	int result = -1;

	*out = (struct llm){.kind = LLM_LOCAL, .latency_ms = -1};
	if (!cfg_bool(c, CFG_LOCAL_ENABLED) || host == NULL || host[0] == '\0')
		return 1;
	if (asprintf(&url, bare_ipv6 ? "http://[%s]:%d" : "http://%s:%d", host, (int)cfg_int(c, CFG_LOCAL_PORT)) < 0)
		return err_set(e, "out of memory");
	if (llm_set_url(out, url, e) == 0 && complete(out, c, e) == 0)
		result = 0;
	free(url);
	if (result < 0) {
		err_prefix(e, "local.host (LOCAL_LLM_HOST)");
		llm_clear(out);
	}
	return result;
}
