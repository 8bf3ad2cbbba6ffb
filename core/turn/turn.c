/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/utf8.h"
#include "core/turn/prompt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOPPED                                                                                                        \
	"The answer broke off here because the service is being stopped or restarted. Please ask again in a moment."

/* ---- ADMIT, WAIT: for an LLM -------------------------------------------------------- */

bool chat_services_has_llm(const struct chat_services *s)
{
	struct status_snapshot *snapshot = s->snapshot(s->arg);
	bool usable = snapshot != NULL && status_header(snapshot)->usable_count > 0;

	if (snapshot != NULL)
		status_release(snapshot);
	return usable;
}

static enum step after_waiting(struct turn *t)
{
	struct reply *r = t->answer.reply;

	if (t->config != NULL && chat_services_has_llm(t->services))
		return STEP_LOAD;
	t->log.status = "waiting";
	counters_add(t->services->counters, COUNTER_TURNS_WAITING, 1);
	r->protocol->waiting(r, t->config);
	return STEP_END;
}

static enum step admit(struct turn *t)
{
	return t->config != NULL && chat_services_has_llm(t->services) ? STEP_LOAD : STEP_WAIT;
}

static void on_llm_came(void *arg)
{
	struct turn *t = arg;

	t->proceed(t);
}

static enum step wait_for_llm(struct turn *t)
{
	int64_t hold_ms = t->config == NULL ? 0 : cfg_ms(t->config, CFG_POLLING_HOLD);

	t->waiter = (struct waiter){.called = on_llm_came, .arg = t};
	if (hold_ms <= 0 ||
	    !wait_queue_enter(t->services->waiting, &t->waiter, (size_t)cfg_int(t->config, CFG_LIMITS_WAITING)))
		return after_waiting(t);
	counters_add(t->services->counters, COUNTER_TURNS_QUEUED, 1);
	trace_begin(t->trace, &t->upstream.span);
	t->deadline_ms = clock_mono_ms() + hold_ms;
	turn_wake_at_deadline(t);
	return STEP_STAY;
}

static void stop_waiting(struct turn *t)
{
	const struct span_end end = {.name = "wait for an LLM", .kind = SPAN_INTERNAL, .parent = &t->span};

	trace_end(t->trace, &t->upstream.span, &end);
	wait_queue_leave(&t->waiter);
	counters_add(t->services->counters, COUNTER_TURNS_QUEUED, -1);
}

/* An LLM has become available, or the time is up. */
static enum step waited(struct turn *t)
{
	stop_waiting(t);
	return after_waiting(t);
}

static enum step wait_longer(struct turn *t)
{
	return turn_beat(t) ? STEP_STAY : waited(t);
}

static enum step load(struct turn *t)
{
	return turn_tools_find(t) < 0 ? turn_fail(t, FAILURE_UNAVAILABLE, TURN_NO_MEMORY) : turn_load(t);
}

/* ---- END: the one way out ----------------------------------------------------------------- */

static double seconds(int64_t ns)
{
	return ns < 0 ? (double)NAN : (double)ns / 1e9;
}

/* NaN: it did not wait. */
static double waited_ms(int64_t ns)
{
	return ns == 0 ? (double)NAN : (double)ns / 1e6;
}

static void log_turn(const struct turn *t, const struct usage *u)
{
	const struct upstream *up = &t->upstream;
	const struct turn_summary s = {
		.model = up->llm == NULL ? NULL : status_text(up->snapshot, up->llm->model),
		.reason = *t->log.reason == '\0' ? NULL : t->log.reason,
		.replica = up->replica,
		.trace_id = trace_id(t->trace),
		.status = t->log.status,
		.tokens = u->tokens,
		.ttft = seconds(u->ttft_ns),
		.total = seconds(u->total_ns),
		.queue_ms = waited_ms(t->queue.wait.waited_ns),
		.tool_runs = t->log.tool_runs,
		.failovers = t->log.failovers,
	};

	if (t->summary != NULL) {
		t->summary(t->arg, &s);
		return;
	}
	log_event(LOG_TURN, L_STR("request_id", t->log.request_id),
	          L_STR("client", t->log.client[0] != '\0' ? t->log.client : NULL), L_STR("model", s.model),
	          L_STR("replica", s.replica), L_STR("status", s.status), L_INT("tokens", s.tokens),
	          L_REAL("ttft", s.ttft), L_REAL("total", s.total), L_REAL("queue_ms", s.queue_ms),
	          L_INT("tools", s.tool_runs), L_INT("failovers", s.failovers), L_STR("reason", s.reason),
	          L_STR("trace_id", s.trace_id));
}

static void end_trace(struct turn *t, const struct usage *u)
{
	const struct upstream *up = &t->upstream;
	const bool failed = strcmp(t->log.status, "broken") == 0;
	const struct log_field attributes[] = {
		ATTR_STR("gen_ai.operation.name", "invoke_agent"),
		ATTR_STR("gen_ai.agent.name", "tt-agent"),
		ATTR_STR("gen_ai.conversation.id", t->conversation.alone ? NULL : t->conversation.request.thread_id),
		ATTR_STR("gen_ai.response.model", up->llm == NULL ? NULL : status_text(up->snapshot, up->llm->model)),
		ATTR_INT("gen_ai.usage.output_tokens", u->tokens),
		ATTR_REAL("gen_ai.response.time_to_first_chunk", seconds(u->ttft_ns)),
		ATTR_STR("client.address", t->log.client[0] != '\0' ? t->log.client : NULL),
		ATTR_STR("tt_agent.request_id", t->log.request_id),
		ATTR_STR("tt_agent.status", t->log.status),
		ATTR_INT("tt_agent.tool_calls", t->log.tool_runs),
		ATTR_INT("tt_agent.failovers", t->log.failovers),
	};
	const struct span_end end = {
		.name = "invoke_agent tt-agent",
		.kind = SPAN_SERVER,
		.error = failed ? "broken" : NULL,
		.message = t->log.reason,
		.attributes = attributes,
		.count = sizeof attributes / sizeof attributes[0],
	};
	unsigned dropped;
	json_t *spans;

	trace_end(t->trace, &t->span, &end);
	spans = trace_take(t->trace, &dropped);
	if (spans != NULL && t->services->spans != NULL)
		t->services->spans(t->services->arg, spans, dropped);
	else
		json_decref(spans);
}

static void turn_free(struct turn *t)
{
	struct conversation *c = &t->conversation;
	struct reply *r = t->answer.reply;

	counters_add(t->services->counters, COUNTER_ACTIVE_TURNS, -1);
	if (c->alone && c->sandbox != NULL && t->log.tool_runs > 0)
		toolbox_forget(t->services->toolbox, c->sandbox);
	attempt_free(t->upstream.attempt);
	turn_give_place(t, BALANCE_WITHDRAWN);
	if (t->upstream.snapshot != NULL)
		status_release(t->upstream.snapshot);
	free(t->upstream.refusal);
	answer_clear(&t->answer);
	if (r != NULL)
		r->protocol->free(r);
	chat_request_clear(&c->request);
	json_decref(c->history);
	json_decref(c->messages);
	json_decref(t->tools.definitions);
	json_decref(t->tools.subjects);
	json_decref(t->conversation.as_sent);
	access_identity_unref(c->client);
	free(c->subject);
	free(c->sandbox);
	free(t->tools.names);
	if (t->timer != NULL)
		event_free(t->timer);
	config_unref(t->config);
	trace_free(t->trace);
	free(t->log.request_id);
	free(t);
}

static enum step end(struct turn *t)
{
	void (*ended)(void *arg) = t->client_left ? NULL : t->ended;
	struct reply *r = t->answer.reply;
	void *arg = t->arg;
	struct usage u;

	answer_usage(&t->answer, &u);
	if (t->upstream.llm != NULL)
		counters_observe(t->services->counters, SERIES_TURN_DURATION, t->upstream.model, u.total_ns, 1);
	if (!t->client_left && strcmp(t->log.status, "waiting") != 0)
		r->protocol->end(r, &u);
	log_turn(t, &u);
	if (t->trace != NULL)
		end_trace(t, &u);
	turn_free(t);
	if (ended != NULL)
		ended(arg);
	return STEP_STAY;
}

/* ---- the table and its driver --------------------------------------------------------------- */

typedef enum step step_fn(struct turn *t);

static const struct {
	step_fn *enter;
	step_fn *resume;              /* what it waits for has come */
	step_fn *late;                /* its timer */
	void (*stop)(struct turn *t); /* the client has left: whatever runs is cancelled */
} steps[STEPS] = {
	[STEP_ADMIT] = {admit, NULL, NULL, NULL},
	[STEP_WAIT] = {wait_for_llm, waited, wait_longer, stop_waiting},
	[STEP_LOAD] = {load, turn_loaded, turn_load_late, turn_store_stop},
	[STEP_CHOOSE] = {turn_choose, NULL, NULL, NULL},
	[STEP_QUEUE] = {turn_queue, turn_queue_called, turn_queue_late, turn_queue_leave},
	[STEP_ATTEMPT] = {turn_attempt, turn_attempt_ended, turn_attempt_late, turn_attempt_stop},
	[STEP_PROMPT] = {turn_prompt, turn_prompt_made, turn_prompt_late, turn_prompt_stop},
	[STEP_TOOLS] = {turn_tools, turn_tools_ended, turn_tools_due, turn_tools_stop},
	[STEP_SAVE] = {turn_save, turn_saved, turn_save_late, turn_store_stop},
	[STEP_END] = {end, NULL, NULL, NULL},
};

/* STEP_END leaves no turn behind, and nothing to do. */
static void drive(struct turn *t, enum step next)
{
	while (next != STEP_STAY) {
		t->step = next;
		next = steps[next].enter(t);
	}
}

/* What the step waited for has come. */
static void proceed(struct turn *t)
{
	counters_begin_work(t->services->counters);
	drive(t, steps[t->step].resume(t));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct turn *t = arg;

	(void)fd;
	(void)what;
	drive(t, steps[t->step].late(t));
}

/* ---- from outside ------------------------------------------------------------------------------ */

/* The answer goes on as if the stream of its LLM had broken off. Without memory for its text the
 * model begins again. */
static void resume(struct turn *t, const struct resumed_answer *from)
{
	struct answer *a = &t->answer;

	t->resumed = true;
	t->upstream.continuing = answer_resume(a, from->reply.text, from->reply.len) == 0 && from->reply.len > 0;
	a->began_ns = from->began_ns;
	a->first_ns = from->first_ns;
	a->last_ns = from->last_ns;
	a->tokens = from->tokens;
	a->reply->protocol->resume(a->reply, &from->reply);
}

/* Without memory the turn goes on without a trace. */
static void begin_trace(struct turn *t, const struct trace_context *received)
{
	bool recorded = t->config != NULL && cfg_str(t->config, CFG_TRACE_ENDPOINT) != NULL;

	if (!recorded && received == NULL)
		return;
	t->trace = trace_new(received, recorded, recorded ? cfg_real(t->config, CFG_TRACE_SAMPLE) : 0);
	trace_begin(t->trace, &t->span);
}

static json_t *first_messages(const struct chat_request *r)
{
	json_t *messages;

	if (json_array_size(r->messages) > 0)
		return json_copy(r->messages);
	messages = json_array();
	if (json_array_append_new(messages, prompt_text_message("user", r->content)) == 0)
		return messages;
	json_decref(messages);
	return NULL;
}

struct turn *turn_new(const struct chat_services *s, struct turn_request *request)
{
	struct turn *t = calloc(1, sizeof *t);
	struct conversation *c;
	struct reply *r;

	if (t == NULL)
		return NULL;
	counters_add(s->counters, COUNTER_ACTIVE_TURNS, 1);
	c = &t->conversation;
	t->services = s;
	t->proceed = proceed;
	t->output = request->output;
	t->ended = request->ended;
	t->summary = request->summary;
	t->attempted = request->attempted;
	t->arg = request->arg;
	t->log.status = "cancelled";
	t->config = s->config(s->arg);
	c->request = request->chat;
	c->alone = utf8_is_blank(c->request.thread_id);
	c->subject = strdup(request->subject);
	c->client = request->identity != NULL ? access_identity_ref(request->identity) : NULL;
	c->given = json_array_size(c->request.messages);
	c->messages = first_messages(&c->request);
	t->log.request_id = strdup(request->request_id);
	if (request->client != NULL)
		memcpy(t->log.client, request->client, strnlen(request->client, sizeof t->log.client - 1));
	t->timer = evtimer_new(s->base, on_timer, t);
	r = request->protocol->open(request->protocol, request->output, &c->request);
	answer_init(&t->answer, r);
	t->upstream.attempt = attempt_new(s->base, s->http, &t->answer, &turn_attempt_handlers, t);
	if (c->subject == NULL || c->messages == NULL || t->log.request_id == NULL || t->timer == NULL || r == NULL ||
	    t->upstream.attempt == NULL) {
		memset(&c->request, 0, sizeof c->request); /* it stays the caller's */
		turn_free(t);
		return NULL;
	}
	memset(&request->chat, 0, sizeof request->chat);
	begin_trace(t, request->trace);
	turn_queue_init(t, request->key);
	counters_add(s->counters, request->resumed != NULL ? COUNTER_ANSWERS_RESUMED : COUNTER_TURNS, 1);
	if (request->resumed != NULL)
		resume(t, request->resumed);
	return t;
}

void turn_run(struct turn *t)
{
	drive(t, t->resumed ? STEP_LOAD : STEP_ADMIT);
}

void turn_resume(struct turn *t)
{
	attempt_resume(t->upstream.attempt);
}

/* A turn that waits for a place may have part of an answer. */
static bool has_something_to_save(const struct turn *t, enum step step)
{
	return step == STEP_ATTEMPT || step == STEP_PROMPT || step == STEP_TOOLS ||
	       (step == STEP_QUEUE && answer_is_shown(&t->answer));
}

void turn_cancel(struct turn *t)
{
	enum step step = t->step;

	t->client_left = true;
	steps[step].stop(t);
	if (step != STEP_SAVE) /* there the answer was complete, only its end was not read any more */
		turn_leave(t, "cancelled", COUNTER_TURNS_CANCELLED);
	drive(t, has_something_to_save(t, step) ? STEP_SAVE : STEP_END);
}

void turn_stop(struct turn *t, const char *sentence)
{
	enum step step = t->step, next;

	if (step == STEP_SAVE) /* it ends by itself */
		return;
	steps[step].stop(t);
	next = turn_fail(t, FAILURE_UNAVAILABLE, sentence != NULL ? sentence : STOPPED);
	drive(t, step != STEP_PROMPT && has_something_to_save(t, step) ? next : STEP_END);
}
