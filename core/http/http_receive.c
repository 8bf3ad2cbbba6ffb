/* SPDX-License-Identifier: Apache-2.0 */
/* What arrives of a response goes to the caller: its head, its body in slices, and nothing while it is paused. */
#include "core/http/http_private.h"

#include "core/base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Ends the transfer from within curl. */
static size_t refuse(struct http_transfer *t, enum http_outcome o, const char *text)
{
	t->has_outcome = true;
	t->outcome = o;
	if (t->last_error == NULL)
		t->last_error = text;
	return 0; /* fewer bytes than arrived: curl ends the transfer */
}

/* Status and headers are complete. False: cancelled. */
static bool response_arrived(struct http_transfer *t, const char *type)
{
	t->responded = true;
	if (t->handlers == NULL)
		return false;
	t->collecting = t->handlers->data == NULL;
	if (t->handlers->response == NULL)
		return true;
	if (!t->handlers->response(t->arg, t->status, type) && !t->collecting) {
		t->collecting = true;
		t->collect_max = ERROR_BODY_MAX;
	}
	return t->handlers != NULL;
}

int64_t http_content_length(const struct http_transfer *t)
{
	return t->length;
}

static bool is_header(const char *line, size_t len, const char *name)
{
	size_t n = strlen(name);

	return len > n && line[n] == ':' && strncasecmp(line, name, n) == 0;
}

/* A request with a long history takes no memory while its answer streams. */
static void free_sent_body(struct http_transfer *t)
{
	curl_off_t sent = 0;

	if (t->body == NULL || curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent) != CURLE_OK ||
	    sent < (curl_off_t)t->body_len)
		return;
	free(t->body);
	t->body = NULL;
}

/* Called for each line of the head, the empty one at its end included. */
size_t http_receive_header(char *bytes, size_t size, size_t count, void *arg)
{
	struct http_transfer *t = arg;
	size_t len = size * count;
	const char *type = NULL;
	curl_off_t length = -1;

	t->answered = true;
	t->last_ms = t->http->now_ms;
	if (t->handlers == NULL)
		return 0;
	t->header_bytes += len;
	if (t->header_bytes > HEADERS_MAX)
		return refuse(t, HTTP_FAILED, "the response's headers are larger than 64 KiB");
	if (len <= 2 && !t->responded) {
		curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->status);
		curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
		t->length = length;
		if (t->status < 200)
			return len;
		free_sent_body(t);
		curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
		if (!response_arrived(t, type))
			return 0;
	} else if (is_header(bytes, len, "Content-Encoding")) {
		t->odd = true;
	} else if (is_header(bytes, len, "Retry-After")) {
		t->retry_after_s = http_outcome_retry_after(bytes + 12, len - 12);
	} else if (t->handlers->header != NULL) {
		t->handlers->header(t->arg, bytes, len);
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
		http_outcome_exhausted(t, ENOMEM);
		return refuse(t, HTTP_NO_RESOURCES, NULL);
	}
	if (full) /* the start of an error's text is enough */
		return refuse(t, HTTP_DONE, NULL);
	return len;
}

/* Without curl. */
bool http_receive_plain_head(struct http_transfer *t, const struct response *r)
{
	bool goes_on;

	t->status = r->status;
	if (r->retry_after[0] != '\0')
		t->retry_after_s = http_outcome_retry_after(r->retry_after, strlen(r->retry_after));
	t->length = response_missing(r);
	t->telling = true;
	goes_on = response_arrived(t, r->type[0] != '\0' ? r->type : NULL);
	t->telling = false;
	return goes_on;
}

bool http_receive_plain_body(struct http_transfer *t, const char *bytes, size_t len)
{
	if (t->collecting)
		return collect(t, bytes, len) == len;
	t->telling = true;
	t->handlers->data(t->arg, bytes, len);
	t->telling = false;
	return t->handlers != NULL;
}

static void read_ended(struct http_transfer *t)
{
	if (t->handlers != NULL && t->handlers->read_end != NULL)
		t->handlers->read_end(t->arg);
}

bool http_receive_plain_read_end(struct http_transfer *t)
{
	t->telling = true;
	read_ended(t);
	t->telling = false;
	return t->handlers != NULL;
}

/* At the end of this iteration of the loop. */
static void resume_soon(struct http_transfer *t)
{
	const struct timeval now = {0, 0};

	if (t->resuming)
		return;
	t->resuming = true;
	t->resume_round = t->http->resume_round;
	TAILQ_INSERT_TAIL(&t->http->resuming, t, resume_link);
	event_add(t->http->resume, &now);
}

/* What arrived of the body goes to the caller, within the limits of a slice. */
size_t http_receive_body(char *bytes, size_t size, size_t count, void *arg)
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
	if (!t->progress_only)
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
		resume_soon(t);
	}
	t->handlers->data(t->arg, bytes, len);
	read_ended(t);
	return t->handlers != NULL ? len : 0;
}

/* --- pausing -------------------------------------------------------------------------- */

/* curl pauses when its next bytes are refused (http_receive_body), so that a pause that ends
 * before they arrive costs nothing. */
void http_pause(struct http_transfer *t)
{
	t->paused = true;
}

void http_resume(struct http_transfer *t)
{
	if (!t->paused)
		return;
	t->paused = false;
	t->last_ms = clock_mono_ms();
	http_watch_transfer(t);
	if (t->held)
		resume_soon(t);
}
