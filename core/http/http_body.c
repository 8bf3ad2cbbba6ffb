/* SPDX-License-Identifier: Apache-2.0 */
#include "core/http/http_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static size_t refuse(struct http_transfer *t, enum http_outcome o, const char *text)
{
	t->has_outcome = true;
	t->outcome = o;
	if (t->said == NULL)
		t->said = text;
	return 0; /* less than what came: curl ends the transfer */
}

static bool ask_response(struct http_transfer *t)
{
	const char *type = NULL;

	t->responded = true;
	if (t->handlers == NULL)
		return false;
	t->collecting = t->handlers->data == NULL;
	if (t->handlers->response == NULL)
		return true;
	curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
	if (!t->handlers->response(t->arg, t->status, type) && !t->collecting) {
		t->collecting = true;
		t->collect_max = ERROR_BODY_MAX;
	}
	return t->handlers != NULL;
}

static bool is_header(const char *line, size_t len, const char *name)
{
	size_t n = strlen(name);

	return len > n && line[n] == ':' && strncasecmp(line, name, n) == 0;
}

/* A history of many turns is not kept in memory while its answer streams. */
static void drop_body(struct http_transfer *t)
{
	curl_off_t sent = 0;

	if (t->body == NULL || curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent) != CURLE_OK ||
	    sent < (curl_off_t)t->body_len)
		return;
	free(t->body);
	t->body = NULL;
}

/* One line of the head a call, the empty one at its end included. */
size_t http_body_header(char *bytes, size_t size, size_t count, void *arg)
{
	struct http_transfer *t = arg;
	size_t len = size * count;

	t->answered = true;
	t->last_ms = t->http->now_ms;
	if (t->handlers == NULL)
		return 0;
	t->header_bytes += len;
	if (t->header_bytes > HEADERS_MAX)
		return refuse(t, HTTP_FAILED, "the response's headers are larger than 64 KiB");
	if (len <= 2 && !t->responded) {
		curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->status);
		if (t->status < 200)
			return len;
		drop_body(t);
		if (!ask_response(t))
			return 0;
	} else if (is_header(bytes, len, "Retry-After")) {
		t->retry_after_s = http_outcome_retry_after(bytes + 12, len - 12);
	}
	return len;
}

static size_t collect(struct http_transfer *t, const char *bytes, size_t len)
{
	size_t room = t->collect_max - t->collected.len;
	bool full = len > room;

	if (full && t->handlers->data == NULL)
		return refuse(t, HTTP_TOO_LARGE, NULL);
	if (buf_add(&t->collected, bytes, full ? room : len) < 0) {
		http_exhaustion(t, ENOMEM);
		return refuse(t, HTTP_NO_RESOURCES, NULL);
	}
	if (full) /* of an error's text, the start is enough */
		return refuse(t, HTTP_DONE, NULL);
	return len;
}

size_t http_body_write(char *bytes, size_t size, size_t count, void *arg)
{
	struct http_transfer *t = arg;
	struct http *h = t->http;
	size_t len = size * count;

	if (t->handlers == NULL)
		return 0;
	if (t->paused || t->sliced) {
		t->held = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	if (!t->heard)
		t->last_ms = h->now_ms;
	if (t->collecting)
		return collect(t, bytes, len);
	if (t->slice_call != h->calls) {
		t->slice_call = h->calls;
		t->slice = 0;
	}
	t->slice += len;
	if (t->slice >= HTTP_SLICE) {
		t->sliced = true;
		http_resume_soon(t);
	}
	t->handlers->data(t->arg, bytes, len);
	return t->handlers != NULL ? len : 0;
}
