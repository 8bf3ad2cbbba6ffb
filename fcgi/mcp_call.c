/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/mcp_call.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/utf8.h"
#include "core/llm/llm.h"
#include "core/mcp/mcp.h"
#include "core/protocol/protocol.h"
#include "core/turn/candidates.h"
#include "core/turn/tool_round.h"
#include "core/turn/turn.h"
#include "fcgi/request_log.h"
#include "fcgi/response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BEAT_MS  10000
#define TEXT_MAX (256u << 10) /* of a result, in bytes: clients take a million for an event */

#define BUSY     "The service is doing as much as it can at the moment. Please try again in a few seconds."
#define STOPPED  "The call ended early because the service is being stopped or restarted. Please try again in a moment."
#define REVOKED  "The call ended early because its API key was revoked."
#define NO_START "The call could not be made: the service is out of memory. Please try again in a moment."

/* ---- a tool's run --------------------------------------------------------------------------------- */

struct mcp_call {
	struct worker *worker;
	struct connection *connection;
	const struct mcp_offer *offer;
	struct mcp_reply reply;
	struct config *config;
	struct access_turn *access;
	json_t *args;   /* NULL: none */
	unsigned entry; /* its admission */
	bool is_admitted;
	struct tool_context context;
	struct tool_round *round; /* NULL before and after */
	json_t *subjects, *sources;
	char *sandbox; /* a conversation of its own */
	bool failed;
	struct event *timer;
	int64_t began_ms, deadline_ms;
};

static void call_free(struct mcp_call *call)
{
	const struct chat_services *services = worker_chat_services(call->worker);

	if (call->round != NULL)
		tool_round_free(call->round);
	if (call->is_admitted)
		worker_dismiss(call->worker, call->entry);
	access_turn_end(call->access, 0);
	if (call->sandbox != NULL && services != NULL)
		toolbox_forget(services->toolbox, call->sandbox);
	if (call->timer != NULL)
		event_free(call->timer);
	mcp_reply_clear(&call->reply);
	json_decref(call->args);
	json_decref(call->subjects);
	json_decref(call->sources);
	config_unref(call->config);
	free(call->sandbox);
	free(call);
}

static void note_usage(const struct mcp_call *call, const char *outcome)
{
	const struct access_identity *i = connection_identity(call->connection);
	char name[100];
	const struct usage_row row = {.at_ms = clock_wall_ms(),
	                              .took_ms = clock_mono_ms() - call->began_ms,
	                              .key_id = i->key_id,
	                              .subject = i->subject,
	                              .model = name,
	                              .outcome = outcome};

	snprintf(name, sizeof name, "tool:%s", call->offer->name);
	usage_log_add(worker_usage(call->worker), &row);
}

/* The answer; the call is gone then. structured is stolen. */
static void end(struct mcp_call *call, const char *text, bool failed, json_t *structured, const char *outcome)
{
	struct output *o = connection_output(call->connection);

	mcp_reply_result(&call->reply, mcp_reply_text(text, failed, structured));
	note_usage(call, outcome);
	call_free(call);
	output_end(o);
}

static void on_closed(void *arg)
{
	note_usage(arg, "cancelled");
	call_free(arg);
}

static void on_stop(void *arg)
{
	end(arg, STOPPED, true, NULL, "cancelled");
}

static void on_revoked(void *arg)
{
	end(arg, REVOKED, true, NULL, "cancelled");
}

/* All that is written at once fits. */
static void on_resume(void *arg)
{
	(void)arg;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct mcp_call *call = arg;
	int64_t left_ms = call->deadline_ms - clock_mono_ms();
	const struct timeval tv = clock_timeval_ms(left_ms < BEAT_MS ? left_ms : BEAT_MS);

	(void)fd, (void)what;
	if (left_ms <= 0) {
		tool_round_expire(call->round);
		return;
	}
	mcp_reply_beat(&call->reply);
	evtimer_add(call->timer, &tv);
}

static void on_started(void *arg, const struct tool_run_info *run)
{
	mcp_reply_progress(&((struct mcp_call *)arg)->reply, run->tool->progress);
}

static void on_finished(void *arg, const struct tool_run_info *run, const struct tool_result *result)
{
	struct mcp_call *call = arg;

	(void)run;
	call->failed = result->failed;
	for (size_t i = 0; i < result->source_count; i++)
		json_array_append_new(call->sources, json_pack("{s:s*, s:s}", "title", result->sources[i].title, "url",
		                                               result->sources[i].url));
}

/* What the model reads, cut where it is too long; free(). NULL: no memory. */
static char *text_of(const struct tool_round *round)
{
	json_t *results = tool_round_results(round);
	const char *text = json_string_value(json_object_get(json_array_get(results, 0), "content"));
	char *copy = NULL;

	if (text != NULL && strlen(text) <= TEXT_MAX)
		copy = strdup(text);
	else if (text != NULL && asprintf(&copy, "%.*s\n[cut off]", (int)utf8_cut(text, TEXT_MAX), text) < 0)
		copy = NULL;
	json_decref(results);
	return copy;
}

static void on_ended(void *arg)
{
	struct mcp_call *call = arg;
	char *text = text_of(call->round);
	bool failed = text == NULL || call->failed;
	json_t *structured = NULL;

	if (!failed && call->offer->output_schema != NULL)
		structured = json_pack("{s:s, s:O}", "text", text, "sources", call->sources);
	end(call, text != NULL ? text : NO_START, failed, structured, failed ? "failed" : "complete");
	free(text);
}

static const struct tool_round_handlers handlers = {
	.started = on_started,
	.finished = on_finished,
	.ended = on_ended,
};

/* -1: no memory. */
static int start_round(struct mcp_call *call, const struct chat_services *services)
{
	const char *name = call->offer->tool->name, *subject = connection_identity(call->connection)->subject;
	char *arguments = call->args != NULL ? json_dumps(call->args, JSON_COMPACT) : strdup("{}"), id[] = "call",
	     *called = strdup(name);
	struct call made = {.id = id, .name = called, .arguments = arguments};
	const struct call *const calls[] = {&made};
	const struct tool_round_place place = {.box = services->toolbox,
	                                       .context = &call->context,
	                                       .subjects = call->subjects,
	                                       .request_id = connection_request_id(call->connection),
	                                       .counters = worker_counters(call->worker),
	                                       .runs_left = 1};

	if (arguments != NULL && called != NULL) {
		made.len = strlen(arguments);
		call->context = (struct tool_context){.base = services->base,
		                                      .http = services->http,
		                                      .background = services->background,
		                                      .config = call->config,
		                                      .thread = call->sandbox,
		                                      .client = *subject != '\0' ? subject : call->sandbox};
		call->round = tool_round_start(&place, calls, 1, &handlers, call);
	}
	free(arguments);
	free(called);
	return call->round != NULL ? 0 : -1;
}

/* An error of the protocol, or of the tool. */
static void refuse(struct mcp_call *call, int status, const char *headers, const char *sentence)
{
	struct output *o = connection_output(call->connection);

	request_log_refused(connection_log(call->connection), sentence);
	mcp_reply_error(&call->reply, status, headers, status, sentence, NULL);
	call_free(call);
	output_end(o);
}

static void run(struct mcp_call *call)
{
	static const struct connection_owner owner = {.resume = on_resume, .closed = on_closed, .stop = on_stop};
	static unsigned long long count;
	const struct chat_services *services = worker_chat_services(call->worker);
	char headers[ACCESS_HEADERS_MAX];
	struct timeval tv;

	access_turn_headers(call->access, headers);
	connection_add_headers(call->connection, headers);
	call->config = services != NULL ? services->config(services->arg) : NULL;
	call->subjects = json_object();
	call->sources = json_array();
	call->timer = services != NULL ? evtimer_new(services->base, on_timer, call) : NULL;
	if (asprintf(&call->sandbox, "mcp\n%ld\n%llu", (long)getpid(), ++count) < 0)
		call->sandbox = NULL;
	if (call->config == NULL || call->subjects == NULL || call->sources == NULL || call->timer == NULL ||
	    call->sandbox == NULL || start_round(call, services) < 0) {
		connection_own(call->connection, NULL, NULL);
		refuse(call, 503, "Retry-After: 2\r\n", NO_START);
		return;
	}
	call->deadline_ms = call->began_ms + cfg_ms(call->config, CFG_LIMITS_TOOL_TIME);
	tv = clock_timeval_ms(cfg_ms(call->config, CFG_LIMITS_TOOL_TIME) < BEAT_MS
	                              ? cfg_ms(call->config, CFG_LIMITS_TOOL_TIME)
	                              : BEAT_MS);
	evtimer_add(call->timer, &tv);
	connection_own(call->connection, &owner, call);
}

static void refuse_access(struct mcp_call *call, const struct access_refusal *refusal)
{
	char headers[ACCESS_HEADERS_MAX];

	access_refusal_headers(refusal, headers);
	refuse(call, refusal->status, headers, refusal->message);
}

/* Hosts that count together have decided whether it may run. */
static void on_decided(void *arg, const struct access_refusal *refusal)
{
	struct mcp_call *call = arg;

	if (refusal == NULL) {
		run(call);
		return;
	}
	call->access = NULL;
	connection_own(call->connection, NULL, NULL);
	refuse_access(call, refusal);
}

static void on_pending_closed(void *arg)
{
	call_free(arg);
}

static void on_pending_stop(void *arg)
{
	struct mcp_call *call = arg;

	connection_own(call->connection, NULL, NULL);
	refuse(call, 503, "Retry-After: 2\r\n", STOPPED);
}

void mcp_call_start(struct worker *w, struct connection *c, const struct mcp_offer *offer, const json_t *args,
                    const char *address, struct mcp_reply *reply)
{
	static const struct connection_owner pending = {.closed = on_pending_closed, .stop = on_pending_stop};
	const struct connection_orphan *orphan = connection_orphan(c);
	struct mcp_call *call = calloc(1, sizeof *call);
	const struct access_turn_request wanted = {.identity = connection_identity(c),
	                                           .resumed = orphan != NULL,
	                                           .revoked = on_revoked,
	                                           .decided = on_decided,
	                                           .arg = call};
	struct access_refusal refusal;

	if (call == NULL) {
		mcp_reply_error(reply, 503, "Retry-After: 2\r\n", MCP_INTERNAL_ERROR, NO_START, NULL);
		mcp_reply_clear(reply);
		output_end(connection_output(c));
		return;
	}
	*call = (struct mcp_call){.worker = w,
	                          .connection = c,
	                          .offer = offer,
	                          .reply = *reply,
	                          .args = json_incref((json_t *)args),
	                          .failed = true,
	                          .began_ms = clock_mono_ms()};
	memset(reply, 0, sizeof *reply);
	if (orphan != NULL)
		mcp_reply_resume(&call->reply, orphan->known.memo);
	if (worker_admit(w, address, orphan != NULL, &call->entry) != ADMISSION_GRANTED) {
		refuse(call, 429, "Retry-After: 2\r\n", BUSY);
		return;
	}
	call->is_admitted = true;
	call->access = access_turn_begin(worker_access(w), &wanted, &refusal);
	if (call->access == NULL) {
		refuse_access(call, &refusal);
		return;
	}
	connection_keep(c, &protocol_mcp_tool);
	if (!offer->is_repeatable)
		output_set_state(connection_output(c), MCP_REPLY_ONCE, false);
	if (access_turn_is_pending(call->access))
		connection_own(c, &pending, call);
	else
		run(call);
}

/* ---- llm_status -------------------------------------------------------------------------------------- */

static const char *id_of(const struct status_snapshot *s, const struct status_llm *l)
{
	const char *id = status_text(s, l->model);

	return id != NULL && *id != '\0' ? id : status_llm_name(s, l);
}

/* Whether it is there, or will be again: a host that nobody named may have none. */
static bool is_served(const struct status_snapshot *s, size_t rank)
{
	return rank < status_header(s)->usable_count ||
	       !llm_kind_info((enum llm_kind)status_candidate(s, rank)->kind)->must_answer;
}

/* One line for people; structured, for programs. */
static int add_model(struct buf *text, json_t *models, const struct config *config, const struct status_snapshot *s,
                     size_t rank)
{
	const struct status_llm *l = status_candidate(s, rank);
	const char *suffix = cfg_str(config, CFG_HTTP_AGENT_SUFFIX), *id = id_of(s, l);
	const char *health = llm_health_text((enum llm_health)l->health);
	bool is_usable = rank < status_header(s)->usable_count;
	json_t *model = json_pack("{s:s, s:s, s:b, s:b}", "id", id, "status", health, "usable", is_usable, "current",
	                          rank == 0 && is_usable);

	if (suffix != NULL && *suffix != '\0')
		json_object_set_new(model, "agent", json_sprintf("%s%s", id, suffix));
	if (l->context_length > 0)
		json_object_set_new(model, "context_length", json_integer(l->context_length));
	return json_array_append_new(models, model) |
	       buf_addf(text, "- %s: %s%s%s\n", id, health, rank == 0 && is_usable ? ", answers now" : "",
	                is_usable ? "" : ", cannot answer now");
}

static bool has_id(const json_t *models, const char *id)
{
	const json_t *model;
	size_t i;

	json_array_foreach(models, i,
	                   model) if (strcmp(json_string_value(json_object_get(model, "id")), id) == 0) return true;
	return false;
}

json_t *mcp_call_status(struct worker *w, struct connection *c)
{
	const struct config *config = published_config(worker_published(w));
	struct status_snapshot *s = published_acquire(worker_published(w));
	bool is_stale = published_is_stale(worker_published(w), NULL, NULL);
	bool is_ready = s != NULL && status_header(s)->usable_count > 0;
	struct buf text = BUF_INIT(1u << 20);
	json_t *models = json_array(), *tools = json_array(), *offers = mcp_offers_list(config, connection_identity(c)),
	       *offer;
	json_t *result = NULL;
	size_t i;
	int failed = buf_adds(&text,
	                      is_ready ? "A language model can answer now.\n" : "No language model can answer now.\n");

	if (is_stale)
		failed |= buf_adds(&text,
		                   "Nobody watches them at the moment (tt-agentd does not run), so this may be old.\n");
	for (size_t rank = 0; s != NULL && rank < status_header(s)->candidate_count; rank++) {
		const char *id = id_of(s, status_candidate(s, rank));

		if (is_served(s, rank) && !has_id(models, id) && access_may_use_model(connection_identity(c), id))
			failed |= add_model(&text, models, config, s, rank);
	}
	json_array_foreach(offers, i, offer) json_array_append(tools, json_object_get(offer, "name"));
	if (failed == 0)
		result = mcp_reply_text(text.data, false,
		                        json_pack("{s:s, s:b, s:O, s:O}", "status", is_ready ? "ready" : "waiting",
		                                  "stale", is_stale, "models", models, "tools", tools));
	json_decref(models);
	json_decref(tools);
	json_decref(offers);
	buf_free(&text);
	if (s != NULL)
		status_release(s);
	return result;
}
