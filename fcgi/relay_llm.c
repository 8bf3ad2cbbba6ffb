/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/relay_private.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/utf8.h"
#include "core/http/http_proxy.h"
#include "core/llm/llm.h"
#include "core/trace/labels.h"
#include "fcgi/response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Of an answer that is no stream, so much is waited for before its first byte is sent: until then another LLM can
 * take its place, and its length is known. */
#define HELD_MAX  (1u << 20)
#define EVENT_MAX (256u << 10) /* the longest event that is sent as a whole */
#define CHUNK_MAX (64u << 10)  /* of curl */

#define NO_ANSWER      "No language model could answer right now. Please try again in a moment."
#define BROKE_OFF      "The answer broke off here because the connection to the language model was lost. Please ask again."
#define WENT_QUIET     "The answer broke off here because the language model went silent. Please ask again."
#define NO_CREDENTIALS "The language model does not accept this service's credentials. Please tell the administrator."
#define NO_CREDIT      "The account that pays for the language model is used up. Please tell the administrator."

/* ---- what follows when an LLM fails ----------------------------------------------------------- */

static const struct consequence {
	bool next;   /* another one may do better */
	bool counts; /* against its health */
	bool own;    /* it is this service's business: what its server said is not passed on */
	enum failure why;
	const char *sentence, *broken; /* before the first byte, and after it */
} consequences[ATTEMPT_RESULTS] = {
	[ATTEMPT_EMPTY] = {true, true, false, FAILURE_UPSTREAM, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_USED_UP] = {false, false, false, FAILURE_REQUEST, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_FILTERED] = {false, false, false, FAILURE_FILTERED, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_UNREACHABLE] = {true, true, false, FAILURE_UNAVAILABLE, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_TIMEOUT] = {true, true, false, FAILURE_UNAVAILABLE, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_SILENT] = {true, true, false, FAILURE_UPSTREAM, NO_ANSWER, WENT_QUIET},
	[ATTEMPT_CUT] = {true, true, false, FAILURE_UPSTREAM, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_ERROR_EVENT] = {true, true, false, FAILURE_UPSTREAM, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_MALFORMED] = {true, true, false, FAILURE_UPSTREAM, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_BUSY] = {true, false, false, FAILURE_BUSY, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_UNAVAILABLE] = {true, true, false, FAILURE_UNAVAILABLE, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_UNAUTHORIZED] = {true, true, true, FAILURE_SETUP, NO_CREDENTIALS, BROKE_OFF},
	[ATTEMPT_NO_CREDIT] = {true, true, true, FAILURE_SETUP, NO_CREDIT, BROKE_OFF},
	[ATTEMPT_NO_MODEL] = {true, true, false, FAILURE_SETUP, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_OVERFLOW] = {true, false, false, FAILURE_OVERFLOW, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_REFUSED] = {false, false, false, FAILURE_REQUEST, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_NO_RESOURCES] = {false, false, false, FAILURE_BUSY, TOO_MANY, BROKE_OFF},
	[ATTEMPT_FAILED] = {true, false, false, FAILURE_UPSTREAM, NO_ANSWER, BROKE_OFF},
};

static void on_again(evutil_socket_t fd, short what, void *arg);

int relay_llm_init(struct relay *r)
{
	openai_relay_stream_init(&r->stream);
	buf_init(&r->held, HELD_MAX + CHUNK_MAX);
	r->again = evtimer_new(r->services->base, on_again, r);
	return r->again != NULL ? 0 : -1;
}

/* No LLM is left. */
static void conclude(struct relay *r)
{
	const struct consequence *f = &consequences[r->failure];

	bool unsupported = r->rejection.status == 404 || r->rejection.status == 405 || r->rejection.status == 501;

	if (unsupported && r->kind->unsupported != NULL)
		relay_fail(r, FAILURE_MODEL, r->kind->unsupported);
	else if (r->rejection.status != 0 && !r->begun)
		relay_give_refusal(r);
	else
		relay_fail(r, f->why, f->sentence);
}

/* ---- the LLMs ---- */

static void report(const struct relay *r, enum http_outcome outcome, long status, const char *text)
{
	const struct status_header *h = status_header(r->snapshot);
	const struct turn_report report = {
		.instance = r->llm->instance,
		.epoch = h->epoch,
		.generation = h->generation,
		.began_boot_ms = r->began_boot_ms,
		.outcome = outcome,
		.status = status,
		.text = text,
	};

	if (r->services->report != NULL)
		r->services->report(r->services->arg, &report);
}

void relay_llm_give_place(struct relay *r, enum balance_end end)
{
	if (r->place.file == 0)
		return;
	balance_give(r->services->balance, &r->place, end, clock_boot_ns());
	chat_services_freed(r->services, r->snapshot, r->llm);
}

/* The attempt that ran has ended, or was cancelled (result ATTEMPT_RESULTS). */
static void attempt_over(struct relay *r, unsigned result, const struct openai_relay_end *e)
{
	struct counters *counters = r->services->counters;
	const struct access_identity *i = connection_identity(r->connection);
	const char *model = status_llm_name(r->snapshot, r->llm);
	int64_t completion = e != NULL && e->completion_tokens >= 0 ? e->completion_tokens : r->stream.events;
	const struct usage_row row = {
		.at_ms = clock_wall_ms(),
		.took_ms = clock_boot_ms() - r->began_boot_ms,
		.key_id = i->key_id,
		.subject = i->subject,
		.model = model != NULL ? model : "",
		.outcome = result < ATTEMPT_RESULTS ? attempt_result_text((enum attempt_result)result) : "cancelled",
		.prompt_tokens = e != NULL ? e->prompt_tokens : -1,
		.completion_tokens = completion,
	};

	r->transfer = NULL;
	if (!r->repeats)
		relay_llm_give_place(r, result == ATTEMPT_COMPLETE ? BALANCE_ANSWERED
		                        : result == ATTEMPT_BUSY   ? BALANCE_BUSY
		                                                   : BALANCE_WITHDRAWN);
	counters_count(counters, SERIES_STREAMS, r->model, 0, -1);
	counters_count(counters, SERIES_ATTEMPTS, r->model, result, 1);
	counters_count(counters, SERIES_OUTPUT_TOKENS, r->model, 0, completion);
	counters_count(counters, SERIES_INPUT_TOKENS, r->model, 0, row.prompt_tokens > 0 ? row.prompt_tokens : 0);
	usage_log_add(worker_usage(r->worker), &row);
	if (row.prompt_tokens >= 0)
		r->tokens += row.prompt_tokens;
	else if (completion > 0 || result == ATTEMPT_COMPLETE)
		r->tokens += r->prompt;
	r->tokens += completion;
}

static void note_failover(struct relay *r, const struct status_snapshot *snapshot, const struct status_llm *next)
{
	const struct event_record record =
		event_record_of(EVENT_FAILOVER, status_llm_name(snapshot, next), status_text(snapshot, next->deploy_id),
	                        status_llm_name(r->snapshot, r->llm), attempt_result_text(r->failure));

	r->failovers++;
	if (r->services->note != NULL)
		r->services->note(r->services->arg, &record);
}

static void attempt(struct relay *r);

void relay_llm_choose(struct relay *r)
{
	const struct candidate_needs needs = {
		.work = r->kind->work,
		.model = r->request.model,
		.quirks = r->services->quirks,
		.client = connection_identity(r->connection),
	};
	struct candidate_wish wish = {.balance = r->services->balance, .config = r->config};
	struct status_snapshot *snapshot = r->services->snapshot(r->services->arg);
	struct candidate_group group = {.count = 0};
	const struct status_llm *next = NULL;

	if (snapshot != NULL)
		candidates_group(snapshot, r->services->cooldown, &r->tried, needs, clock_wall_ms(), &group);
	if (group.count > 0)
		next = place_wait_take(&r->wait, snapshot, &group, &wish, &r->place);
	if (group.count > 0 && next == NULL) {
		status_release(snapshot);
		relay_queue_enter(r);
		return;
	}
	relay_queue_leave(r);
	if (next == NULL) {
		if (snapshot != NULL)
			status_release(snapshot);
		conclude(r);
		return;
	}
	if (r->llm != NULL)
		note_failover(r, snapshot, next);
	if (r->snapshot != NULL)
		status_release(r->snapshot);
	r->snapshot = snapshot;
	r->llm = next;
	r->replica = group.count > 1 || r->replica != NULL ? candidate_replica_name(snapshot, next) : NULL;
	r->model = counters_member(r->services->counters, LABEL_MODEL, status_llm_name(snapshot, next));
	r->retried = false;
	attempt(r);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct relay *r = arg;

	(void)fd;
	(void)what;
	counters_begin_work(r->services->counters);
	if (relay_queue_waits(r))
		relay_queue_late(r);
	else if (r->repeats)
		attempt(r);
	else
		relay_llm_choose(r);
}

/* Outside the callbacks of the attempt that has ended. */
static void attempt_again(struct relay *r)
{
	event_active(r->again, EV_TIMEOUT, 0);
}

static void attempt_failed(struct relay *r, enum attempt_result result, const struct http_result *h,
                           const struct error_report *error)
{
	const struct consequence *f = &consequences[result];
	const char *text = error != NULL ? error->text : h != NULL ? h->text : "";
	enum http_outcome outcome = h != NULL ? h->outcome : HTTP_DONE;
	long status = error != NULL && error->status != 0 ? error->status : r->status;

	r->failure = result;
	snprintf(r->reason, sizeof r->reason, "%s%s%.*s", attempt_result_text(result), *text == '\0' ? "" : ": ",
	         (int)utf8_cut(text, 250), text);
	if (result != ATTEMPT_NO_RESOURCES) /* which is logged already, once for all */
		log_event(LOG_ATTEMPT_FAILED, L_STR("request_id", connection_request_id(r->connection)),
		          L_STR("model", status_text(r->snapshot, r->llm->model)),
		          L_STR("result", attempt_result_text(result)), L_INT("status", status), L_STR("text", text),
		          L_INT("shown", r->committed));
	if (f->counts && status != 501 && (r->does_own || f->own || outcome != HTTP_DONE)) {
		cooldown_add(r->services->cooldown, r->llm->instance, clock_wall_ms());
		if (result == ATTEMPT_NO_CREDIT)
			status = 402;
		else if (result == ATTEMPT_UNAUTHORIZED && status != 403)
			status = 401;
		report(r, outcome == HTTP_DONE && status < 400 ? HTTP_CUT : outcome, status,
		       outcome == HTTP_DONE ? text : "");
	}
	if (r->committed) {
		relay_end_broken(r, f->why, f->broken);
		return;
	}
	tried_add(&r->tried, r->llm->instance);
	if (f->next)
		attempt_again(r);
	else
		conclude(r);
}

/* ---- what an LLM answers ---- */

static void begin(struct relay *r, size_t length)
{
	char headers[100] = "";
	size_t len = 0;

	if (r->begun)
		return;
	r->begun = true;
	/* If the body breaks off, Apache leaves it without an end, but would wait for the next request before it closes
	 * the client's connection. */
	if (!r->is_stream && length > r->held.len)
		len = (size_t)snprintf(headers, sizeof headers, "Connection: close\r\n");
	if (!r->is_stream && length != SIZE_MAX)
		snprintf(headers + len, sizeof headers - len, "Content-Length: %zu\r\n", length);
	response_head(r->connection, (int)r->status, r->type, headers);
	output_set_state(relay_output(r), r->is_stream ? PHASE_EVENTS : PHASE_BYTES, false);
}

void relay_llm_begin_stream(struct relay *r)
{
	if (r->begun)
		return;
	r->status = 200;
	snprintf(r->type, sizeof r->type, "%s", "text/event-stream");
	r->is_stream = true;
	begin(r, SIZE_MAX);
}

/* From here on it is this LLM's answer, or a broken one. */
static void commit(struct relay *r)
{
	if (r->committed)
		return;
	r->committed = true;
	r->first_ns = clock_mono_ns();
	counters_observe(r->services->counters, SERIES_FIRST_TOKEN, r->model, r->first_ns - r->began_ns, 1);
	free(r->body);
	r->body = NULL;
	if (r->does_own)
		report(r, HTTP_DONE, TURN_REPORT_SERVING, "");
}

static void send_held(struct relay *r, size_t len)
{
	if (len > 0)
		output_write(relay_output(r), r->held.data, len);
	buf_consume(&r->held, len);
	r->searched = r->held.len;
	if (output_is_full(relay_output(r)) && r->transfer != NULL && !r->paused) {
		r->paused = true;
		http_pause(r->transfer);
	}
}

/* An error at the very beginning, which the client need not see. True: the attempt has failed. */
static bool begins_with_error(struct relay *r, size_t len, bool *known)
{
	struct error_report error;
	enum attempt_result result;

	*known = true;
	if (r->committed || !openai_relay_begins_with_error(r->held.data, len, known, &error))
		return false;
	if (r->transfer != NULL)
		http_cancel(r->transfer);
	result = attempt_result_of_error(error.meaning, true);
	attempt_hide(error.text, strlen(error.text), status_text(r->snapshot, r->llm->token));
	attempt_over(r, result, NULL);
	attempt_failed(r, result, NULL, &error);
	return true;
}

/* Whole events go to the client. */
static void pass_events(struct relay *r)
{
	size_t len = openai_relay_events(r->held.data, r->held.len, r->searched);
	const int64_t before = r->stream.events;
	bool known;

	r->searched = r->held.len;
	if (len == 0 && r->held.len > EVENT_MAX)
		len = r->held.len;
	if (len == 0 || begins_with_error(r, len, &known))
		return;
	begin(r, SIZE_MAX);
	if (known)
		commit(r);
	openai_relay_stream_add(&r->stream, r->held.data, len);
	if (r->stream.events > before)
		http_progress(r->transfer, cfg_ms(r->config, CFG_LLM_STALL_TIMEOUT));
	send_held(r, len);
}

static void pass_bytes(struct relay *r)
{
	bool waits = r->is_json && (!r->request.streams || r->length >= 0) && r->held.len <= HELD_MAX &&
	             r->length <= (int64_t)HELD_MAX;

	if (!r->committed && waits)
		return;
	if (!r->committed && r->begun) { /* with the head of a stream */
		http_cancel(r->transfer);
		attempt_over(r, ATTEMPT_MALFORMED, NULL);
		attempt_failed(r, ATTEMPT_MALFORMED, NULL, NULL);
		return;
	}
	begin(r, r->length >= 0 ? (size_t)r->length : SIZE_MAX);
	commit(r);
	send_held(r, r->held.len);
}

static bool on_response(void *arg, long status, const char *type)
{
	struct relay *r = arg;

	r->status = status;
	r->length = http_content_length(r->transfer);
	snprintf(r->type, sizeof r->type, "%s", type != NULL ? type : "application/octet-stream");
	r->is_json = strncasecmp(r->type, "application/json", 16) == 0;
	if (status >= 200 && status < 300)
		r->is_stream = r->begun || strncasecmp(r->type, "text/event-stream", 17) == 0;
	return true;
}

static bool is_success(const struct relay *r)
{
	return r->status >= 200 && r->status < 300;
}

static void on_data(void *arg, const char *bytes, size_t len)
{
	struct relay *r = arg;

	if (buf_add(&r->held, bytes, len) < 0) {
		http_cancel(r->transfer);
		attempt_over(r, ATTEMPT_MALFORMED, NULL);
		attempt_failed(r, ATTEMPT_MALFORMED, NULL, NULL);
		return;
	}
	if (!is_success(r))
		return;
	if (r->is_stream)
		pass_events(r);
	else
		pass_bytes(r);
}

/* Everything of the answer was written. */
static void complete(struct relay *r, const struct openai_relay_end *e)
{
	attempt_over(r, ATTEMPT_COMPLETE, e);
	if (r->does_own)
		report(r, HTTP_DONE, 200, "");
	*r->reason = '\0';
	output_set_state(relay_output(r), PHASE_COMPLETE, false);
	relay_end(r, "complete");
}

static void stream_ended(struct relay *r, const struct http_result *h)
{
	struct openai_relay_end e;
	enum attempt_result result;
	bool known;

	/* The last event may end without an empty line. */
	if (h->outcome == HTTP_DONE && r->held.len > 0) {
		if (begins_with_error(r, r->held.len, &known))
			return;
		openai_relay_stream_add(&r->stream, r->held.data, r->held.len);
	}
	openai_relay_stream_judge(&r->stream, &e);
	if (h->outcome == HTTP_DONE && (e.whole || e.failed)) {
		begin(r, SIZE_MAX);
		commit(r);
		send_held(r, r->held.len);
	}
	if (h->outcome == HTTP_DONE && e.whole) {
		complete(r, &e);
		return;
	}
	if (e.failed && r->committed) { /* its server has told the client itself */
		result = attempt_result_of_error(e.error.meaning, true);
		attempt_over(r, result, &e);
		output_set_state(relay_output(r), PHASE_COMPLETE, false);
		snprintf(r->reason, sizeof r->reason, "%s", attempt_result_text(result));
		relay_end(r, "broken");
		return;
	}
	result = h->outcome == HTTP_DONE ? ATTEMPT_CUT : attempt_result_of_http(h->outcome);
	attempt_over(r, result, &e);
	attempt_failed(r, result, h, NULL);
}

/* An answer that was held until it was whole. */
static void deliver(struct relay *r, const struct http_result *h)
{
	struct openai_relay_end e;
	enum attempt_result result = ATTEMPT_CUT;

	openai_relay_judge(r->held.len > 0 ? r->held.data : "", r->held.len, &e);
	if (e.failed) {
		result = attempt_result_of_error(e.error.meaning, false);
		attempt_over(r, result, &e);
		attempt_failed(r, result, NULL, &e.error);
	} else if (h->outcome == HTTP_DONE && (e.whole || !r->is_json)) {
		begin(r, r->held.len);
		commit(r);
		send_held(r, r->held.len);
		complete(r, &e);
	} else {
		if (h->outcome != HTTP_DONE)
			result = attempt_result_of_http(h->outcome);
		attempt_over(r, result, NULL);
		attempt_failed(r, result, h, NULL);
	}
}

/* It has a status that is no success. */
static void refused(struct relay *r, const struct http_result *h)
{
	const char *token = status_text(r->snapshot, r->llm->token);
	struct error_report error;
	enum attempt_result result;

	error_report_of_body(&error, r->status, r->held.len > 0 ? r->held.data : "", r->held.len);
	result = r->status < 400 ? ATTEMPT_MALFORMED : attempt_result_of_error(error.meaning, false);
	if (r->held.len > 0)
		attempt_hide(r->held.data, r->held.len, token);
	attempt_hide(error.text, strlen(error.text), token);
	if (r->status >= 400 && !consequences[result].own) {
		buf_free(&r->rejection.body);
		r->rejection.body = r->held;
		buf_init(&r->held, HELD_MAX + CHUNK_MAX);
		r->rejection.status = r->status;
		r->rejection.retry_after_s = h->retry_after_s;
		snprintf(r->rejection.type, sizeof r->rejection.type, "%s", r->type);
	}
	attempt_over(r, result, NULL);
	attempt_failed(r, result, NULL, &error);
}

static void on_done(void *arg, const struct http_result *h)
{
	struct relay *r = arg;
	enum attempt_result result;

	counters_begin_work(r->services->counters);
	r->transfer = NULL;
	if (h->reused && !r->committed && !r->retried) { /* nobody's fault */
		r->retried = r->repeats = true;
		attempt_over(r, attempt_result_of_http(h->outcome), NULL);
		attempt_again(r);
	} else if (h->outcome == HTTP_DONE && !is_success(r)) {
		refused(r, h);
	} else if (!is_success(r)) {
		result = attempt_result_of_http(h->outcome);
		attempt_over(r, result, NULL);
		attempt_failed(r, result, h, NULL);
	} else if (r->is_stream) {
		stream_ended(r, h);
	} else if (!r->committed) {
		deliver(r, h);
	} else if (h->outcome == HTTP_DONE) {
		complete(r, NULL);
	} else {
		result = attempt_result_of_http(h->outcome);
		attempt_over(r, result, NULL);
		attempt_failed(r, result, h, NULL);
	}
}

/* ---- how it is asked ---- */

static bool does_own(const struct relay *r)
{
	switch (r->kind->work) {
	case WORK_CHAT:
		return true;
	case WORK_COMPLETIONS:
		return r->llm->uses_completions != 0;
	case WORK_EMBEDDINGS:
		return candidate_embeds(r->snapshot, r->llm);
	}
	return false;
}

static void attempt(struct relay *r)
{
	static const struct http_handlers handlers = {.response = on_response, .data = on_data, .done = on_done};
	const struct config *c = r->config;
	const char *model = status_text(r->snapshot, r->llm->model), *url = status_text(r->snapshot, r->llm->url);
	int64_t left_ms = r->deadline_ms - clock_mono_ms();
	char *sibling = llm_sibling_url(url, r->kind->path);
	char nonce[LABELS_NONCE_MAX + 1];
	struct labels labels;
	size_t len = 0;
	char *body =
		openai_relay_body(r->body, r->body_len, &r->request, model != NULL ? model : r->request.model, &len);
	struct http_request request = {
		.method = "POST",
		.url = r->kind->work == WORK_CHAT ? url : sibling,
		.resolve = status_text(r->snapshot, r->llm->resolve),
		.plain = r->llm->plain != 0,
		.bearer = status_text(r->snapshot, r->llm->token),
		.ca_file = cfg_str(c, CFG_CLOUD_CA_FILE),
		.body = body,
		.body_len = len,
		.connect_ms = cfg_ms(c, CFG_LLM_CONNECT_TIMEOUT),
		.total_ms = left_ms > 0 ? left_ms : 1,
		/* What is no stream comes at the end, all at once. */
		.silence_ms = r->request.streams ? cfg_ms(c, CFG_LLM_SILENCE_TIMEOUT) : 0,
	};

	r->repeats = false;
	r->does_own = does_own(r);
	r->status = 0;
	r->length = -1;
	r->is_stream = r->begun;
	r->is_json = r->paused = false;
	r->searched = 0;
	buf_reset(&r->held);
	labels_nonce(nonce);
	labels_set(&labels, connection_request_id(r->connection), nonce, r->trace, &r->span);
	request.labels = labels.lines;
	request.proxy = r->llm->kind == LLM_CLOUD && request.url != NULL ? http_proxy_for(c, request.url) : NULL;
	r->began_boot_ms = clock_boot_ms();
	if (body != NULL && request.url != NULL)
		r->transfer = http_start(r->services->http, &request, &handlers, r);
	free(body);
	free(sibling);
	if (r->transfer == NULL) {
		relay_fail(r, FAILURE_UNAVAILABLE, NO_MEMORY);
		return;
	}
	counters_count(r->services->counters, SERIES_STREAMS, r->model, 0, 1);
}

/* ---- the client ---- */

void relay_llm_resume(void *arg)
{
	struct relay *r = arg;

	if (r->paused && r->transfer != NULL)
		http_resume(r->transfer);
	r->paused = false;
}

/* Whatever runs ends. */
void relay_llm_stop(struct relay *r)
{
	struct openai_relay_end e;

	if (r->transfer == NULL)
		return;
	http_cancel(r->transfer);
	openai_relay_stream_judge(&r->stream, &e);
	attempt_over(r, ATTEMPT_RESULTS, &e);
}
