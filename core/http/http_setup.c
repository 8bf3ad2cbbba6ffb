/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include "core/base/text.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* curl never looks up a name: the address is in its cache, or the transfer fails. */
static int on_lookup(void *state, void *reserved, void *arg)
{
	const struct http_transfer *t = arg;

	(void)state;
	(void)reserved;
	return t->literal ? 0 : 1;
}

/* Options that are the same for every transfer, set once per handle. */
int http_setup_handle(struct http_transfer *t)
{
	CURL *c = t->easy;
	CURLcode rc = CURLE_OK;

#define SET(option, value) rc = rc != CURLE_OK ? rc : curl_easy_setopt(c, option, value)
	SET(CURLOPT_PRIVATE, t);
	SET(CURLOPT_SHARE, t->http->share);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_TCP_NODELAY, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_ACCEPT_ENCODING, ""); /* decodes what comes; set_new keeps curl from asking for it */
	SET(CURLOPT_NOPROXY, "*");
	SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	SET(CURLOPT_DNS_CACHE_TIMEOUT, -1L); /* the resolver knows how old a name may be */
	SET(CURLOPT_UPLOAD_BUFFERSIZE, 16384L);
	SET(CURLOPT_MAXAGE_CONN, (long)CONNECTION_IDLE_S);
	SET(CURLOPT_ERRORBUFFER, t->curl_error);
	SET(CURLOPT_HEADERFUNCTION, http_receive_header);
	SET(CURLOPT_HEADERDATA, t);
	SET(CURLOPT_WRITEFUNCTION, http_receive_body);
	SET(CURLOPT_WRITEDATA, t);
	SET(CURLOPT_OPENSOCKETFUNCTION, http_shard_open_socket);
	SET(CURLOPT_OPENSOCKETDATA, t);
	SET(CURLOPT_CLOSESOCKETFUNCTION, http_shard_close_socket);
	SET(CURLOPT_CLOSESOCKETDATA, t->http);
	SET(CURLOPT_RESOLVER_START_FUNCTION, on_lookup);
	SET(CURLOPT_RESOLVER_START_DATA, t);
	if (t->http->ca_directory)
		SET(CURLOPT_CAINFO, NULL);
#undef SET
	return rc == CURLE_OK ? 0 : http_outcome_error(t, "libcurl refuses an option: %s", curl_easy_strerror(rc));
}

void http_setup_forget(struct http_transfer *t)
{
	http_headers_drop(t);
	http_setup_unresolve(t);
	free(t->ca_file);
	t->ca_file = NULL;
	free(t->proxy);
	t->proxy = NULL;
	free(t->socket);
	t->socket = NULL;
	free(t->method);
	t->method = NULL;
}

/* One file with all of the system's certificates is read for each connection, which blocks the
 * loop for tens of milliseconds; in a directory with hashed names, only the one that is needed
 * is read. */
bool http_setup_has_ca_directory(void)
{
	CURL *c = curl_easy_init();
	const char *path = NULL;
	struct dirent *entry;
	DIR *directory = NULL;
	bool found = false;

	if (c != NULL && curl_easy_getinfo(c, CURLINFO_CAPATH, &path) == CURLE_OK && path != NULL)
		directory = opendir(path);
	while (!found && directory != NULL && (entry = readdir(directory)) != NULL)
		found = strspn(entry->d_name, "0123456789abcdef") == 8 && strcmp(entry->d_name + 8, ".0") == 0;
	if (directory != NULL)
		closedir(directory);
	curl_easy_cleanup(c);
	return found;
}

static int set_method(struct http_transfer *t)
{
	bool get = strcmp(t->verb, "GET") == 0, post = strcmp(t->verb, "POST") == 0;
	const char *custom = get || post ? NULL : t->verb;

	if (t->body != NULL || post) {
		curl_easy_setopt(t->easy, CURLOPT_POST, 1L);
		curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body_len);
		curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->body != NULL ? t->body : "");
	} else {
		curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, NULL);
		curl_easy_setopt(t->easy, CURLOPT_HTTPGET, 1L);
	}
	if (!text_same(custom, t->method)) {
		free(t->method);
		t->method = custom != NULL ? strdup(custom) : NULL;
		if (curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, custom) != CURLE_OK)
			return http_outcome_exhausted(t, ENOMEM);
	}
	return 0;
}

static int set_ca(struct http_transfer *t, const char *ca_file)
{
	if (text_same(t->ca_file, ca_file))
		return 0;
	/* Only a reset makes curl use its own certificates again. */
	curl_easy_reset(t->easy);
	http_setup_forget(t);
	t->buffer_size = 0;
	if (http_setup_handle(t) < 0)
		return -1;
	if (ca_file == NULL)
		return 0;
	t->ca_file = strdup(ca_file);
#if LIBCURL_VERSION_NUM >= 0x075700 /* before, it was read for each connection */
	if (curl_easy_setopt(t->easy, CURLOPT_CA_CACHE_TIMEOUT, CA_FILE_AGE_S) != CURLE_OK)
		return http_outcome_error(t, "libcurl refuses an option: the age of certificates");
#endif
	if (t->ca_file == NULL || curl_easy_setopt(t->easy, CURLOPT_CAINFO, ca_file) != CURLE_OK ||
	    curl_easy_setopt(t->easy, CURLOPT_CAPATH, NULL) != CURLE_OK)
		return http_outcome_exhausted(t, ENOMEM);
	return 0;
}

static int set_proxy(struct http_transfer *t, const char *proxy)
{
	if (text_same(t->proxy, proxy))
		return 0;
	free(t->proxy);
	t->proxy = proxy != NULL ? strdup(proxy) : NULL;
	if ((proxy != NULL && t->proxy == NULL) ||
	    curl_easy_setopt(t->easy, CURLOPT_PROXY, proxy != NULL ? proxy : "") != CURLE_OK ||
	    curl_easy_setopt(t->easy, CURLOPT_NOPROXY, proxy != NULL ? "" : "*") != CURLE_OK)
		return http_outcome_exhausted(t, ENOMEM);
	return 0;
}

static int set_socket(struct http_transfer *t, const char *socket)
{
	if (text_same(t->socket, socket))
		return 0;
	free(t->socket);
	t->socket = socket != NULL ? strdup(socket) : NULL;
	if ((socket != NULL && t->socket == NULL) ||
	    curl_easy_setopt(t->easy, CURLOPT_UNIX_SOCKET_PATH, socket) != CURLE_OK)
		return http_outcome_exhausted(t, ENOMEM);
	return 0;
}

static unsigned slot_of(const char *resolve, size_t len)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)resolve[i]) * 16777619u;
	return h % RESOLVED_SLOTS;
}

/* Gives curl the addresses of a name, unless its cache has exactly these. */
int http_setup_resolve(struct http_transfer *t, const char *resolve)
{
	const char *colon = strchr(resolve, ':');
	size_t host_len = colon != NULL ? (size_t)(colon - resolve) : 0;
	size_t key_len = host_len + (colon != NULL ? 1 + strcspn(colon + 1, ":") : 0);
	char **slot;

	t->literal = resolve[0] == '[';
	t->addresses = http_url_hash(resolve);
	if (t->literal)
		return 0;
	if (colon == NULL || resolve[key_len] != ':' || resolve[key_len + 1] == '\0')
		return http_outcome_error(t, "'%.100s' is not host:port:address", resolve);
	slot = &t->http->resolved[slot_of(resolve, key_len)];
	if (text_same(*slot, resolve))
		return 0;
	free(*slot);
	*slot = NULL; /* until curl has them: http_setup_resolved */
	http_setup_unresolve(t);
	t->resolve = curl_slist_append(NULL, resolve);
	if (t->resolve == NULL || curl_easy_setopt(t->easy, CURLOPT_RESOLVE, t->resolve) != CURLE_OK)
		return http_outcome_exhausted(t, ENOMEM);
	return 0;
}

/* The transfer is running, so curl has stored the addresses in its cache. */
void http_setup_resolved(struct http_transfer *t)
{
	const char *resolve;
	size_t len;
	char **slot;

	if (t->resolve == NULL)
		return;
	resolve = t->resolve->data;
	len = strcspn(resolve, ":");
	len += 1 + strcspn(resolve + len + 1, ":");
	slot = &t->http->resolved[slot_of(resolve, len)];
	free(*slot);
	*slot = strdup(resolve);
}

void http_setup_unresolve(struct http_transfer *t)
{
	if (t->resolve == NULL)
		return;
	curl_easy_setopt(t->easy, CURLOPT_RESOLVE, NULL);
	curl_slist_free_all(t->resolve);
	t->resolve = NULL;
}

static int set_buffer(struct http_transfer *t)
{
	long size = t->http->active < BUFFER_CROWD ? BUFFER_LARGE : BUFFER_SMALL;

	if (size == t->buffer_size)
		return 0;
	t->buffer_size = size;
	if (curl_easy_setopt(t->easy, CURLOPT_BUFFERSIZE, size) != CURLE_OK)
		return http_outcome_error(t, "libcurl refuses the size of its buffer");
	return 0;
}

int http_setup_handle_for(struct http_transfer *t, bool once)
{
	if (set_method(t) < 0 || set_buffer(t) < 0)
		return -1;
	http_headers_give(t);
	curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)t->connect_ms);
	curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, once ? 1L : 0L);
	if (curl_easy_setopt(t->easy, CURLOPT_URL, t->url) != CURLE_OK)
		return http_outcome_exhausted(t, ENOMEM);
	return 0;
}

int http_setup_request(struct http_transfer *t, const struct http_request *req)
{
	if (set_ca(t, req->ca_file) < 0 || set_proxy(t, req->proxy) < 0 || set_socket(t, req->socket) < 0 ||
	    http_headers_set(t, req) < 0)
		return -1;
	return http_setup_handle_for(t, req->once);
}
