/* SPDX-License-Identifier: Apache-2.0 */
/* What an attempt comes to: what the daemon is told of it, and what follows when it has ended. */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/utf8.h"
#include "core/llm/llm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEEPS_CALLING "The language model asked for tools again and again instead of answering. Please ask again."
#define CALL_TOO_LONG "The language model called a tool with arguments that are longer than this service passes on."
#define SHRINKS_MAX   3 /* requests with less to one LLM */

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

/* The LLM says why. */
static enum step fail_with_reason(struct turn *t, const struct consequence *f, const char *reason)
{
	char text[600];

	snprintf(text, sizeof text, "%.*s: %.*s", (int)strlen(f->sentence) - 1, f->sentence, (int)utf8_cut(reason, 300),
	         reason);
	return turn_fail(t, f->why, text);
}

enum step turn_none_answered(struct turn *t)
{
	const struct upstream *up = &t->upstream;
	const struct consequence *f = &failures[up->failure];

	if (up->continuing)
		return turn_fail(t, FAILURE_UPSTREAM, up->tried.count == 0 ? NOT_RESUMED : f->broken);
	if (up->refusal != NULL)
		return fail_with_reason(t, f, up->refusal);
	return turn_fail(t, f->why, f->sentence);
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
	report(t, whole ? HTTP_CUT : o->http, status, o->http == HTTP_DONE ? o->error->text : "", NULL);
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
	snprintf(t->log.reason, sizeof t->log.reason, "%s%s%.*s", result, *o->error->text == '\0' ? "" : ": ",
	         (int)utf8_cut(o->error->text, 250), o->error->text);
	if (o->result == ATTEMPT_NO_RESOURCES)
		return; /* logged already, once for all turns */
	log_event(LOG_ATTEMPT_FAILED, L_STR("request_id", t->log.request_id),
	          L_STR("model", status_text(t->upstream.snapshot, t->upstream.llm->model)), L_STR("result", result),
	          L_INT("status", o->status), L_STR("text", o->error->text),
	          L_INT("shown", answer_is_shown(&t->answer)));
}

/* The same LLM is asked again with less. First the oldest turn goes, and further ones where the server's own
 * numbers say that one is not enough; that happens only once. What does not fit then are the results of this
 * turn's tools, if there are any: they are cut, at last without any turns before them. */
static bool shrink(struct turn *t, const char *refusal)
{
	struct upstream *up = &t->upstream;
	struct prompt p = turn_prompt_of(t);
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
	const struct prompt p = turn_prompt_of(t);
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
	const struct prompt p = turn_prompt_of(t);

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
		if (shrink(t, o->error->text))
			return STEP_ATTEMPT;
		if (t->answer.reply->protocol->tells_ends && *o->error->text != '\0') {
			free(up->refusal); /* its clients look for the numbers in it */
			up->refusal = strdup(o->error->text);
		}
		tried_add(&up->tried, up->llm->instance); /* another one may have a larger window */
		return STEP_CHOOSE;
	case GIVE_UP:
		break;
	}
	if (!shown && o->result == ATTEMPT_USED_UP)
		return fail_used_up(t);
	if (!shown && o->result == ATTEMPT_REFUSED && *o->error->text != '\0')
		return fail_with_reason(t, f, o->error->text);
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
	turn_attempt_end_span(t, o);
	next = conclude(t, o);
	if (next != STEP_ATTEMPT) /* at the same LLM, and so at the same place */
		turn_give_place(t, end);
	return next;
}
