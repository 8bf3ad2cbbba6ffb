/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/turn/failure.h"
#include "core/turn/prompt.h"
#include "core/llm/llm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_EYES "None of the available language models can see images. Please send text only, or deploy a vision model."

#define HEARD_EACH    32 /* pieces of an answer between two words on it */
#define KEEPS_CALLING "The language model asked for tools again and again instead of answering. Please ask again."

static void ask_same(struct turn *t);

/* ---- what the daemon is told ------------------------------------------------------- */

static void report(struct turn *t, const struct attempt_outcome *r)
{
	const struct status_header *h = status_header(t->snapshot);
	const struct turn_report report = {
		.instance = t->llm->instance,
		.epoch = h->epoch,
		.generation = h->generation,
		.began_boot_ms = t->ask_began_boot_ms,
		.outcome = r->outcome,
		.status = r->status,
		.text = r->text,
	};

	if (t->host->report != NULL)
		t->host->report(t->host->arg, &report);
}

static void report_failure(struct turn *t, const struct attempt_outcome *r)
{
	cooldown_add(t->host->bench, t->llm->instance, clock_wall_ms());
	report(t, r);
}

/* Whoever streams is not hung, however long the answer is. */
static void hear(struct turn *t)
{
	static const struct attempt_outcome serving = {.outcome = HTTP_DONE, .status = TURN_REPORT_SERVING, .text = ""};

	if (t->heard++ % HEARD_EACH == 0)
		report(t, &serving);
}

/* ---- what an ask delivers --------------------------------------------------------- */

static void on_ask_text(void *arg, const char *bytes, size_t len)
{
	struct turn *t = arg;

	hear(t);
	answer_content(t->answer, bytes, len);
}

static void on_ask_reasoning(void *arg, const char *bytes, size_t len)
{
	struct turn *t = arg;

	hear(t);
	answer_reasoning(t->answer, bytes, len);
}

static void on_ask_tool_calls(void *arg, const json_t *fragments)
{
	calls_merge(&((struct turn *)arg)->calls, fragments);
}

/* ---- asking ----------------------------------------------------------------------- */

static void note_failure(struct turn *t, const struct attempt_outcome *r)
{
	t->last_end = r->end;
	snprintf(t->failure, sizeof t->failure, "%s%s%s", attempt_result_text(r->end), *r->text == '\0' ? "" : ": ",
	         r->text);
	if (r->end == ATTEMPT_NO_RESOURCES)
		return; /* told already, once for all turns */
	log_warning("ask_failed", L_STR("request_id", t->request_id),
	            L_STR("model", status_text(t->snapshot, t->llm->model)), L_STR("end", attempt_result_text(r->end)),
	            L_INT("status", r->status), L_STR("text", r->text), L_INT("shown", answer_is_shown(t->answer)));
}

static struct prompt prompt_of(struct turn *t)
{
	const char *model = status_text(t->snapshot, t->llm->model);
	struct prompt p = {
		.config = t->config,
		.model = model == NULL ? "" : model,
		.cloud = t->llm->kind == LLM_CLOUD,
		.completions = t->llm->completions != 0,
		.sees_images = t->llm->sees_images != 0,
		.uses_tools = llm_tools_apply((enum llm_kind)t->llm->kind, t->llm->completions != 0,
	                                      (enum llm_tools)t->llm->tools),
		.context = t->llm->context_length,
		.tools_used_up = turn_tools_used_up(t),
		.turns = t->turns,
		.skip_turns = t->skip_turns,
		.messages = t->messages,
	};

	p.tools = p.uses_tools ? t->tools : NULL;
	return p;
}

/* The oldest turn goes, and the same is asked once more. As it is only once, further turns
 * go with it where the server's own numbers say that one is not enough; where it says none,
 * one has to do. */
static bool shrink(struct turn *t, const char *refusal)
{
	const struct prompt p = prompt_of(t);

	if (t->shrunk || t->skip_turns >= json_array_size(t->turns))
		return false;
	t->shrunk = true;
	t->skip_turns = prompt_shrink(&p, refusal);
	return true;
}

static bool take_next(struct turn *t, struct candidate_needs needs);

/* The answer broke off; another LLM writes the rest. */
static bool go_on(struct turn *t)
{
	const struct candidate_needs needs = {.eyes = t->chat.has_images, .to_go_on = true};

	if (!cfg_bool(t->config, CFG_LLM_CONTINUE) || !take_next(t, needs))
		return false;
	t->going_on = true;
	ask_same(t);
	return true;
}

static void recover(struct turn *t, const struct attempt_outcome *r)
{
	const struct failure *f = failure_of(r->end);
	bool shown = answer_is_shown(t->answer);

	/* The server closed the connection that we were about to reuse: no one's fault. */
	if (r->reused && !shown && !t->retried) {
		t->retried = true;
		ask_same(t);
		return;
	}
	note_failure(t, r);
	if (f->counts)
		report_failure(t, r);
	calls_clear(&t->calls);
	switch (shown ? f->after : f->before) {
	case FAILURE_NEXT:
		tried_add(&t->tried, t->llm->instance);
		turn_ask_next(t);
		return;
	case FAILURE_SHRINK:
		if (shrink(t, r->text)) {
			ask_same(t);
			return;
		}
		break;
	case FAILURE_GO_ON:
		tried_add(&t->tried, t->llm->instance);
		if (go_on(t))
			return;
		break;
	case FAILURE_TELL:
	case FAILURE_NONE:
		break;
	}
	if (shown || r->end != ATTEMPT_REFUSED || *r->text == '\0') {
		turn_fail(t, shown ? f->broken : f->sentence);
		return;
	}
	snprintf(t->sentence, sizeof t->sentence, "%.*s: %s", (int)strlen(f->sentence) - 1, f->sentence, r->text);
	turn_fail(t, t->sentence);
}

/* Some servers let a model call tools although they were closed: once it is told so, then
 * it ends here. */
static bool may_call(const struct turn *t)
{
	return t->offered && t->rounds <= (unsigned)cfg_int(t->config, CFG_LIMITS_TOOL_ROUNDS);
}

static void on_ask_ended(void *arg, const struct attempt_outcome *r)
{
	struct turn *t = arg;
	const char *note = cfg_str(t->config, CFG_PROMPT_LENGTH_NOTE);

	t->ask = NULL;
	answer_end_ask(t->answer, r->completion_tokens, r->end == ATTEMPT_COMPLETE);
	if (r->end != ATTEMPT_COMPLETE) {
		recover(t, r);
		return;
	}
	report(t, r);
	calls_finish(&t->calls);
	if (t->calls.count > 0 && may_call(t)) {
		turn_run_tools(t);
		return;
	}
	if (!answer_is_shown(t->answer))
		emitter_sentence(answer_emitter(t->answer),
		                 t->calls.count > 0 ? KEEPS_CALLING
		                                    : "The language model gave an empty answer. Please ask again.");
	else if (r->stopped_at_limit && note != NULL)
		emitter_sentence(answer_emitter(t->answer), note);
	turn_complete(t);
}

static const struct attempt_handlers attempt_handlers = {
	.text = on_ask_text,
	.reasoning = on_ask_reasoning,
	.tool_calls = on_ask_tool_calls,
	.ended = on_ask_ended,
};

static char *body_for(struct turn *t, size_t *len)
{
	struct prompt p = prompt_of(t);
	size_t beyond;

	if (t->going_on)
		p.started = answer_started(t->answer, &p.started_len);
	beyond = prompt_fit(&p);
	t->offered = p.tools != NULL;
	if (p.skip_turns < beyond)
		p.skip_turns = beyond;
	t->skip_turns = p.skip_turns;
	return prompt_body(&p, t->host->prompts, len);
}

/* Who may wait less for the first token does not wait longer for the next one. */
static int64_t stall_ms(const struct config *c)
{
	int64_t silence = cfg_ms(c, CFG_LLM_SILENCE_TIMEOUT), stall = cfg_ms(c, CFG_LLM_STALL_TIMEOUT);

	return stall < silence ? stall : silence;
}

/* Asks t->llm. */
static void ask_same(struct turn *t)
{
	struct attempt_request r = {
		.url = status_text(t->snapshot, t->llm->url),
		.resolve = status_text(t->snapshot, t->llm->resolve),
		.bearer = status_text(t->snapshot, t->llm->token),
		.ca_file = cfg_str(t->config, CFG_CLOUD_CA_FILE),
		.connect_ms = cfg_ms(t->config, CFG_LLM_CONNECT_TIMEOUT),
		.silence_ms = cfg_ms(t->config, CFG_LLM_SILENCE_TIMEOUT),
		.stall_ms = stall_ms(t->config),
	};
	char *body = body_for(t, &r.body_len);

	r.body = body;
	t->state = TURN_ASK;
	if (t->going_on)
		answer_go_on(t->answer);
	else
		answer_begin(t->answer);
	t->ask_began_boot_ms = clock_boot_ms();
	t->heard = 0;
	turn_wake_in(t, t->deadline_ms > clock_mono_ms() ? t->deadline_ms - clock_mono_ms() : 0);
	if (body != NULL)
		t->ask = attempt_start(t->host->base, t->host->http, &r, &attempt_handlers, t);
	free(body);
	if (t->ask == NULL)
		turn_fail(t, "The service is out of memory. Please try again in a moment.");
	else if (t->paused)
		attempt_pause(t->ask);
}

/* Takes the best candidate into t->llm; false: none is left. */
static bool take_next(struct turn *t, struct candidate_needs needs)
{
	struct status_snapshot *fresh = t->host->snapshot(t->host->arg);
	const struct status_llm *next =
		fresh == NULL ? NULL : candidates_next(fresh, t->host->bench, &t->tried, needs, clock_wall_ms());

	if (next == NULL) {
		if (fresh != NULL)
			status_release(fresh);
		return false;
	}
	if (t->tried.count > 0)
		t->failovers++;
	if (t->llm != NULL && t->llm->instance != next->instance)
		t->skip_turns = 0; /* what its own window holds is sent */
	if (t->snapshot != NULL)
		status_release(t->snapshot);
	t->snapshot = fresh;
	t->llm = next;
	t->retried = t->shrunk = false;
	return true;
}

const char *turn_obstacle(const struct chat_services *host, const struct chat_request *chat)
{
	struct status_snapshot *s = chat->has_images ? host->snapshot(host->arg) : NULL;
	bool blind = s != NULL && status_header(s)->usable_count > 0 && !candidates_see_images(s);

	if (s != NULL)
		status_release(s);
	return blind ? NO_EYES : NULL;
}

void turn_ask_next(struct turn *t)
{
	const struct candidate_needs needs = {.eyes = t->chat.has_images};
	const char *obstacle;

	t->going_on = false;
	if (take_next(t, needs)) {
		ask_same(t);
		return;
	}
	obstacle = turn_obstacle(t->host, &t->chat); /* models come and go since the turn began */
	turn_fail(t, obstacle != NULL ? obstacle : failure_of(t->last_end)->sentence);
}
