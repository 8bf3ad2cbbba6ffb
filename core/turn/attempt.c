/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/attempt.h"

#include "core/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX   (16u << 20)        /* of one answer for the history; the client's stream has no limit */
#define TOKENS_MAX (INT64_C(1) << 40) /* no server has written more tokens than that */

/* How long an answer that is complete may take to end its HTTP response: after [DONE]
 * nothing more comes, after a finish_reason the usage and [DONE] do. */
#define LINGER_DONE_MS   100
#define LINGER_FINISH_MS 2000

_Static_assert(METRIC_COUNT_OF(ATTEMPT_TEXTS) == ATTEMPT_RESULTS + 1,
               "each result of enum attempt_result, and one more");
#define ATTEMPT_CANCELLED ATTEMPT_RESULTS

#define SERVING_EACH 32 /* tokens between two reports */

/* Bytes of a stream after which what they brought is one piece of the answer, however much was read at once: what is
 * larger than a record cannot be resumed from within. */
#define FLUSH_EACH 4096

/* ---- the answer ------------------------------------------------------------------------- */

void answer_init(struct answer *a, struct reply *r)
{
	memset(a, 0, sizeof *a);
	a->reply = r;
	a->began_ns = clock_mono_ns();
	a->prompt_tokens = a->cached_tokens = a->reasoning_tokens = -1;
	buf_init(&a->text, TEXT_MAX);
}

void answer_clear(struct answer *a)
{
	buf_free(&a->text);
}

void answer_begin(struct answer *a)
{
	a->continued = false;
	buf_reset(&a->text);
	a->whitespace = 0;
	a->reasoned = false;
}

int answer_resume(struct answer *a, const char *text, size_t len)
{
	a->broke_off = len == 0;
	return buf_add(&a->text, text, len);
}

void answer_continue(struct answer *a)
{
	size_t len;

	answer_begun(a, &len);
	a->whitespace = a->text.len - len;
	a->continued = true;
}

static bool is_whitespace(char c)
{
	return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void take_text(struct answer *a, const char *bytes, size_t len)
{
	for (; a->whitespace > 0 && len > 0 && is_whitespace(*bytes); a->whitespace--, bytes++, len--)
		continue;
	if (len == 0)
		return;
	a->whitespace = 0;
	a->broke_off = false;
	if (len <= TEXT_MAX - a->text.len)
		buf_add(&a->text, bytes, len);
	a->reply->protocol->text(a->reply, bytes, len);
}

void answer_take(struct answer *a, const struct piece *p)
{
	switch (p->kind) {
	case PIECE_TEXT:
		take_text(a, p->bytes, p->len);
		break;
	case PIECE_REASONING:
		if (a->broke_off)
			a->reply->protocol->restart(a->reply);
		a->broke_off = false;
		a->reasoned = true;
		a->reply->protocol->reasoning(a->reply, p->bytes, p->len);
		break;
	case PIECE_UNOPENED:
		/* The model's <think> was in its prompt: what it wrote so far was reasoning. It
		 * was shown, which cannot be undone, but is not stored, and the answer begins a
		 * paragraph. After reasoning that was recognised the tag is plain text. */
		if (!a->reasoned && a->text.len > 0) {
			buf_reset(&a->text);
			a->reply->protocol->paragraph(a->reply);
			a->whitespace = SIZE_MAX;
		}
		a->reasoned = true;
		break;
	case PIECE_CALL:
	case PIECE_END:
		break;
	}
}

/* The server's count, or ours where it sent none, or an implausible one. */
static int64_t counted_tokens(int64_t counted, int64_t ours)
{
	return counted >= 0 && counted <= TOKENS_MAX ? counted : ours;
}

/* An attempt that continues the answer has what was there in its prompt: that is not counted twice. */
static void add_count(int64_t *sum, int64_t counted, bool continued)
{
	if (counted >= 0 && counted <= TOKENS_MAX && !(continued && *sum >= 0))
		*sum = (*sum < 0 ? 0 : *sum) + counted;
}

void answer_end(struct answer *a, const struct stream *from, bool complete)
{
	int64_t tokens = from != NULL ? stream_progress(from)->completion_tokens : -1;
	const struct stream_usage *counted = from != NULL ? stream_usage(from) : NULL;

	a->broke_off = !complete && (a->broke_off || (a->reasoned && a->text.len == 0));
	a->tokens += counted_tokens(tokens, a->attempt_tokens);
	a->attempt_tokens = 0;
	if (counted == NULL || (!complete && a->text.len == 0))
		return;
	add_count(&a->prompt_tokens, stream_progress(from)->prompt_tokens, a->continued);
	add_count(&a->cached_tokens, counted->cached_tokens, a->continued);
	add_count(&a->reasoning_tokens, counted->reasoning_tokens, false);
}

const char *answer_begun(const struct answer *a, size_t *len)
{
	*len = a->text.len;
	while (*len > 0 && is_whitespace(a->text.data[*len - 1]))
		--*len;
	return a->text.len == 0 ? "" : a->text.data;
}

bool answer_is_shown(const struct answer *a)
{
	size_t len;

	answer_begun(a, &len);
	return len > 0;
}

void answer_sentence(struct answer *a, const char *sentence)
{
	a->reply->protocol->sentence(a->reply, sentence);
}

void answer_fail(struct answer *a, enum failure why, const char *sentence)
{
	a->reply->protocol->fail(a->reply, why, sentence);
}

void answer_usage(const struct answer *a, struct usage *u)
{
	u->tokens = a->tokens + a->attempt_tokens;
	u->ttft_ns = a->first_ns == 0 ? -1 : a->first_ns - a->began_ns;
	u->tpot_ns = u->tokens > 1 && a->first_ns != 0 ? (a->last_ns - a->first_ns) / (u->tokens - 1) : -1;
	u->total_ns = clock_mono_ns() - a->began_ns;
	u->prompt_tokens = a->prompt_tokens;
	u->cached_tokens = a->cached_tokens;
	u->reasoning_tokens = a->reasoning_tokens;
	u->limited = a->limited;
}

/* ---- an attempt: its stream -------------------------------------------------------------- */

struct attempt {
	struct event_base *base;
	struct http *http;
	struct answer *answer;
	const struct attempt_handlers *handlers;
	void *arg;
	struct stream *stream;
	struct http_transfer *transfer; /* NULL: none runs */
	struct event *linger;           /* pending once the answer is complete */
	bool paused;
	bool cancelled; /* nobody waits for what comes */
	int64_t stall_ms;
	const char *bearer;
	struct counters *counters;
	unsigned model;   /* of it, in the counters */
	bool was_paused;  /* since the last token */
	size_t unflushed; /* bytes of the stream that the reply was not flushed after */
	uint64_t events;  /* that were seen */
	bool finished, done;
	struct attempt_outcome outcome;
	struct error_report *report; /* NULL: none has failed so far, as in most turns */
};

static const struct error_report no_error;

/* The first token of a turn, or so many more of an attempt, have come. What came in one piece shares the time
 * since the token before. */
static void observe_tokens(const struct attempt *a, int64_t before, int64_t count, int64_t now_ns)
{
	const struct answer *answer = a->answer;

	if (answer->first_ns == 0)
		counters_observe(a->counters, SERIES_FIRST_TOKEN, a->model, now_ns - answer->began_ns, 1);
	if (before == 0)
		counters_observe_gap(a->counters, a->model, 0, count - 1);
	else if (!a->was_paused)
		counters_observe_gap(a->counters, a->model, (now_ns - answer->last_ns) / count, count);
}

static void linger(struct attempt *a, long ms)
{
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_add(a->linger, &tv);
}

/* What the bytes of this read have changed, beside the text that they brought. */
static void note_progress(struct attempt *a, int64_t now_ns)
{
	const struct stream_progress *p = stream_progress(a->stream);
	struct answer *answer = a->answer;
	int64_t before = answer->attempt_tokens, tokens = (int64_t)p->tokens;

	if (p->chunks > 0 && p->events != a->events)
		http_progress(a->transfer, a->stall_ms);
	a->events = p->events;
	if (tokens != before) {
		observe_tokens(a, before, tokens - before, now_ns);
		a->was_paused = false;
		answer->attempt_tokens = tokens;
		answer->last_ns = now_ns;
		if (answer->first_ns == 0)
			answer->first_ns = now_ns;
		if ((tokens + SERVING_EACH - 1) / SERVING_EACH != (before + SERVING_EACH - 1) / SERVING_EACH)
			a->handlers->serving(a->arg);
	}
	if (p->done && !a->done)
		linger(a, LINGER_DONE_MS);
	else if (p->finished && !a->finished)
		linger(a, LINGER_FINISH_MS);
	else if (a->finished && !p->finished)
		event_del(a->linger); /* it continued after its finish_reason */
	a->finished = p->finished;
	a->done = p->done;
}

static void flush_reply(struct attempt *a)
{
	struct reply *reply = a->answer->reply;

	a->unflushed = 0;
	if (reply->protocol->flush != NULL)
		reply->protocol->flush(reply);
	if (!a->paused && !a->cancelled && output_is_full(reply->output)) {
		a->paused = true;
		http_pause(a->transfer);
	}
}

static void on_data(void *arg, const char *bytes, size_t len)
{
	struct attempt *a = arg;
	int64_t now_ns = clock_mono_ns();
	struct piece p;

	counters_begin_work_at(a->counters, now_ns);
	stream_feed(a->stream, bytes, len);
	while (stream_next(a->stream, &p))
		answer_take(a->answer, &p);
	note_progress(a, now_ns);
	a->unflushed += len;
	if (a->unflushed >= FLUSH_EACH)
		flush_reply(a);
}

static void on_read_end(void *arg)
{
	struct attempt *a = arg;

	if (a->unflushed > 0)
		flush_reply(a);
}

/* ---- its end --------------------------------------------------------------------------------- */

static const char *const result_texts[ATTEMPT_RESULTS] = {
	[ATTEMPT_COMPLETE] = "complete",
	[ATTEMPT_EMPTY] = "empty",
	[ATTEMPT_USED_UP] = "tokens used up",
	[ATTEMPT_FILTERED] = "content filter",
	[ATTEMPT_UNREACHABLE] = "unreachable",
	[ATTEMPT_TIMEOUT] = "connect timeout",
	[ATTEMPT_SILENT] = "silent",
	[ATTEMPT_CUT] = "cut",
	[ATTEMPT_ERROR_EVENT] = "error event",
	[ATTEMPT_MALFORMED] = "malformed",
	[ATTEMPT_BUSY] = "busy",
	[ATTEMPT_UNAVAILABLE] = "unavailable",
	[ATTEMPT_UNAUTHORIZED] = "unauthorized",
	[ATTEMPT_NO_CREDIT] = "no credit",
	[ATTEMPT_NO_MODEL] = "no such model",
	[ATTEMPT_OVERFLOW] = "context overflow",
	[ATTEMPT_REFUSED] = "refused",
	[ATTEMPT_NO_RESOURCES] = "no resources",
	[ATTEMPT_FAILED] = "failed",
};

const char *attempt_result_text(enum attempt_result r)
{
	return result_texts[r];
}

/* What an HTTP outcome other than a whole response means. */
static const enum attempt_result http_results[] = {
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

static const enum attempt_result stream_results[] = {
	[STREAM_FILTERED] = ATTEMPT_FILTERED,
	[STREAM_CUT] = ATTEMPT_CUT,
	[STREAM_MALFORMED] = ATTEMPT_MALFORMED,
	[STREAM_NO_MEMORY] = ATTEMPT_NO_RESOURCES,
};

/* What an error of the server means, as the body of a response and in a stream. */
static const struct {
	enum attempt_result body, event;
} error_results[ERROR_MEANINGS] = {
	[ERROR_UNKNOWN] = {ATTEMPT_MALFORMED, ATTEMPT_ERROR_EVENT},
	[ERROR_OVERFLOW] = {ATTEMPT_OVERFLOW, ATTEMPT_OVERFLOW},
	[ERROR_FILTERED] = {ATTEMPT_FILTERED, ATTEMPT_FILTERED},
	[ERROR_BUSY] = {ATTEMPT_BUSY, ATTEMPT_BUSY},
	[ERROR_NO_CREDIT] = {ATTEMPT_NO_CREDIT, ATTEMPT_NO_CREDIT},
	[ERROR_UNAUTHORIZED] = {ATTEMPT_UNAUTHORIZED, ATTEMPT_UNAUTHORIZED},
	[ERROR_NO_MODEL] = {ATTEMPT_NO_MODEL, ATTEMPT_NO_MODEL},
	[ERROR_UNAVAILABLE] = {ATTEMPT_UNAVAILABLE, ATTEMPT_ERROR_EVENT},
	[ERROR_REFUSED] = {ATTEMPT_REFUSED, ATTEMPT_ERROR_EVENT},
};

static enum attempt_result whole_result(const struct attempt *a, const struct piece *end)
{
	if (answer_is_shown(a->answer) || a->outcome.call_count > 0)
		return ATTEMPT_COMPLETE;
	return end->end == STREAM_LIMIT ? ATTEMPT_USED_UP : ATTEMPT_EMPTY;
}

enum attempt_result attempt_result_of_http(enum http_outcome o)
{
	return http_results[o];
}

enum attempt_result attempt_result_of_error(enum error_meaning m, bool in_stream)
{
	return in_stream ? error_results[m].event : error_results[m].body;
}

void attempt_hide(char *text, size_t len, const char *secret)
{
	size_t secret_len = secret == NULL ? 0 : strlen(secret);
	char *end = text + len;

	for (char *p = text; secret_len > 0 && (p = memmem(p, (size_t)(end - p), secret, secret_len)) != NULL;
	     p += secret_len)
		memset(p, '*', secret_len);
}

static const struct error_report *report_of(struct attempt *a, const struct error_report *error)
{
	static const struct error_report no_memory = {.text = "no memory is left"};

	if (a->report == NULL)
		a->report = malloc(sizeof *a->report);
	if (a->report == NULL)
		return &no_memory;
	*a->report = *error;
	return a->report;
}

/* The end of the stream decides where it has one; else it is HTTP's. */
static void judge(struct attempt *a, const struct http_result *h, const struct piece *end)
{
	struct attempt_outcome *o = &a->outcome;
	struct error_report error = no_error;
	bool unended = (end->end == STREAM_CUT || end->end == STREAM_MALFORMED) && !a->finished;

	o->http = h->outcome;
	o->status = h->status;
	o->reused = h->reused;
	o->limit = end->end == STREAM_LIMIT;
	if (unended && h->outcome == HTTP_DONE && h->status != 200) {
		error_report_of_body(&error, h->status, h->body, h->body_len);
		o->result = error_results[error.meaning].body;
	} else if (unended && h->outcome != HTTP_DONE) {
		snprintf(error.text, sizeof error.text, "%s", h->text);
		o->result = http_results[h->outcome];
	} else if (end->end == STREAM_ERROR) {
		error = *end->error;
		o->status = error.status != 0 ? error.status : h->status;
		o->result = error_results[error.meaning].event;
	} else if (end->end == STREAM_COMPLETE || end->end == STREAM_LIMIT) {
		o->result = whole_result(a, end);
	} else {
		snprintf(error.text, sizeof error.text, "%s", end->text);
		o->result = stream_results[end->end];
	}
	attempt_hide(error.text, strlen(error.text), a->bearer);
	o->error = o->result == ATTEMPT_COMPLETE ? &no_error : report_of(a, &error);
}

/* The attempt that ran has ended, or was cancelled. */
static void count_end(const struct attempt *a, unsigned result)
{
	const struct stream_progress *p = stream_progress(a->stream);

	counters_flush(a->counters);
	counters_count(a->counters, SERIES_STREAMS, a->model, 0, -1);
	counters_count(a->counters, SERIES_ATTEMPTS, a->model, result, 1);
	counters_count(a->counters, SERIES_OUTPUT_TOKENS, a->model, 0,
	               counted_tokens(p->completion_tokens, (int64_t)p->tokens));
	counters_count(a->counters, SERIES_INPUT_TOKENS, a->model, 0, counted_tokens(p->prompt_tokens, 0));
	if (a->handlers->took != NULL)
		a->handlers->took(a->arg, result, counted_tokens(p->prompt_tokens, -1),
		                  counted_tokens(p->completion_tokens, (int64_t)p->tokens));
}

/* Takes what is left of the stream; its last piece. */
static struct piece close_stream(struct attempt *a)
{
	struct piece p = {.kind = PIECE_TEXT, .text = ""};

	event_del(a->linger);
	a->transfer = NULL;
	stream_close(a->stream);
	while (stream_next(a->stream, &p)) {
		if (p.kind == PIECE_CALL && a->outcome.call_count < CALLS_MAX)
			a->outcome.calls[a->outcome.call_count++] = p.call;
		else
			answer_take(a->answer, &p);
	}
	return p;
}

static void on_done(void *arg, const struct http_result *h)
{
	struct attempt *a = arg;
	const struct piece end = close_stream(a);

	judge(a, h, &end);
	count_end(a, a->outcome.result);
	a->outcome.prompt_tokens = stream_progress(a->stream)->prompt_tokens;
	a->outcome.completion_tokens = stream_progress(a->stream)->completion_tokens;
	answer_end(a->answer, a->stream, a->outcome.result == ATTEMPT_COMPLETE);
	a->handlers->ended(a->arg);
}

/* The answer is complete, but the server does not end its response: the connection is given
 * up, so that the client does not wait for it. */
static void on_linger(evutil_socket_t fd, short what, void *arg)
{
	struct attempt *a = arg;

	(void)fd;
	(void)what;
	http_cancel(a->transfer);
	on_done(a, &(struct http_result){.outcome = HTTP_DONE, .status = 200, .retry_after_s = -1, .body = ""});
}

/* ---- its life ----------------------------------------------------------------------------------- */

struct attempt *attempt_new(struct event_base *base, struct http *http, struct answer *answer,
                            const struct attempt_handlers *handlers, void *arg)
{
	struct attempt *a = calloc(1, sizeof *a);

	if (a == NULL)
		return NULL;
	a->base = base;
	a->http = http;
	a->answer = answer;
	a->handlers = handlers;
	a->arg = arg;
	a->outcome.error = &no_error;
	a->stream = stream_new();
	a->linger = evtimer_new(base, on_linger, a);
	if (a->stream == NULL || a->linger == NULL) {
		attempt_free(a);
		return NULL;
	}
	return a;
}

void attempt_free(struct attempt *a)
{
	if (a == NULL)
		return;
	if (a->transfer != NULL)
		http_cancel(a->transfer);
	if (a->linger != NULL)
		event_free(a->linger);
	stream_free(a->stream);
	free(a->report);
	free(a);
}

static bool on_response(void *arg, long status, const char *content_type)
{
	(void)arg;
	(void)content_type;
	return status == 200;
}

int attempt_start(struct attempt *a, const struct attempt_request *r)
{
	static const struct http_handlers handlers = {
		.response = on_response, .data = on_data, .read_end = on_read_end, .done = on_done};
	const struct http_request request = {
		.method = "POST",
		.url = r->url,
		.resolve = r->resolve,
		.plain = r->plain,
		.bearer = r->bearer,
		.body = r->body,
		.body_len = r->body_len,
		.labels = r->labels,
		.ca_file = r->ca_file,
		.proxy = r->proxy,
		.connect_ms = r->connect_ms,
		.silence_ms = r->silence_ms,
	};

	if (r->continues)
		answer_continue(a->answer);
	else
		answer_begin(a->answer);
	stream_begin(a->stream, r->tools);
	if (r->verbatim)
		stream_verbatim(a->stream);
	a->stall_ms = r->stall_ms;
	a->bearer = r->bearer;
	a->counters = r->counters;
	a->model = r->model;
	a->was_paused = false;
	a->events = 0;
	a->finished = a->done = a->paused = a->cancelled = false;
	a->unflushed = 0;
	a->outcome = (struct attempt_outcome){.result = ATTEMPT_FAILED, .error = &no_error};
	a->transfer = http_start(a->http, &request, &handlers, a);
	if (a->transfer == NULL)
		return -1;
	counters_count(a->counters, SERIES_STREAMS, a->model, 0, 1);
	if (output_is_full(a->answer->reply->output)) {
		a->paused = true;
		http_pause(a->transfer);
	}
	return 0;
}

void attempt_resume(struct attempt *a)
{
	if (a->transfer != NULL && a->paused) {
		a->was_paused = true;
		http_resume(a->transfer);
	}
	a->paused = false;
}

void attempt_cancel(struct attempt *a)
{
	if (a->transfer == NULL)
		return;
	a->cancelled = true;
	http_drain(a->transfer); /* the LLM has counted what is here */
	http_cancel(a->transfer);
	close_stream(a);
	count_end(a, ATTEMPT_CANCELLED);
	answer_end(a->answer, NULL, false);
}

const struct attempt_outcome *attempt_outcome(const struct attempt *a)
{
	return &a->outcome;
}

json_t *attempt_beside_calls(const struct attempt *a)
{
	const struct buf *text = &a->answer->text;

	return stream_beside_calls(a->stream, text->len == 0 ? "" : text->data, text->len);
}
