/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/web.h"

#include "core/base/clock.h"

#include "config.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CONNECT_MS 10000L

struct exchange {
	const struct web_request *request;
	struct web_answer *answer;
	int64_t began_ms;
	bool too_long;
};

char *web_url(const char *base, const char *path)
{
	size_t len = strlen(base);
	char *url = NULL;

	while (len > 0 && base[len - 1] == '/')
		len--;
	return asprintf(&url, "%.*s/%s", (int)len, base, path) >= 0 ? url : NULL;
}

static size_t on_data(char *bytes, size_t size, size_t count, void *arg)
{
	struct exchange *x = arg;
	size_t len = size * count;

	if (x->answer->first_s == 0 && len > 0)
		x->answer->first_s = (double)(clock_mono_ms() - x->began_ms) / 1000;
	if (x->request->data != NULL) {
		x->answer->cancelled = !x->request->data(x->request->arg, bytes, len);
		return x->answer->cancelled ? 0 : len;
	}
	if (buf_add(&x->answer->body, bytes, len) == 0)
		return len;
	x->too_long = true;
	return 0;
}

static void take(const char *line, size_t len, const char *name, char *out, size_t size)
{
	size_t name_len = strlen(name);

	if (len <= name_len || strncasecmp(line, name, name_len) != 0)
		return;
	line += name_len;
	len -= name_len;
	while (len > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	while (len > 0 && (unsigned char)line[len - 1] <= ' ')
		len--;
	snprintf(out, size, "%.*s", (int)len, line);
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
	struct web_answer *a = ((struct exchange *)arg)->answer;
	size_t len = size * count;
	char no[16] = "";

	take(line, len, "Content-Encoding:", a->encoding, sizeof a->encoding);
	take(line, len, "Content-Type:", a->type, sizeof a->type);
	take(line, len, "X-Accel-Buffering:", no, sizeof no);
	a->x_accel_buffering |= strcasecmp(no, "no") == 0;
	return len;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	struct exchange *x = arg;

	(void)a, (void)b, (void)c, (void)d;
	x->answer->cancelled |= x->request->wait != NULL && !x->request->wait(x->request->arg);
	return x->answer->cancelled;
}

/* Whatever fails here is a lack of memory. */
static int set_up(CURL *curl, const struct web_request *r, struct exchange *x, struct curl_slist *headers)
{
	if (curl_easy_setopt(curl, CURLOPT_URL, r->url) != CURLE_OK ||
	    curl_easy_setopt(curl, CURLOPT_USERAGENT, "tt-agentctl/" PACKAGE_VERSION) != CURLE_OK ||
	    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "") != CURLE_OK ||
	    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK ||
	    (r->direct && curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") != CURLE_OK) ||
	    (r->body != NULL && curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->body) != CURLE_OK))
		return -1;
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)r->total_ms);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, x);
	return 0;
}

int web_request(const struct web_request *r, struct web_answer *out, struct err *e)
{
	struct exchange x = {.request = r, .answer = out, .began_ms = clock_mono_ms()};
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	char text[CURL_ERROR_SIZE] = "";
	CURL *curl = curl_easy_init();
	CURLcode code = CURLE_OUT_OF_MEMORY;
	char *address = NULL;

	*out = (struct web_answer){.status = 0};
	buf_init(&out->body, r->collect_limit);
	if (curl != NULL && headers != NULL && set_up(curl, r, &x, headers) == 0) {
		(void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
		code = curl_easy_perform(curl);
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->status);
		if (curl_easy_getinfo(curl, CURLINFO_PRIMARY_IP, &address) == CURLE_OK && address != NULL)
			snprintf(out->address, sizeof out->address, "%s", address);
	}
	out->total_s = (double)(clock_mono_ms() - x.began_ms) / 1000;
	if (code != CURLE_OK && x.too_long)
		err_set(e, "the answer is longer than %zu bytes", r->collect_limit);
	else if (code != CURLE_OK && !out->cancelled)
		err_set(e, "%s", text[0] != '\0' ? text : curl_easy_strerror(code));
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return code == CURLE_OK || out->cancelled ? 0 : -1;
}

void web_answer_clear(struct web_answer *a)
{
	buf_free(&a->body);
}
