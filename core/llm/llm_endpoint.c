/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of llm.h that deal with URLs. libcurl parses them. */
#include "core/llm/llm.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHAT_PATH        "/v1/chat/completions"
#define COMPLETIONS_PATH "/v1/completions"
#define HEALTH_PATH      "/health"
#define CONTAINER_PORT   "7000"

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

/* A parsed http or https URL, or NULL with e. The text may lack its scheme (then
 * it is http). Credentials are refused: URLs are shown in /status and in logs. */
static CURLU *parse(const char *url, struct err *e)
{
	CURLU *u = curl_url();
	char *with_scheme = NULL, *scheme = NULL;
	CURLUcode rc;

	if (u == NULL) {
		err_set(e, "out of memory");
		return NULL;
	}
	if (strstr(url, "://") == NULL) {
		if (asprintf(&with_scheme, "http://%s", url) < 0) {
			with_scheme = NULL;
			err_set(e, "out of memory");
			goto bad;
		}
		url = with_scheme;
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
	free(with_scheme);
	return u;
bad:
	curl_url_cleanup(u);
	free(scheme);
	free(with_scheme);
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

/* Cuts the API's own path off: "/openai/v1/chat/completions" becomes "/openai". */
static void keep_prefix(char *path)
{
	static const char *const known[] = {CHAT_PATH, COMPLETIONS_PATH};

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (ends_with(path, known[i])) {
			path[strlen(path) - strlen(known[i])] = '\0';
			return;
		}
	}
	path[0] = '\0';
}

char *llm_sibling_url(const char *url, const char *path)
{
	struct err ignored = ERR_INIT;
	CURLU *u = parse(url, &ignored);
	char *own = NULL, *sibling = NULL, *whole = NULL;

	if (u == NULL)
		return NULL;
	own = url_part(u, CURLUPART_PATH, 0);
	if (own == NULL)
		goto out;
	keep_prefix(own);
	if (asprintf(&sibling, "%s%s", own, path) < 0) {
		sibling = NULL;
		goto out;
	}
	if (curl_url_set(u, CURLUPART_PATH, sibling, 0) == CURLUE_OK &&
	    curl_url_set(u, CURLUPART_QUERY, NULL, 0) == CURLUE_OK)
		whole = url_part(u, CURLUPART_URL, 0);
out:
	curl_url_cleanup(u);
	free(sibling);
	free(own);
	return whole;
}

int llm_set_url(struct llm *l, const char *text, struct err *e)
{
	CURLU *u = parse(text, e);
	char *path = NULL;
	int result = -1;

	free(l->url);
	l->url = NULL;
	if (u == NULL)
		return -1;
	l->url = finish(u, CHAT_PATH, e);
	path = url_part(u, CURLUPART_PATH, 0);
	if (l->url != NULL && path != NULL) {
		l->uses_completions = ends_with(path, COMPLETIONS_PATH);
		result = 0;
	} else {
		err_set(e, "out of memory");
		free(l->url);
		l->url = NULL;
	}
	free(path);
	curl_url_cleanup(u);
	return result;
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
	char *port = NULL, *whole = NULL;
	int result = -1;

	if (u == NULL)
		return -1;
	if (strstr(name, "://") == NULL && curl_url_get(u, CURLUPART_PORT, &port, 0) == CURLUE_NO_PORT)
		curl_url_set(u, CURLUPART_PORT, CONTAINER_PORT, 0);
	curl_free(port);
	whole = finish(u, CHAT_PATH, e);
	curl_url_cleanup(u);
	if (whole != NULL)
		result = llm_set_url(l, whole, e);
	free(whole);
	return result;
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
