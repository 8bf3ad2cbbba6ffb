/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/relay_private.h"

#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/protocol/openai.h"
#include "fcgi/body.h"
#include "fcgi/chat.h"
#include "fcgi/request_log.h"
#include "fcgi/response.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_PER_TOKEN 4

#define NO_SUCH_MODEL      "There is no model \"%.*s\" here. GET /v1/models lists those that there are."
#define NO_LLM             "No language model is available yet. Please try again in a moment."
#define TOO_LARGE          "The request is longer than this service accepts (setting http.body_limit)."
#define TOO_MANY_OF_CLIENT "Too many requests are running from your address. Please wait until one of them has ended."
#define REVOKED            "The answer broke off here because its API key was revoked."
#define STOPPED                                                                                                        \
	"The answer broke off here because the service is being stopped or restarted. Please ask again in a moment."

/* ---- when the program dies --------------------------------------------------------------------- */

static bool can_resume(unsigned char state)
{
	(void)state;
	return false;
}

static size_t broken(struct broken_reply *b, char *out, size_t size, bool *last)
{
	enum phase phase = b->state;

	b->state = PHASE_COMPLETE;
	*last = true;
	if (phase != PHASE_EVENTS || sizeof OPENAI_DIED > size)
		return 0;
	memcpy(out, OPENAI_DIED, sizeof OPENAI_DIED - 1);
	return sizeof OPENAI_DIED - 1;
}

static const struct protocol protocol = {.name = "relay", .can_resume = can_resume, .broken = broken};

/* ---- a relay -------------------------------------------------------------------------------------- */

static void relay_free(struct relay *r)
{
	if (r == NULL)
		return;
	if (r->wait.services != NULL)
		relay_queue_leave(r);
	relay_llm_give_place(r, BALANCE_WITHDRAWN);
	if (r->snapshot != NULL)
		status_release(r->snapshot);
	if (r->again != NULL)
		event_free(r->again);
	openai_relay_request_clear(&r->request);
	openai_relay_stream_free(&r->stream);
	config_unref(r->config);
	trace_free(r->trace);
	buf_free(&r->held);
	buf_free(&r->rejection.body);
	free(r->body);
	free(r);
}

/* How it ended, for whoever counts. What was written stays to be sent. */
static void account(struct relay *r, const char *status)
{
	const struct turn_summary s = {
		.model = r->llm == NULL ? NULL : status_text(r->snapshot, r->llm->model),
		.reason = *r->reason == '\0' ? NULL : r->reason,
		.trace_id = trace_id(r->trace),
		.status = status,
		.tokens = r->stream.events,
		.ttft = r->first_ns != 0 ? (double)(r->first_ns - r->began_ns) / 1e9 : (double)NAN,
		.total = (double)(clock_mono_ns() - r->began_ns) / 1e9,
		.queue_ms = r->wait.waited_ns != 0 ? (double)r->wait.waited_ns / 1e6 : (double)NAN,
		.failovers = r->failovers,
		.replica = r->replica,
	};

	request_log_turn(connection_log(r->connection), &s);
	worker_dismiss(r->worker, r->entry);
	access_turn_end(r->access, r->tokens);
}

/* ---- the ends ---- */

/* The response is written. */
void relay_end(struct relay *r, const char *status)
{
	account(r, status);
	if (r->begun)
		output_end(relay_output(r));
	relay_free(r);
}

void relay_end_broken(struct relay *r, enum failure why, const char *sentence)
{
	struct connection *c = r->connection;
	char event[OPENAI_EVENT_MAX];

	if (r->is_stream) {
		output_write(relay_output(r), event, openai_error_event(event, sizeof event, why, sentence));
		output_set_state(relay_output(r), PHASE_COMPLETE, false);
		relay_end(r, "broken");
		return;
	}
	account(r, "broken");
	relay_free(r);
	output_break(connection_output(c));
}

static void tell(const struct relay_kind *k, struct connection *c, enum failure why, const char *sentence)
{
	const struct openai_failure *f = openai_failure(why);

	if (k->form != NULL)
		k->form->refuse(c, f->status, f->headers, sentence);
	else
		api_fail(c, why, sentence);
}

static void refuse_access(const struct relay *r, const struct access_refusal *refusal)
{
	char headers[ACCESS_HEADERS_MAX];

	counters_add(worker_counters(r->worker), COUNTER_TURNS_REFUSED, 1);
	access_refusal_headers(refusal, headers);
	if (r->kind->form != NULL)
		r->kind->form->refuse(r->connection, refusal->status, headers, refusal->message);
	else
		api_refuse_access(r->connection, refusal);
}

/* There is no answer, or it breaks off. */
void relay_fail(struct relay *r, enum failure why, const char *sentence)
{
	if (r->begun) {
		relay_end_broken(r, why, sentence);
		return;
	}
	account(r, "broken");
	connection_own(r->connection, NULL, NULL);
	tell(r->kind, r->connection, why, sentence);
	relay_free(r);
}

/* What an LLM's server said, in its words. */
void relay_give_refusal(struct relay *r)
{
	char headers[64] = "";

	if (r->rejection.retry_after_s >= 0)
		snprintf(headers, sizeof headers, "Retry-After: %lld\r\n", (long long)r->rejection.retry_after_s);
	account(r, "broken");
	connection_own(r->connection, NULL, NULL);
	response_whole(r->connection, (int)r->rejection.status, r->rejection.type, headers,
	               r->rejection.body.len > 0 ? r->rejection.body.data : "", r->rejection.body.len);
	relay_free(r);
}

void relay_refuse(struct relay *r, const struct place_refusal *refusal)
{
	char headers[64], event[OPENAI_EVENT_MAX];

	snprintf(r->reason, sizeof r->reason, "%s", refusal->reason);
	counters_add(worker_counters(r->worker), COUNTER_TURNS_REFUSED, 1);
	if (r->begun) {
		output_write(relay_output(r), event,
		             openai_error_event(event, sizeof event, FAILURE_FULL, refusal->text));
		output_set_state(relay_output(r), PHASE_COMPLETE, false);
		relay_end(r, "refused");
		return;
	}
	account(r, "refused");
	connection_own(r->connection, NULL, NULL);
	snprintf(headers, sizeof headers, "Retry-After: %u\r\n", refusal->retry_s);
	api_fail_with(r->connection, FAILURE_FULL, headers, refusal->text);
	relay_free(r);
}

/* ---- the client ---- */

static void on_client_left(void *arg)
{
	struct relay *r = arg;

	relay_llm_stop(r);
	account(r, "cancelled");
	relay_free(r);
}

static void stop(struct relay *r, const char *sentence)
{
	relay_llm_stop(r);
	snprintf(r->reason, sizeof r->reason, "%s", "stopped");
	relay_fail(r, FAILURE_UNAVAILABLE, sentence);
}

static void on_stop(void *arg)
{
	stop(arg, STOPPED);
}

static void on_revoked(void *arg)
{
	stop(arg, REVOKED);
}

/* ---- the request ---- */

static void refuse(const struct relay_kind *k, struct worker *w, struct connection *c, enum failure why,
                   const char *sentence)
{
	request_log_refused(connection_log(c), sentence);
	counters_add(worker_counters(w), COUNTER_TURNS_REFUSED, 1);
	tell(k, c, why, sentence);
}

/* Whether no LLM could answer it: it was refused then. */
static bool has_obstacle(const struct relay *r)
{
	struct status_snapshot *s = r->services->snapshot(r->services->arg);
	const char *model = r->request.model;
	enum failure why = FAILURES;
	char text[600];
	struct access_refusal refusal;
	const struct tried none = {.count = 0};
	const struct candidate_needs needs = {.work = r->kind->work, .model = model};

	if (!access_may_use_model(connection_identity(r->connection), model)) {
		access_refuse_model(&refusal);
		refuse_access(r, &refusal);
	} else if (s == NULL || (status_header(s)->usable_count == 0 && !candidates_have_model(s, model) &&
	                         !candidates_embed_model(s, model))) {
		why = FAILURE_UNAVAILABLE;
		snprintf(text, sizeof text, "%s", NO_LLM);
	} else if (!candidates_have_model(s, model) && !candidates_embed_model(s, model)) {
		why = FAILURE_MODEL;
		snprintf(text, sizeof text, NO_SUCH_MODEL, (int)utf8_cut(model, 200), model);
	} else if (candidates_next(s, r->services->cooldown, &none, needs, clock_wall_ms()) == NULL) {
		why = FAILURE_REQUEST;
		snprintf(text, sizeof text, "The model \"%.*s\" %s.", (int)utf8_cut(model, 200), model, r->kind->lacks);
	} else {
		status_release(s);
		return false;
	}
	if (s != NULL)
		status_release(s);
	if (why != FAILURES)
		refuse(r->kind, r->worker, r->connection, why, text);
	return true;
}

static void add_limit_headers(const struct relay *r)
{
	char headers[ACCESS_HEADERS_MAX];

	access_turn_headers(r->access, headers);
	connection_add_headers(r->connection, headers);
}

/* Hosts that count together have decided whether it may begin. */
static void on_decided(void *arg, const struct access_refusal *refusal)
{
	struct relay *r = arg;

	counters_begin_work(worker_counters(r->worker));
	if (refusal == NULL) {
		add_limit_headers(r);
		relay_llm_choose(r);
		return;
	}
	r->access = NULL;
	connection_own(r->connection, NULL, NULL);
	refuse_access(r, refusal);
	worker_dismiss(r->worker, r->entry);
	relay_free(r);
}

/* An estimate of what it will take at most. */
static bool enter(struct relay *r)
{
	const int64_t answer = r->kind->work == WORK_EMBEDDINGS ? 0
	                       : r->request.tokens > 0          ? r->request.tokens
	                                                        : cfg_int(r->config, CFG_LLM_MAX_TOKENS);
	const int64_t choices = r->request.choices < 128 ? r->request.choices : 128;
	const struct access_turn_request wanted = {.identity = connection_identity(r->connection),
	                                           .tokens = r->prompt + answer * choices,
	                                           .revoked = on_revoked,
	                                           .decided = on_decided,
	                                           .arg = r};
	struct access_refusal refusal;

	r->access = access_turn_begin(worker_access(r->worker), &wanted, &refusal);
	if (r->access == NULL)
		refuse_access(r, &refusal);
	return r->access != NULL;
}

static bool admit(struct relay *r, const char *address)
{
	switch (worker_admit(r->worker, address, false, &r->entry)) {
	case ADMISSION_GRANTED:
		return true;
	case ADMISSION_FULL:
	case ADMISSION_WORKER_FULL:
		refuse(r->kind, r->worker, r->connection, FAILURE_BUSY, TOO_MANY);
		break;
	case ADMISSION_CLIENT_FULL:
		refuse(r->kind, r->worker, r->connection, FAILURE_BUSY, TOO_MANY_OF_CLIENT);
		break;
	}
	return false;
}

/* Takes over what is in request, and the body. */
static void start(const struct relay_kind *k, struct worker *w, struct connection *c,
                  struct openai_relay_request *request, char *body, size_t len, const char *address,
                  const struct trace_context *trace)
{
	static const struct connection_owner owner = {
		.resume = relay_llm_resume, .closed = on_client_left, .stop = on_stop};
	const struct chat_services *services = worker_chat_services(w);
	struct relay *r = calloc(1, sizeof *r);

	if (r == NULL || body == NULL || services == NULL) {
		openai_relay_request_clear(request);
		free(body);
		free(r);
		refuse(k, w, c, FAILURE_UNAVAILABLE, NO_MEMORY);
		return;
	}
	*r = (struct relay){.kind = k,
	                    .worker = w,
	                    .connection = c,
	                    .services = services,
	                    .config = services->config(services->arg),
	                    .request = *request,
	                    .body = body,
	                    .body_len = len,
	                    .failure = ATTEMPT_UNREACHABLE,
	                    .prompt = (int64_t)len / BYTES_PER_TOKEN};
	memset(request, 0, sizeof *request);
	r->trace = trace->valid ? trace_new(trace, false, 0) : NULL;
	trace_begin(r->trace, &r->span);
	r->began_ns = clock_mono_ns();
	relay_queue_init(r, chat_client_key(c, address));
	if (relay_llm_init(r) < 0 || r->config == NULL) {
		refuse(k, w, c, FAILURE_UNAVAILABLE, r->config == NULL ? NO_LLM : NO_MEMORY);
		relay_free(r);
		return;
	}
	r->deadline_ms = clock_mono_ms() + cfg_ms(r->config, CFG_LIMITS_TURN_TIME);
	if (has_obstacle(r) || !admit(r, address)) {
		relay_free(r);
		return;
	}
	if (!enter(r)) {
		worker_dismiss(w, r->entry);
		relay_free(r);
		return;
	}
	connection_keep(c, &protocol);
	connection_own(c, &owner, r);
	if (access_turn_is_pending(r->access))
		return;
	add_limit_headers(r);
	relay_llm_choose(r);
}

/* ---- its body ---- */

struct long_request {
	const struct relay_kind *kind;
	char *address;
	struct trace_context trace;
	int status;
	struct openai_relay_request request;
	json_t *problem;
	char *body;
	size_t len;
};

static char *copy(const char *body, size_t len)
{
	char *bytes = malloc(len + 1);

	if (bytes != NULL)
		memcpy(bytes, body, len);
	return bytes;
}

static void long_parse(void *arg, const char *body, size_t len)
{
	struct long_request *l = arg;

	l->status = openai_relay_parse(body, len, &l->request, &l->problem);
	l->body = l->status == 0 ? copy(body, len) : NULL;
	l->len = len;
}

/* status: of openai_relay_parse; steals problem. */
static bool is_refused(const struct relay_kind *k, struct worker *w, struct connection *c, int status, json_t *problem)
{
	const json_t *message = json_object_get(json_object_get(problem, "error"), "message");

	if (status > 0 && k->form != NULL) {
		k->form->refuse(c, status, "", json_string_value(message));
		json_decref(problem);
	} else if (status > 0)
		response_value(c, status, problem);
	else if (status < 0)
		refuse(k, w, c, FAILURE_UNAVAILABLE, NO_MEMORY);
	return status != 0;
}

static void long_parsed(void *arg, struct worker *w, struct connection *c)
{
	struct long_request *l = arg;
	json_t *problem = l->problem;
	char *body = l->body;

	l->problem = NULL;
	l->body = NULL;
	if (!is_refused(l->kind, w, c, l->status, problem))
		start(l->kind, w, c, &l->request, body, l->len, l->address, &l->trace);
}

static void long_free(void *arg)
{
	struct long_request *l = arg;

	openai_relay_request_clear(&l->request);
	json_decref(l->problem);
	free(l->body);
	free(l->address);
	free(l);
}

static void dispatch_long(const struct relay_kind *k, struct worker *w, struct connection *c)
{
	static const struct body_parser parser = {.parse = long_parse, .parsed = long_parsed, .free = long_free};
	const char *address = connection_params(c)->remote_addr;
	struct long_request *l = calloc(1, sizeof *l);

	if (l != NULL) {
		l->kind = k;
		chat_receive_trace(c, &l->trace);
		l->address = address != NULL ? strdup(address) : NULL;
		if ((address == NULL || l->address != NULL) && body_parse(w, c, &parser, l) == 0)
			return;
		long_free(l);
	}
	refuse(k, w, c, FAILURE_UNAVAILABLE, NO_MEMORY);
}

void relay_dispatch(const struct relay_kind *k, struct worker *w, struct connection *c)
{
	struct openai_relay_request request;
	struct trace_context trace;
	json_t *problem;
	size_t len;
	const char *body = connection_body(c, &len);
	int status;

	if (connection_body_too_large(c)) {
		refuse(k, w, c, FAILURE_TOO_LARGE, TOO_LARGE);
		return;
	}
	if (body_is_long(c)) {
		dispatch_long(k, w, c);
		return;
	}
	status = openai_relay_parse(body, len, &request, &problem);
	if (is_refused(k, w, c, status, problem))
		return;
	chat_receive_trace(c, &trace);
	start(k, w, c, &request, copy(body, len), len, connection_params(c)->remote_addr, &trace);
}

void relay_chat(struct worker *w, struct connection *c, char *body, size_t len, const char *address,
                const struct trace_context *trace)
{
	static const struct relay_kind kind = {
		.path = "/v1/chat/completions", .work = WORK_CHAT, .lacks = "answers no chats"};
	struct openai_relay_request request;
	json_t *problem;
	int status = openai_relay_read(body, len, &request, &problem);

	if (is_refused(&kind, w, c, status, problem))
		free(body);
	else
		start(&kind, w, c, &request, body, len, address, trace);
}
