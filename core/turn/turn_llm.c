/* SPDX-License-Identifier: Apache-2.0 */
/* CHOOSE, PROMPT and ATTEMPT: which LLM is asked, with what, and what follows from how it ended. */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/utf8.h"
#include "core/http/http_proxy.h"
#include "core/http/url.h"
#include "core/llm/llm.h"
#include "core/trace/labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_VISION                                                                                                      \
	"None of the available language models can see images. Please send text only, or deploy a vision model."
#define NO_SUCH_MODEL "There is no model \"%.*s\" here. GET /v1/models lists those that there are."
#define EMBEDS        "The model \"%.*s\" makes embeddings (POST /v1/embeddings). It answers no chats."
#define KEEPS_CALLING "The language model asked for tools again and again instead of answering. Please ask again."
#define CALL_TOO_LONG "The language model called a tool with arguments that are longer than this service passes on."
#define SHRINKS_MAX   3 /* requests with less to one LLM */
#define TOO_LONG      "The answer took longer than this service allows and was stopped."
#define NO_MEMORY     "The service is out of memory. Please try again in a moment."

/* ---- what follows when an attempt fails ---------------------------------------------------- */

enum recovery {
	NEXT,     /* the next candidate is asked */
	SHRINK,   /* the same one with less, then the next candidate */
	CONTINUE, /* another candidate continues what was shown, else a sentence ends the turn */
	GIVE_UP,  /* a sentence ends the turn */
};

#define NOT_RESUMED                                                                                                    \
	"The answer broke off here because the part of the service that was writing it ended unexpectedly, and no "    \
	"language model could continue it. Please ask again."
#define NO_ANSWER  TURN_NO_ANSWER
#define BROKE_OFF  "The answer broke off here because the connection to the language model was lost. Please ask again."
#define WENT_QUIET "The answer broke off here because the language model went silent. Please ask again."

static const struct consequence {
	enum recovery before; /* nothing of its answer was shown yet */
	enum recovery after;  /* some of it was */
	bool counts;          /* against the LLM's health */
	enum failure why;
	const char *sentence; /* for the user, where nothing was shown */
	const char *broken;   /* for the user, after text that was shown */
} failures[ATTEMPT_RESULTS] = {
	[ATTEMPT_EMPTY] = {NEXT, GIVE_UP, false, FAILURE_UPSTREAM,
                           "The language model gave an empty answer. Please ask again.", BROKE_OFF},
	/* Another LLM would meet the same limit; the sentence says which. */
	[ATTEMPT_USED_UP] = {GIVE_UP, GIVE_UP, false, FAILURE_REQUEST, "", BROKE_OFF},
	/* Whoever set up the filter did not mean that an LLM without one answers instead. */
	[ATTEMPT_FILTERED] =
		{GIVE_UP, GIVE_UP, false, FAILURE_FILTERED,
                 "The content filter of the language model's server stopped the answer. Please ask differently.",
                 "The answer ends here because the content filter of the language model's server stopped it."},
	[ATTEMPT_UNREACHABLE] = {NEXT, CONTINUE, true, FAILURE_UNAVAILABLE, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_TIMEOUT] = {NEXT, CONTINUE, true, FAILURE_UNAVAILABLE, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_SILENT] = {NEXT, CONTINUE, true, FAILURE_UPSTREAM, NO_ANSWER, WENT_QUIET},
	[ATTEMPT_CUT] = {NEXT, CONTINUE, true, FAILURE_UPSTREAM, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_ERROR_EVENT] =
		{NEXT, CONTINUE, true, FAILURE_UPSTREAM, NO_ANSWER,
                 "The answer broke off here because the language model reported an error. Please ask again."},
	[ATTEMPT_MALFORMED] = {NEXT, CONTINUE, true, FAILURE_UPSTREAM, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_BUSY] = {NEXT, CONTINUE, false, FAILURE_BUSY,
                          "The language model is busy right now. Please try again in a moment.", BROKE_OFF},
	[ATTEMPT_UNAVAILABLE] = {NEXT, CONTINUE, true, FAILURE_UNAVAILABLE, NO_ANSWER, BROKE_OFF},
	[ATTEMPT_UNAUTHORIZED] =
		{NEXT, CONTINUE, true, FAILURE_SETUP,
                 "The language model does not accept this service's credentials. Please tell the administrator.",
                 BROKE_OFF},
	[ATTEMPT_NO_CREDIT] =
		{NEXT, CONTINUE, true, FAILURE_SETUP,
                 "The account that pays for the language model is used up. Please tell the administrator.", BROKE_OFF},
	[ATTEMPT_NO_MODEL] =
		{NEXT, CONTINUE, true, FAILURE_SETUP,
                 "The server does not have the language model that it was asked for. Please tell the administrator.",
                 BROKE_OFF},
	[ATTEMPT_OVERFLOW] = {SHRINK, CONTINUE, false, FAILURE_OVERFLOW,
                              "The message is too long for the language model's context window. Please shorten it.",
                              "The answer broke off here because the language model's context window is full."},
	[ATTEMPT_REFUSED] = {GIVE_UP, GIVE_UP, false, FAILURE_REQUEST, "The language model refused the request.",
                             BROKE_OFF},
	[ATTEMPT_NO_RESOURCES] =
		{GIVE_UP, GIVE_UP, false, FAILURE_BUSY,
                 "The agent is answering as many chats as it can at the moment. Please try again in a few seconds.",
                 "The answer broke off here because the agent is overloaded. Please ask again."},
	[ATTEMPT_FAILED] = {NEXT, CONTINUE, false, FAILURE_UPSTREAM, NO_ANSWER, BROKE_OFF},
};

#define NOT_ALLOWED "Your API key may not use any of the models that are available."

/* ---- CHOOSE ---------------------------------------------------------------------------------- */

bool chat_services_obstacle(const struct chat_services *s, const struct chat_request *chat, enum failure *why,
                            char text[CHAT_OBSTACLE_MAX])
{
	struct status_snapshot *snapshot = chat->has_images || chat->model != NULL ? s->snapshot(s->arg) : NULL;
	bool found = false;

	*text = '\0';
	if (snapshot == NULL)
		return false;
	if (chat->model != NULL && status_header(snapshot)->usable_count > 0 &&
	    !candidates_have_model(snapshot, chat->model)) {
		bool embeds = candidates_embed_model(snapshot, chat->model);

		*why = embeds ? FAILURE_REQUEST : FAILURE_MODEL;
		snprintf(text, CHAT_OBSTACLE_MAX, embeds ? EMBEDS : NO_SUCH_MODEL, (int)utf8_cut(chat->model, 200),
		         chat->model);
		found = true;
	} else if (chat->has_images && status_header(snapshot)->usable_count > 0 &&
	           !candidates_have_vision(snapshot, s->quirks, chat->model)) {
		*why = FAILURE_REQUEST;
		snprintf(text, CHAT_OBSTACLE_MAX, "%s", NO_VISION);
		found = true;
	}
	status_release(snapshot);
	return found;
}

/* The LLM says why. */
static enum step fail_with_reason(struct turn *t, const struct consequence *f, const char *reason)
{
	char text[600];

	snprintf(text, sizeof text, "%.*s: %.*s", (int)strlen(f->sentence) - 1, f->sentence, (int)utf8_cut(reason, 300),
	         reason);
	return turn_fail(t, f->why, text);
}

/* Another LLM takes over: from the one that failed, or (the answer is resumed) from a worker that died. */
static void note_failover(struct turn *t, const struct status_snapshot *snapshot, const struct status_llm *next)
{
	struct upstream *up = &t->upstream;
	bool resumed = up->llm == NULL;
	const struct event_record r = event_record_of(
		up->continuing || resumed ? EVENT_CONTINUED : EVENT_FAILOVER, status_llm_name(snapshot, next),
		status_text(snapshot, next->deploy_id), resumed ? NULL : status_llm_name(up->snapshot, up->llm),
		resumed ? "a worker died" : attempt_result_text(up->result));

	up->result = ATTEMPT_COMPLETE;
	if (t->services->note != NULL)
		t->services->note(t->services->arg, &r);
}

void turn_give_place(struct turn *t, enum balance_end end)
{
	struct upstream *up = &t->upstream;

	if (up->place.file == 0)
		return;
	balance_give(t->services->balance, &up->place, end, clock_boot_ns());
	chat_services_freed(t->services, up->snapshot, up->llm);
}

/* What the thread's replica has in its cache is of use to its next turn. */
static uint64_t thread_of(const struct conversation *c)
{
	return c->alone ? 0 : balance_hash(balance_hash(0, c->subject), c->request.thread_id);
}

enum step turn_choose(struct turn *t)
{
	const struct chat_services *s = t->services;
	struct upstream *up = &t->upstream;
	const struct candidate_needs needs = {
		.vision = t->conversation.request.has_images,
		.continues = up->continuing,
		.model = t->conversation.request.model,
		.quirks = s->quirks,
		.client = t->conversation.client,
	};
	struct candidate_wish wish = {.balance = s->balance, .config = t->config};
	struct status_snapshot *snapshot = s->snapshot(s->arg);
	const struct status_llm *next = NULL;
	struct candidate_group group;
	char obstacle[CHAT_OBSTACLE_MAX];
	enum failure why;
	bool allowed;

	turn_give_place(t, BALANCE_WITHDRAWN);
	group.count = 0;
	if (snapshot != NULL)
		candidates_group(snapshot, s->cooldown, &up->tried, needs, clock_wall_ms(), &group);
	if (snapshot != NULL && status_header(snapshot)->candidate_count > 1)
		wish.thread = thread_of(&t->conversation);
	if (group.count > 0)
		next = place_wait_take(&t->queue.wait, snapshot, &group, &wish, &up->place);
	if (group.count > 0 && next == NULL) {
		status_release(snapshot);
		return STEP_QUEUE;
	}
	turn_queue_leave(t);
	if (up->tried.count == 0)
		up->failure = ATTEMPT_UNREACHABLE;
	if (next != NULL) {
		if (up->tried.count > 0)
			t->log.failovers++;
		if (up->result != ATTEMPT_COMPLETE || (t->resumed && up->llm == NULL))
			note_failover(t, snapshot, next);
		if (up->continuing)
			counters_add(s->counters, COUNTER_ANSWERS_CONTINUED, 1);
		if (up->llm != NULL && up->llm->instance != next->instance) {
			up->skip_turns = up->result_max = 0; /* it is sent what its own window holds */
			up->learned = (struct learned){.repeats = 0};
		}
		if (up->snapshot != NULL)
			status_release(up->snapshot);
		up->snapshot = snapshot;
		up->llm = next;
		up->replica = group.count > 1 || up->replica != NULL ? candidate_replica_name(snapshot, next) : NULL;
		up->model = counters_member(s->counters, LABEL_MODEL, status_llm_name(snapshot, next));
		up->retried = false;
		up->shrunk = 0;
		return STEP_ATTEMPT;
	}
	allowed = snapshot == NULL || candidates_are_allowed(snapshot, t->conversation.client);
	if (snapshot != NULL)
		status_release(snapshot);
	if (!allowed && !up->continuing)
		return turn_fail(t, FAILURE_FORBIDDEN, NOT_ALLOWED);
	if (up->continuing)
		return turn_fail(t, FAILURE_UPSTREAM,
		                 up->tried.count == 0 ? NOT_RESUMED : failures[up->failure].broken);
	/* models come and go since the turn began */
	if (chat_services_obstacle(s, &t->conversation.request, &why, obstacle))
		return turn_fail(t, why, obstacle);
	if (up->refusal != NULL)
		return fail_with_reason(t, &failures[up->failure], up->refusal);
	return turn_fail(t, failures[up->failure].why, failures[up->failure].sentence);
}

/* ---- what an LLM is asked ----------------------------------------------------------------------- */

/* Where ours are used up, the client's are left. A call that the client wants made is wanted once: it may be
 * of one of ours. */
static void add_client_tools(const struct turn *t, struct prompt *p)
{
	const json_t *choice = json_object_get(p->fields, "tool_choice");
	const char *word = json_string_value(choice);

	if (p->uses_tools && p->tools_used_up && t->tools.of_client > 0) {
		p->tools = json_object_get(p->fields, "tools");
		p->tools_used_up = false;
	}
	if (t->tools.rounds == 0 || (word != NULL && strcmp(word, "none") == 0))
		p->tool_choice = choice;
}

static struct prompt prompt_of(struct turn *t)
{
	const struct upstream *up = &t->upstream;
	const struct status_llm *llm = up->llm;
	const char *model = status_text(up->snapshot, llm->model);
	struct prompt p = {
		.config = t->config,
		.model = model == NULL ? "" : model,
		.cloud = llm->kind == LLM_CLOUD,
		.uses_completions = llm->uses_completions != 0,
		.vision = llm->vision != 0,
		.uses_tools = llm_tools_apply((enum llm_kind)llm->kind, llm->uses_completions != 0,
	                                      (enum llm_tools)llm->tools),
		.context = llm->context_length,
		.own_tools = t->tools.fewer,
		.tools_used_up = turn_tools_used_up(t),
		.turns = t->conversation.history,
		.skip_turns = up->skip_turns,
		.messages = t->conversation.messages,
		.given = t->conversation.given,
		.fields = t->conversation.request.fields,
		.plain = t->conversation.request.plain,
		.result_max = up->result_max,
		.as_sent = t->conversation.as_sent,
		.instance = (int64_t)llm->instance,
		.kind = llm_kind_info((enum llm_kind)llm->kind),
		.quirks = turn_quirks(t),
	};

	p.tools = p.uses_tools ? t->tools.definitions : NULL;
	if (p.fields != NULL && !p.plain)
		add_client_tools(t, &p);
	if (up->continuing)
		p.begun = answer_begun(&t->answer, &p.begun_len);
	prompt_adjust(&p);
	return p;
}

/* The same without the turns that do not fit. */
static struct prompt fitting_prompt(struct turn *t)
{
	struct prompt p = prompt_of(t);
	size_t beyond = prompt_fit(&p);

	if (p.skip_turns < beyond)
		p.skip_turns = beyond;
	t->upstream.skip_turns = p.skip_turns;
	return p;
}

/* body: NULL: no memory. */
static enum step send_request(struct turn *t, const char *body, size_t len)
{
	struct upstream *up = &t->upstream;
	const struct config *c = t->config;
	int64_t silence_ms = cfg_ms(c, CFG_LLM_SILENCE_TIMEOUT), stall_ms = cfg_ms(c, CFG_LLM_STALL_TIMEOUT);
	char nonce[LABELS_NONCE_MAX + 1];
	struct labels labels;
	struct attempt_request r = {
		.url = status_text(up->snapshot, up->llm->url),
		.resolve = status_text(up->snapshot, up->llm->resolve),
		.plain = up->llm->plain != 0,
		.bearer = status_text(up->snapshot, up->llm->token),
		.ca_file = cfg_str(c, CFG_CLOUD_CA_FILE),
		.body = body,
		.body_len = len,
		.connect_ms = cfg_ms(c, CFG_LLM_CONNECT_TIMEOUT),
		.silence_ms = silence_ms,
		/* A silence that is too long before the first token is too long after it as well. */
		.stall_ms = stall_ms < silence_ms ? stall_ms : silence_ms,
		.counters = t->services->counters,
		.model = up->model,
		.tools = up->tools,
		.continues = up->continuing,
		.verbatim = t->conversation.request.plain && up->tools == NULL,
	};

	/* vLLM and SGLang take it as the id of what they generate, and fail on one that still runs: a client may
	 * send the same one twice, and a repeated attempt may arrive while they have not noticed the end of the first.
	 */
	labels_nonce(nonce);
	trace_begin(t->trace, &up->span);
	labels_set(&labels, t->log.request_id, nonce, t->trace, &up->span);
	r.labels = labels.lines;
	r.proxy = up->llm->kind == LLM_CLOUD ? http_proxy_for(c, r.url) : NULL;
	up->began_boot_ms = clock_boot_ms();
	turn_wake_at_deadline(t);
	if (body == NULL || attempt_start(up->attempt, &r) < 0)
		return turn_fail(t, FAILURE_UNAVAILABLE, NO_MEMORY);
	return STEP_STAY;
}

/* The attempt has ended; o: NULL: it was stopped. */
static void end_span(struct turn *t, const struct attempt_outcome *o)
{
	struct upstream *up = &t->upstream;
	const char *model, *url, *operation = "chat";
	char host[256] = "", name[200];
	uint16_t port = 0;

	if (up->span.id[0] == '\0')
		return;
	model = status_text(up->snapshot, up->llm->model);
	url = status_text(up->snapshot, up->llm->url);
	if (up->llm->uses_completions != 0)
		operation = "text_completion";
	if (url != NULL)
		url_host(url, host, sizeof host, &port);
	snprintf(name, sizeof name, "%s %s", operation, model != NULL ? model : "");
	const struct log_field attributes[] = {
		ATTR_STR("gen_ai.operation.name", operation),
		ATTR_STR("gen_ai.provider.name", "openai"), /* whose API it speaks */
		ATTR_STR("gen_ai.request.model", model),
		ATTR_BOOL("gen_ai.request.stream", true),
		ATTR_STR("server.address", host),
		ATTR_INT("server.port", port),
		ATTR_STR("tt_agent.llm.kind", llm_kind_text((enum llm_kind)up->llm->kind)),
		ATTR_BOOL("tt_agent.continues", up->continuing),
		ATTR_INT("gen_ai.usage.input_tokens", o != NULL ? o->prompt_tokens : -1),
		ATTR_INT("gen_ai.usage.output_tokens", o != NULL ? o->completion_tokens : -1),
		ATTR_INT("http.response.status_code", o != NULL && o->status > 0 ? o->status : -1),
	};
	const struct span_end end = {
		.name = name,
		.kind = SPAN_CLIENT,
		.parent = &t->span,
		.error = o == NULL                       ? "cancelled"
	                 : o->result != ATTEMPT_COMPLETE ? attempt_result_text(o->result)
	                                                 : NULL,
		.message = o != NULL ? o->error.text : NULL,
		.attributes = attributes,
		.count = sizeof attributes / sizeof attributes[0],
	};

	trace_end(t->trace, &up->span, &end);
}

static enum step stop_late(struct turn *t)
{
	snprintf(t->log.reason, sizeof t->log.reason, "deadline");
	return turn_fail(t, FAILURE_TIME, TOO_LONG);
}

/* ---- while it is waited for ---------------------------------------------------------------- */

#define HEARTBEAT_MS 10000

void turn_wake_at_deadline(struct turn *t)
{
	int64_t left_ms = t->deadline_ms - clock_mono_ms();

	if (t->answer.reply->protocol->heartbeat != NULL && left_ms > HEARTBEAT_MS)
		left_ms = HEARTBEAT_MS;
	turn_wake_in(t, left_ms > 0 ? left_ms : 0);
}

bool turn_beat(struct turn *t)
{
	const struct protocol *p = t->answer.reply->protocol;

	if (p->heartbeat == NULL || clock_mono_ms() >= t->deadline_ms)
		return false;
	p->heartbeat(t->answer.reply);
	turn_wake_at_deadline(t);
	return true;
}

/* ---- PROMPT: a long request is made in the background -------------------------------------- */

struct long_prompt {
	struct turn *turn;
	struct background_job *job;
	struct prompt_draft *draft;
	char *body; /* NULL: no memory */
	size_t len;
};

static void long_prompt_free(void *arg)
{
	struct long_prompt *l = arg;

	prompt_draft_free(l->draft);
	free(l->body);
	free(l);
}

static void make_long_prompt(void *arg)
{
	struct long_prompt *l = arg;

	l->body = prompt_draft_body(l->draft, &l->len);
}

static void on_long_prompt_made(void *arg)
{
	struct turn *t = ((struct long_prompt *)arg)->turn;

	t->proceed(t);
}

enum step turn_prompt(struct turn *t)
{
	static const struct background_work work = {
		.run = make_long_prompt, .done = on_long_prompt_made, .drop = long_prompt_free};
	const struct prompt p = fitting_prompt(t);
	struct long_prompt *l = calloc(1, sizeof *l);

	if (l == NULL)
		return turn_fail(t, FAILURE_UNAVAILABLE, NO_MEMORY);
	l->turn = t;
	l->draft = prompt_draft_new(&p, t->services->prompts);
	l->job = l->draft != NULL ? background_start(t->services->background, &work, l) : NULL;
	if (l->job == NULL) {
		long_prompt_free(l);
		return turn_fail(t, FAILURE_UNAVAILABLE, NO_MEMORY);
	}
	t->upstream.prompt = l;
	turn_wake_at_deadline(t);
	return STEP_STAY;
}

enum step turn_prompt_made(struct turn *t)
{
	(void)t;
	return STEP_ATTEMPT;
}

static enum step send_long_prompt(struct turn *t)
{
	struct long_prompt *l = t->upstream.prompt;
	enum step next;

	t->upstream.prompt = NULL;
	next = send_request(t, l->body, l->len);
	long_prompt_free(l);
	return next;
}

void turn_prompt_stop(struct turn *t)
{
	background_cancel(t->upstream.prompt->job);
	t->upstream.prompt = NULL;
	turn_give_place(t, BALANCE_WITHDRAWN);
}

enum step turn_prompt_late(struct turn *t)
{
	if (turn_beat(t))
		return STEP_STAY;
	turn_prompt_stop(t);
	return stop_late(t);
}

/* ---- ATTEMPT: how it begins and is stopped --------------------------------------------------- */

enum step turn_attempt(struct turn *t)
{
	struct upstream *up = &t->upstream;
	enum step next;
	struct prompt p;
	size_t len = 0;
	char *body;

	if (up->prompt != NULL)
		return send_long_prompt(t);
	p = fitting_prompt(t);
	up->tools = (p.tools != NULL || p.plain) && t->tools.names[0] != NULL ? t->tools.names : NULL;
	if (t->services->background != NULL && prompt_size(&p) > BACKGROUND_MIN)
		return STEP_PROMPT;
	body = prompt_body(&p, t->services->prompts, &len);
	next = send_request(t, body, len);
	free(body);
	return next;
}

enum step turn_attempt_late(struct turn *t)
{
	if (turn_beat(t))
		return STEP_STAY;
	turn_attempt_stop(t);
	return stop_late(t);
}

void turn_attempt_stop(struct turn *t)
{
	attempt_cancel(t->upstream.attempt);
	end_span(t, NULL);
	turn_give_place(t, answer_is_shown(&t->answer) ? BALANCE_STOPPED : BALANCE_WITHDRAWN);
}

/* ---- reports to the daemon --------------------------------------------------------------------- */

static void report(struct turn *t, enum http_outcome outcome, long status, const char *text,
                   const struct quirks *quirks)
{
	const struct upstream *up = &t->upstream;
	const struct status_header *h = status_header(up->snapshot);
	const struct turn_report report = {
		.instance = up->llm->instance,
		.epoch = h->epoch,
		.generation = h->generation,
		.began_boot_ms = up->began_boot_ms,
		.outcome = outcome,
		.status = status,
		.text = text,
		.quirks = quirks,
	};

	if (t->services->report != NULL)
		t->services->report(t->services->arg, &report);
}

/* A response that arrived whole may still be a failure: an error in the stream, a finish_reason. What
 * refuses the account is known by its words, whatever the status. The server's own words explain it. */
static void report_failure(struct turn *t, const struct attempt_outcome *o)
{
	long status = o->status;
	bool whole;

	if (o->result == ATTEMPT_NO_CREDIT)
		status = 402;
	else if (o->result == ATTEMPT_UNAUTHORIZED && status != 403)
		status = 401;
	whole = o->http == HTTP_DONE && status < 400;
	report(t, whole ? HTTP_CUT : o->http, status, o->http == HTTP_DONE ? o->error.text : "", NULL);
}

/* It answers, so what was learned of it is true. */
static void report_answer(struct turn *t, long status)
{
	const struct quirks *quirks = turn_quirks_confirm(t);

	report(t, HTTP_DONE, status, quirks == NULL ? "" : t->upstream.learned.refusal, quirks);
}

/* A streaming model is alive, however long the answer is. */
static void on_serving(void *arg)
{
	report_answer(arg, TURN_REPORT_SERVING);
}

static void on_ended(void *arg)
{
	struct turn *t = arg;

	t->proceed(t);
}

static void on_took(void *arg, unsigned result, int64_t prompt, int64_t completion)
{
	const struct turn *t = arg;
	const struct upstream *up = &t->upstream;
	const char *model = up->llm == NULL ? NULL : status_llm_name(up->snapshot, up->llm);
	const struct turn_attempt a = {
		.model = model != NULL ? model : "",
		.outcome = result < ATTEMPT_RESULTS ? attempt_result_text((enum attempt_result)result) : "cancelled",
		.prompt_tokens = prompt,
		.completion_tokens = completion,
		.took_ms = clock_boot_ms() - up->began_boot_ms,
	};

	if (t->attempted != NULL)
		t->attempted(t->arg, &a);
}

const struct attempt_handlers turn_attempt_handlers = {.serving = on_serving, .ended = on_ended, .took = on_took};

/* ---- the end of an attempt ------------------------------------------------------------------------- */

static void log_failure(struct turn *t, const struct attempt_outcome *o)
{
	const char *result = attempt_result_text(o->result);

	/* What the user is told: a host that is not there explains less than another LLM's refusal. */
	if (strcmp(failures[o->result].sentence, NO_ANSWER) != 0 ||
	    strcmp(failures[t->upstream.failure].sentence, NO_ANSWER) == 0)
		t->upstream.failure = o->result;
	snprintf(t->log.reason, sizeof t->log.reason, "%s%s%.*s", result, *o->error.text == '\0' ? "" : ": ",
	         (int)utf8_cut(o->error.text, 250), o->error.text);
	if (o->result == ATTEMPT_NO_RESOURCES)
		return; /* logged already, once for all turns */
	log_event(LOG_ATTEMPT_FAILED, L_STR("request_id", t->log.request_id),
	          L_STR("model", status_text(t->upstream.snapshot, t->upstream.llm->model)), L_STR("result", result),
	          L_INT("status", o->status), L_STR("text", o->error.text),
	          L_INT("shown", answer_is_shown(&t->answer)));
}

/* The same LLM is asked again with less. First the oldest turn goes, and further ones where the server's own
 * numbers say that one is not enough; that happens only once. What does not fit then are the results of this
 * turn's tools, if there are any: they are cut, at last without any turns before them. */
static bool shrink(struct turn *t, const char *refusal)
{
	struct upstream *up = &t->upstream;
	struct prompt p = prompt_of(t);
	size_t turns = json_array_size(t->conversation.history), cut;
	bool left = up->shrunk == 0 && up->skip_turns < turns;

	if (up->shrunk == SHRINKS_MAX)
		return false;
	if (left)
		p.skip_turns = prompt_shrink(&p, refusal);
	cut = prompt_cut(&p, refusal, !left);
	if (!left && cut == 0)
		return false;
	up->skip_turns = left ? p.skip_turns : turns;
	if (cut > 0)
		up->result_max = cut;
	up->shrunk++;
	return true;
}

static enum step fail_used_up(struct turn *t)
{
	bool cloud = t->upstream.llm->kind == LLM_CLOUD;
	enum cfg_key key = cloud ? CFG_CLOUD_MAX_TOKENS : CFG_LLM_MAX_TOKENS;
	const struct cfg_key_info *info = cfg_key_info(key);
	const struct prompt p = prompt_of(t);
	char text[300];

	snprintf(
		text, sizeof text,
		"The language model used up its limit of %lld tokens (%s) before it began to answer. Please ask for less, "
		"or have the administrator raise the limit.",
		(long long)prompt_max_tokens(&p), info->path);
	return turn_fail(t, FAILURE_REQUEST, text);
}

/* Nothing of its own answer was shown, and the refusal says what the LLM does not take. */
static bool learn_quirks(struct turn *t, const struct attempt_outcome *o, enum step *next)
{
	struct upstream *up = &t->upstream;
	const struct prompt p = prompt_of(t);

	if (answer_is_shown(&t->answer) && !(up->continuing && o->status >= 400))
		return false;
	*next = turn_quirks_learn(t, &p, o);
	if (*next == STEP_CHOOSE) {
		report(t, HTTP_DONE, TURN_REPORT_SERVING, up->learned.refusal, turn_quirks_confirm(t));
		up->failure = o->result;
		tried_add(&up->tried, up->llm->instance);
	}
	return *next != STEP_STAY;
}

static enum step recover(struct turn *t, const struct attempt_outcome *o)
{
	struct upstream *up = &t->upstream;
	const struct consequence *f = &failures[o->result];
	bool shown = answer_is_shown(&t->answer);
	enum step next;

	/* The server closed the connection that we were about to reuse: nobody's fault. */
	if (o->reused && !shown && !up->retried) {
		up->retried = true;
		return STEP_ATTEMPT;
	}
	if (learn_quirks(t, o, &next))
		return next;
	log_failure(t, o);
	if (f->counts) {
		cooldown_add(t->services->cooldown, up->llm->instance, clock_wall_ms());
		report_failure(t, o);
	}
	/* Its own message, as it sent it, may be what it refuses: it is asked once more, with the plain one. */
	if (o->result == ATTEMPT_REFUSED && !shown && t->conversation.as_sent != NULL &&
	    (turn_quirks(t).set & QUIRK_BIT(QUIRK_OWN_MESSAGES)) == 0) {
		json_decref(t->conversation.as_sent);
		t->conversation.as_sent = NULL;
		return STEP_ATTEMPT;
	}
	switch (shown ? f->after : f->before) {
	case NEXT:
		up->continuing = false;
		tried_add(&up->tried, up->llm->instance);
		return STEP_CHOOSE;
	case CONTINUE:
		if (!cfg_bool(t->config, CFG_LLM_CONTINUE))
			break;
		up->continuing = true;
		tried_add(&up->tried, up->llm->instance);
		return STEP_CHOOSE;
	case SHRINK:
		if (shrink(t, o->error.text))
			return STEP_ATTEMPT;
		if (t->answer.reply->protocol->tells_ends && *o->error.text != '\0') {
			free(up->refusal); /* its clients look for the numbers in it */
			up->refusal = strdup(o->error.text);
		}
		tried_add(&up->tried, up->llm->instance); /* another one may have a larger window */
		return STEP_CHOOSE;
	case GIVE_UP:
		break;
	}
	if (!shown && o->result == ATTEMPT_USED_UP)
		return fail_used_up(t);
	if (!shown && o->result == ATTEMPT_REFUSED && *o->error.text != '\0')
		return fail_with_reason(t, f, o->error.text);
	return turn_fail(t, f->why, shown ? f->broken : f->sentence);
}

static enum step keeps_calling(struct turn *t)
{
	if (t->answer.reply->protocol->tells_ends)
		return turn_fail(t, FAILURE_UPSTREAM, KEEPS_CALLING);
	answer_sentence(&t->answer, KEEPS_CALLING);
	return turn_complete(t);
}

/* Whether the calls are the client's to run. Where ours are among them, these are run first. */
static bool are_of_client(const struct turn *t, const struct attempt_outcome *o)
{
	for (size_t i = 0; i < o->call_count; i++)
		if (!turn_tools_is_of_client(t, o->calls[i]->name))
			return false;
	return o->call_count > 0;
}

/* A call that is too long for us, and not at the limit of tokens, is not the one that the model made. */
static enum step give_calls(struct turn *t, const struct attempt_outcome *o)
{
	const struct protocol *p = t->answer.reply->protocol;

	for (size_t i = 0; i < o->call_count; i++)
		if (o->calls[i]->cut && !o->limit)
			return turn_fail(t, FAILURE_UPSTREAM, CALL_TOO_LONG);
	p->calls(t->answer.reply, o->calls, o->call_count);
	t->calls_given = true;
	return turn_complete(t);
}

static enum step conclude(struct turn *t, const struct attempt_outcome *o)
{
	const struct protocol *protocol = t->answer.reply->protocol;
	const char *note = cfg_str(t->config, CFG_PROMPT_LENGTH_NOTE);
	bool is_empty = o->result == ATTEMPT_EMPTY || o->result == ATTEMPT_USED_UP;

	if (o->result != ATTEMPT_COMPLETE && !(is_empty && protocol->tells_ends))
		return recover(t, o);
	report_answer(t, o->status);
	t->answer.limited = o->limit;
	if (are_of_client(t, o))
		return give_calls(t, o);
	/* Some servers let a model call tools although it must not: it is reminded once, then
	 * the turn ends here. */
	if (o->call_count > 0 && t->upstream.tools != NULL &&
	    t->tools.rounds <= (unsigned)cfg_int(t->config, CFG_LIMITS_TOOL_ROUNDS))
		return STEP_TOOLS;
	if (!answer_is_shown(&t->answer) && (!protocol->tells_ends || o->call_count > 0))
		return keeps_calling(t);
	if (answer_is_shown(&t->answer) && o->limit && note != NULL && !protocol->tells_ends)
		answer_sentence(&t->answer, note);
	return turn_complete(t);
}

enum step turn_attempt_ended(struct turn *t)
{
	const struct attempt_outcome *o = attempt_outcome(t->upstream.attempt);
	const enum balance_end end = o->result == ATTEMPT_COMPLETE ? BALANCE_ANSWERED
	                             : o->result == ATTEMPT_BUSY   ? BALANCE_BUSY
	                                                           : BALANCE_WITHDRAWN;
	enum step next;

	t->upstream.result = o->result;
	end_span(t, o);
	next = conclude(t, o);
	if (next != STEP_ATTEMPT) /* at the same LLM, and so at the same place */
		turn_give_place(t, end);
	return next;
}
