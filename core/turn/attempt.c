/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/attempt.h"

#include "core/stream/chunk.h"
#include "core/stream/sse.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long an answer that is complete may take to end its HTTP response: after [DONE]
 * nothing more comes, after a finish_reason the usage and [DONE] do. */
#define LINGER_DONE_MS   100
#define LINGER_FINISH_MS 2000

struct attempt {
	struct event_base *base;
	struct http_transfer *transfer; /* NULL once it is done */
	struct event *linger;           /* NULL until the answer is complete */
	const struct attempt_handlers *handlers;
	void *arg;
	struct sse sse;
	struct chunk_reader reader;
	enum chunk_finish finish;
	bool done_seen, understood, failed_event;
	bool event_lost; /* one was too large to be held, or ... */
	bool no_memory;  /* ... we had no memory for it */
	long error_status;
	bool answering; /* its first token came */
	int64_t stall_ms;
	int64_t completion_tokens;
	char text[256];
};

static const char *const end_texts[ATTEMPT_ENDS] = {
	[ATTEMPT_COMPLETE] = "complete",
	[ATTEMPT_UNREACHABLE] = "unreachable",
	[ATTEMPT_TIMEOUT] = "connect timeout",
	[ATTEMPT_SILENT] = "silent",
	[ATTEMPT_CUT] = "cut",
	[ATTEMPT_ERROR_EVENT] = "error event",
	[ATTEMPT_MALFORMED] = "malformed",
	[ATTEMPT_BUSY] = "busy",
	[ATTEMPT_UNAVAILABLE] = "unavailable",
	[ATTEMPT_UNAUTHORIZED] = "unauthorized",
	[ATTEMPT_OVERFLOW] = "context overflow",
	[ATTEMPT_REFUSED] = "refused",
	[ATTEMPT_NO_RESOURCES] = "no resources",
	[ATTEMPT_FAILED] = "failed",
};

const char *attempt_result_text(enum attempt_result end)
{
	return end_texts[end];
}

static void attempt_free(struct attempt *a)
{
	if (a->linger != NULL)
		event_free(a->linger);
	chunk_reader_free(&a->reader);
	sse_free(&a->sse);
	free(a);
}

static void finish(struct attempt *a, struct attempt_outcome *r)
{
	const struct attempt_handlers *handlers = a->handlers;
	void *arg = a->arg;

	r->stopped_at_limit = a->finish == FINISH_LENGTH;
	r->completion_tokens = a->completion_tokens;
	handlers->ended(arg, r);
	attempt_free(a);
}

/* What it means that an event was lost, with the words for it. */
static enum attempt_result lost_end(struct attempt *a)
{
	snprintf(a->text, sizeof a->text, "%s",
	         a->no_memory ? "no memory is left" : "an event of the stream was too large");
	if (a->no_memory)
		return ATTEMPT_NO_RESOURCES;
	return a->understood ? ATTEMPT_CUT : ATTEMPT_MALFORMED;
}

/* The stream has come to its end, which says how. */
static enum attempt_result seen_end(struct attempt *a)
{
	if (a->event_lost)
		return lost_end(a);
	if (a->finish != FINISH_ABORT)
		return ATTEMPT_COMPLETE;
	snprintf(a->text, sizeof a->text, "the server gave the answer up");
	return ATTEMPT_CUT;
}

/* The answer is whole but the server does not end its response: its connection is given
 * up, the client does not wait for it. */
static void on_linger(evutil_socket_t fd, short what, void *arg)
{
	struct attempt *a = arg;
	struct attempt_outcome r = {.outcome = HTTP_DONE, .status = 200, .text = a->text};

	(void)fd;
	(void)what;
	http_cancel(a->transfer);
	a->transfer = NULL;
	r.end = seen_end(a);
	finish(a, &r);
}

static void linger(struct attempt *a, long ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	if (a->linger == NULL)
		a->linger = evtimer_new(a->base, on_linger, a);
	if (a->linger != NULL)
		evtimer_add(a->linger, &tv);
}

static bool has_token(const struct chunk *d)
{
	return d->content.len > 0 || d->reasoning.len > 0 || d->tool_calls != NULL;
}

/* Who says that it finishes, and goes on, has not finished. */
static void note_finish(struct attempt *a, const struct chunk *d)
{
	if (d->finish != FINISH_NONE) {
		a->finish = d->finish;
		linger(a, LINGER_FINISH_MS);
	} else if (a->linger != NULL && has_token(d)) {
		evtimer_del(a->linger);
	}
}

static bool on_chunk(struct attempt *a, const struct chunk *d)
{
	a->understood = true;
	a->answering |= has_token(d);
	if (a->answering && a->transfer != NULL)
		http_progress(a->transfer, a->stall_ms);
	if (d->has_usage)
		a->completion_tokens = d->completion_tokens;
	if (d->reasoning.len > 0)
		a->handlers->reasoning(a->arg, d->reasoning.bytes, d->reasoning.len);
	if (d->content.len > 0)
		a->handlers->text(a->arg, d->content.bytes, d->content.len);
	if (d->tool_calls != NULL)
		a->handlers->tool_calls(a->arg, d->tool_calls);
	note_finish(a, d);
	return true;
}

static bool on_event(void *arg, const char *data, size_t len)
{
	struct attempt *a = arg;
	struct chunk d;

	if (a->done_seen || a->failed_event)
		return true; /* nothing counts behind the end */
	errno = 0;
	chunk_read(&a->reader, data, len, &d);
	switch (d.kind) {
	case CHUNK_CHUNK:
		return on_chunk(a, &d);
	case CHUNK_DONE:
		a->done_seen = true;
		linger(a, LINGER_DONE_MS);
		break;
	case CHUNK_ERROR:
		a->failed_event = true;
		a->error_status = d.error_status;
		snprintf(a->text, sizeof a->text, "%s", d.error);
		break;
	case CHUNK_INVALID:
		if (errno == ENOMEM)
			a->event_lost = a->no_memory = true;
		break;
	}
	return true;
}

static bool on_response(void *arg, long status, const char *content_type)
{
	(void)arg;
	(void)content_type;
	return status == 200;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
	struct attempt *a = arg;

	if (sse_feed(&a->sse, bytes, len, on_event, a) < 0)
		a->event_lost = true;
	a->no_memory |= a->sse.no_memory;
}

/* What an HTTP outcome other than a whole response means. */
static const enum attempt_result outcome_ends[] = {
	[HTTP_DONE] = ATTEMPT_CUT,
	[HTTP_BAD_URL] = ATTEMPT_FAILED,
	[HTTP_NO_HOST] = ATTEMPT_UNREACHABLE,
	[HTTP_REFUSED] = ATTEMPT_UNREACHABLE,
	[HTTP_CONNECT_TIMEOUT] = ATTEMPT_TIMEOUT,
	[HTTP_TIMEOUT] = ATTEMPT_SILENT,
	[HTTP_SILENCE] = ATTEMPT_SILENT,
	[HTTP_RESET] = ATTEMPT_CUT,
	[HTTP_CUT] = ATTEMPT_CUT,
	[HTTP_TLS] = ATTEMPT_UNREACHABLE,
	[HTTP_TOO_LARGE] = ATTEMPT_MALFORMED,
	[HTTP_NO_RESOURCES] = ATTEMPT_NO_RESOURCES,
	[HTTP_FAILED] = ATTEMPT_FAILED,
};

static enum attempt_result judge_status(long status, const char *text)
{
	if (status == 429)
		return ATTEMPT_BUSY;
	if (status == 401 || status == 403)
		return ATTEMPT_UNAUTHORIZED;
	if (status == 404 || status == 408 || status >= 500)
		return ATTEMPT_UNAVAILABLE;
	if (status >= 400 && chunk_is_context_overflow(text))
		return ATTEMPT_OVERFLOW;
	return status >= 400 ? ATTEMPT_REFUSED : ATTEMPT_MALFORMED;
}

static enum attempt_result judge(struct attempt *a, const struct http_result *h)
{
	if (a->failed_event)
		return chunk_is_context_overflow(a->text) ? ATTEMPT_OVERFLOW : ATTEMPT_ERROR_EVENT;
	if (a->event_lost || a->done_seen || a->finish != FINISH_NONE)
		return seen_end(a);
	if (h->outcome == HTTP_DONE && h->status != 200) {
		chunk_error_text(h->body, h->body_len, a->text, sizeof a->text);
		return judge_status(h->status, a->text);
	}
	if (h->outcome != HTTP_DONE) {
		snprintf(a->text, sizeof a->text, "%s", h->text);
		return outcome_ends[h->outcome];
	}
	snprintf(a->text, sizeof a->text, "%s",
	         a->understood ? "the stream ended without finish_reason or [DONE]"
	                       : "the answer is no stream of chat events");
	return a->understood ? ATTEMPT_CUT : ATTEMPT_MALFORMED;
}

static void on_done(void *arg, const struct http_result *h)
{
	struct attempt *a = arg;
	struct attempt_outcome r = {.outcome = h->outcome, .status = h->status, .reused = h->reused, .text = a->text};

	a->transfer = NULL;
	if (sse_end(&a->sse, on_event, a) < 0)
		a->event_lost = true;
	a->no_memory |= a->sse.no_memory;
	r.end = judge(a, h);
	if (a->error_status != 0)
		r.status = a->error_status;
	finish(a, &r);
}

static const struct http_handlers transfer_handlers = {
	.response = on_response,
	.data = on_data,
	.done = on_done,
};

struct attempt *attempt_start(struct event_base *base, struct http *http, const struct attempt_request *request,
                              const struct attempt_handlers *handlers, void *arg)
{
	struct http_request hr = {
		.method = "POST",
		.url = request->url,
		.resolve = request->resolve,
		.bearer = request->bearer,
		.body = request->body,
		.body_len = request->body_len,
		.ca_file = request->ca_file,
		.connect_ms = request->connect_ms,
		.silence_ms = request->silence_ms,
	};
	struct attempt *a = calloc(1, sizeof *a);

	if (a == NULL)
		return NULL;
	a->base = base;
	a->handlers = handlers;
	a->arg = arg;
	a->stall_ms = request->stall_ms;
	a->completion_tokens = -1;
	sse_init(&a->sse);
	chunk_reader_init(&a->reader);
	a->transfer = http_start(http, &hr, &transfer_handlers, a);
	if (a->transfer == NULL) {
		attempt_free(a);
		return NULL;
	}
	return a;
}

void attempt_pause(struct attempt *a)
{
	if (a->transfer != NULL)
		http_pause(a->transfer);
}

void attempt_resume(struct attempt *a)
{
	if (a->transfer != NULL)
		http_resume(a->transfer);
}

void attempt_cancel(struct attempt *a)
{
	if (a->transfer != NULL)
		http_cancel(a->transfer);
	attempt_free(a);
}
