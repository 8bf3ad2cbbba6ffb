/* SPDX-License-Identifier: Apache-2.0 */
/* PROMPT and ATTEMPT: what an LLM is asked, and how. */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/http/http_proxy.h"
#include "core/http/url.h"
#include "core/llm/llm.h"
#include "core/trace/labels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOO_LONG "The answer took longer than this service allows and was stopped."

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

struct prompt turn_prompt_of(struct turn *t)
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
	struct prompt p = turn_prompt_of(t);
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
		return turn_fail(t, FAILURE_UNAVAILABLE, TURN_NO_MEMORY);
	return STEP_STAY;
}

void turn_attempt_end_span(struct turn *t, const struct attempt_outcome *o)
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
		.message = o != NULL ? o->error->text : NULL,
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
		return turn_fail(t, FAILURE_UNAVAILABLE, TURN_NO_MEMORY);
	l->turn = t;
	l->draft = prompt_draft_new(&p, t->services->prompts);
	l->job = l->draft != NULL ? background_start(t->services->background, &work, l) : NULL;
	if (l->job == NULL) {
		long_prompt_free(l);
		return turn_fail(t, FAILURE_UNAVAILABLE, TURN_NO_MEMORY);
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

void turn_give_place(struct turn *t, enum balance_end end)
{
	struct upstream *up = &t->upstream;

	if (up->place.file == 0)
		return;
	balance_give(t->services->balance, &up->place, end, clock_boot_ns());
	chat_services_freed(t->services, up->snapshot, up->llm);
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
	turn_attempt_end_span(t, NULL);
	turn_give_place(t, answer_is_shown(&t->answer) ? BALANCE_STOPPED : BALANCE_WITHDRAWN);
}
