/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/web.h"

#include "core/base/clock.h"

#include "config.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CONNECT_MS 10000L
#define WAIT_MS    100

struct exchange {
	const struct web_request *request;
	struct web_answer *answer;
	CURL *curl;
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
	curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &x->answer->status);
	if (x->request->data != NULL && x->answer->status == 200) {
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
	if (r->bearer != NULL) {
		curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
		return curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, r->bearer) == CURLE_OK ? 0 : -1;
	}
	return 0;
}

/* curl_easy_perform, but wait() is called often. */
static CURLcode perform(CURLM *multi, struct exchange *x)
{
	int running = 1, messages;
	const CURLMsg *message;

	if (multi == NULL || curl_multi_add_handle(multi, x->curl) != CURLM_OK)
		return CURLE_OUT_OF_MEMORY;
	while (running > 0) {
		if (curl_multi_perform(multi, &running) != CURLM_OK ||
		    (running > 0 && curl_multi_poll(multi, NULL, 0, WAIT_MS, NULL) != CURLM_OK))
			return CURLE_OUT_OF_MEMORY;
		if (x->request->wait != NULL && !x->request->wait(x->request->arg)) {
			x->answer->cancelled = true;
			return CURLE_ABORTED_BY_CALLBACK;
		}
	}
	while ((message = curl_multi_info_read(multi, &messages)) != NULL)
		if (message->msg == CURLMSG_DONE)
			return message->data.result;
	return CURLE_OUT_OF_MEMORY;
}

int web_request(const struct web_request *r, struct web_answer *out, struct err *e)
{
	struct exchange x = {.request = r, .answer = out, .curl = curl_easy_init(), .began_ms = clock_mono_ms()};
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	char text[CURL_ERROR_SIZE] = "";
	CURLM *multi = curl_multi_init();
	CURLcode code = CURLE_OUT_OF_MEMORY;
	char *address = NULL;

	*out = (struct web_answer){.status = 0};
	buf_init(&out->body, r->collect_limit);
	if (x.curl != NULL && headers != NULL && set_up(x.curl, r, &x, headers) == 0) {
		(void)curl_easy_setopt(x.curl, CURLOPT_ERRORBUFFER, text);
		code = perform(multi, &x);
		curl_easy_getinfo(x.curl, CURLINFO_RESPONSE_CODE, &out->status);
		if (curl_easy_getinfo(x.curl, CURLINFO_PRIMARY_IP, &address) == CURLE_OK && address != NULL)
			snprintf(out->address, sizeof out->address, "%s", address);
	}
	out->total_s = (double)(clock_mono_ms() - x.began_ms) / 1000;
	if (code != CURLE_OK && x.too_long)
		err_set(e, "the answer is longer than %zu bytes", r->collect_limit);
	else if (code != CURLE_OK && !out->cancelled)
		err_set(e, "%s", text[0] != '\0' ? text : curl_easy_strerror(code));
	if (multi != NULL && x.curl != NULL)
		curl_multi_remove_handle(multi, x.curl);
	curl_easy_cleanup(x.curl);
	curl_multi_cleanup(multi);
	curl_slist_free_all(headers);
	return code == CURLE_OK || out->cancelled ? 0 : -1;
}

void web_answer_clear(struct web_answer *a)
{
	buf_free(&a->body);
}
