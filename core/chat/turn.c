#include "core/chat/turn.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/chat/answer.h"
#include "core/chat/ask.h"
#include "core/chat/calls.h"
#include "core/chat/failure.h"
#include "core/chat/keep.h"
#include "core/chat/prompt.h"
#include "core/chat/tool_round.h"
#include "core/llm/llm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAVE_WAIT_MS  100
#define HOLD_LOOK_MS  50
#define KEEP_ALIVE_MS 10000
#define TOO_LONG "The answer took longer than this service allows and was stopped."
#define WAITING_TEXT "Agent is still initializing, waiting for LLM to become available..."

enum turn_state { TURN_LOAD, TURN_WAIT, TURN_ASK, TURN_TOOLS, TURN_SAVE };

struct turn {
	const struct turn_host *host;
	const struct turn_output *output;
	void *output_arg;
	enum turn_state state;
	bool paused;

	struct chat_request chat;
	char *subject, *request_id;
	char *sandbox; /* the conversation's name for tools: subject and thread */
	struct config *config;
	json_t *turns;    /* of the thread, before this one */
	json_t *messages; /* of this turn, the user's first */
	json_t *tools;    /* definitions, NULL: none */
	json_t *asked;    /* searches of this turn */
	struct answer *answer;
	struct event *wake; /* the next step from the loop; the end of waiting for the store */
	struct store_request *stored;

	/* The ask that runs, and where it was asked. */
	struct ask *ask;
	struct status_snapshot *snapshot;
	const struct status_llm *llm;
	struct tried tried;
	size_t skip_turns;
	bool shrunk, retried;
	int64_t ask_began_boot_ms;
	struct calls calls; /* that it made */
	struct tool_round *round;
	struct tool_context tool_context;
	int64_t deadline_ms, tools_deadline_ms; /* CLOCK_MONOTONIC */

	/* What the log line says. */
	unsigned rounds, tool_runs, failovers;
	const char *status;
	enum ask_end last_end; /* of the ask that failed last */
	char failure[300], sentence[400];
};

#define NO_EYES "None of the available language models can see images. Please send text only, or deploy a vision model."

static void ask_next(struct turn *t);
static void ask_same(struct turn *t);

/* ---- the way out ------------------------------------------------------------------ */

static void turn_free(struct turn *t)
{
	counters_add(t->host->counters, COUNTER_ACTIVE_TURNS, -1);
	chat_request_clear(&t->chat);
	calls_clear(&t->calls);
	json_decref(t->turns);
	json_decref(t->messages);
	json_decref(t->tools);
	json_decref(t->asked);
	answer_free(t->answer);
	if (t->wake != NULL)
		event_free(t->wake);
	if (t->snapshot != NULL)
		status_release(t->snapshot);
	config_unref(t->config);
	free(t->subject);
	free(t->request_id);
	free(t->sandbox);
	free(t);
}

static void count_end(struct turn *t, enum counter outcome)
{
	struct answer_figures f;

	answer_figures(t->answer, &f);
	counters_add(t->host->counters, outcome, 1);
	counters_add(t->host->counters, COUNTER_TOKENS, f.tokens);
	counters_add(t->host->counters, COUNTER_FAILOVERS, (int64_t)t->failovers);
}

static double seconds(int64_t ns)
{
	return ns < 0 ? -1 : (double)ns / 1e9;
}

static void log_turn(const struct turn *t)
{
	const char *model = t->llm == NULL ? NULL : status_text(t->snapshot, t->llm->model);
	struct answer_figures f;

	answer_figures(t->answer, &f);
	log_info("turn", L_STR("request_id", t->request_id), L_STR("model", model), L_STR("status", t->status),
	         L_INT("tokens", f.tokens), L_REAL("ttft", seconds(f.ttft_ns)), L_REAL("total", seconds(f.total_ns)),
	         L_INT("tools", t->tool_runs), L_INT("failovers", t->failovers),
	         L_STR("reason", *t->failure == '\0' ? NULL : t->failure));
}

static void turn_end(struct turn *t)
{
	const struct turn_output *output = t->output;
	void *arg = t->output_arg;

	log_turn(t);
	turn_free(t);
	output->end(arg);
}

static void end_with_stats(struct turn *t)
{
	answer_finish(t->answer);
	turn_end(t);
}

static void on_saved(void *arg, const struct err *e)
{
	struct turn *t = arg;

	t->stored = NULL;
	if (e != NULL)
		log_warning("history_not_saved", L_STR("request_id", t->request_id), L_STR("error", e->text));
	end_with_stats(t);
}

static json_t *messages_to_keep(struct turn *t, bool interrupted)
{
	size_t len;
	const char *text = answer_text(t->answer, &len);

	return keep_messages(t->messages, text, len, interrupted);
}

/* One timer for whatever the state waits for. */
static void wake_in(struct turn *t, int64_t ms)
{
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_add(t->wake, &tv);
}

static void save(struct turn *t, bool interrupted)
{
	const struct store_key key = {.subject = t->subject, .thread_id = t->chat.thread_id};
	json_t *messages = messages_to_keep(t, interrupted);

	t->state = TURN_SAVE;
	if (messages == NULL) {
		end_with_stats(t);
		return;
	}
	t->stored = store_append(t->host->store, &key, messages, on_saved, t);
	if (t->stored == NULL) {
		log_warning("history_not_saved", L_STR("request_id", t->request_id), L_STR("error", "no memory"));
		end_with_stats(t);
		return;
	}
	wake_in(t, SAVE_WAIT_MS);
}

static void complete(struct turn *t)
{
	t->status = "complete";
	count_end(t, COUNTER_TURNS_COMPLETE);
	save(t, false);
}

static void fail(struct turn *t, const char *sentence)
{
	t->status = "broken";
	count_end(t, COUNTER_TURNS_BROKEN);
	emitter_sentence(answer_emitter(t->answer), sentence);
	save(t, true);
}

/* ---- what an ask delivers --------------------------------------------------------- */

static void on_emitted(void *arg, const char *bytes, size_t len, bool apart)
{
	struct turn *t = arg;

	if (t->output->write(t->output_arg, bytes, len, apart) > 0 && !t->paused) {
		t->paused = true;
		if (t->ask != NULL)
			ask_pause(t->ask);
	}
}

static void on_leaked_call(void *arg, const char *name, const char *arguments)
{
	calls_add(&((struct turn *)arg)->calls, name, arguments);
}

static bool on_is_tool(void *arg, const char *name, size_t len)
{
	struct turn *t = arg;

	return t->tools != NULL && toolbox_find(t->config, name, len) != NULL;
}

static const struct answer_handlers answer_handlers = {
	.write = on_emitted,
	.call = on_leaked_call,
	.is_tool = on_is_tool,
};

static void on_ask_text(void *arg, const char *bytes, size_t len)
{
	answer_content(((struct turn *)arg)->answer, bytes, len);
}

static void on_ask_reasoning(void *arg, const char *bytes, size_t len)
{
	answer_reasoning(((struct turn *)arg)->answer, bytes, len);
}

static void on_ask_tool_calls(void *arg, const json_t *fragments)
{
	calls_merge(&((struct turn *)arg)->calls, fragments);
}

/* ---- tools ------------------------------------------------------------------------ */

static void on_tool_started(void *arg, const struct tool *tool, const json_t *args)
{
	struct turn *t = arg;
	const char *query = json_string_value(json_object_get(args, "query"));

	t->tool_runs++;
	if (tool->shows == TOOL_SHOWS_CODE)
		emitter_running_code(answer_emitter(t->answer));
	else
		emitter_search(answer_emitter(t->answer), query == NULL ? "" : query);
}

static void on_tool_finished(void *arg, const struct tool *tool, const struct tool_result *result)
{
	struct turn *t = arg;

	(void)tool;
	for (size_t i = 0; i < result->source_count; i++)
		emitter_source(answer_emitter(t->answer), result->sources[i].title, result->sources[i].url);
	if (result->source_count == 0)
		emitter_tool_done(answer_emitter(t->answer));
}

static void on_round_ended(void *arg, const json_t *results)
{
	struct turn *t = arg;

	t->round = NULL;
	json_array_extend(t->messages, (json_t *)(uintptr_t)results);
	t->rounds++;
	t->tried.count = 0; /* a new ask: its candidates are all open again */
	ask_next(t);
}

static const struct tool_round_handlers round_handlers = {
	.started = on_tool_started,
	.finished = on_tool_finished,
	.ended = on_round_ended,
};

static void run_tools(struct turn *t)
{
	size_t len;
	const char *text = answer_text(t->answer, &len);

	t->state = TURN_TOOLS;
	json_array_append_new(t->messages, tool_round_message(&t->calls, text, len));
	answer_begin(t->answer);
	t->tool_context = (struct tool_context){
		.base = t->host->base,
		.http = t->host->http(t->host->arg),
		.config = t->config,
		.thread = t->sandbox,
	};
	t->round = tool_round_start(t->host->toolbox, &t->tool_context, &t->calls, t->asked, &round_handlers, t);
	calls_clear(&t->calls);
	wake_in(t, KEEP_ALIVE_MS);
	if (t->round == NULL)
		fail(t, "The tools could not be run because memory is out. Please try again in a moment.");
}

/* ---- asking ----------------------------------------------------------------------- */

static void report_failure(struct turn *t, const struct ask_result *r)
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

	bench_add(t->host->bench, t->llm->instance, clock_wall_ms());
	if (t->host->report != NULL)
		t->host->report(t->host->arg, &report);
}

static void note_failure(struct turn *t, const struct ask_result *r)
{
	t->last_end = r->end;
	snprintf(t->failure, sizeof t->failure, "%s%s%s", ask_end_text(r->end), *r->text == '\0' ? "" : ": ", r->text);
	log_warning("ask_failed", L_STR("request_id", t->request_id),
	            L_STR("model", status_text(t->snapshot, t->llm->model)), L_STR("end", ask_end_text(r->end)),
	            L_INT("status", r->status), L_STR("text", r->text), L_INT("shown", answer_is_shown(t->answer)));
}

/* The thread's older half goes, whole turns, at least one. */
static bool shrink(struct turn *t)
{
	size_t left = json_array_size(t->turns) - t->skip_turns;

	if (t->shrunk || left == 0)
		return false;
	t->shrunk = true;
	t->skip_turns += (left + 1) / 2;
	return true;
}

static void recover(struct turn *t, const struct ask_result *r)
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
		ask_next(t);
		return;
	case FAILURE_SHRINK:
		if (shrink(t)) {
			ask_same(t);
			return;
		}
		break;
	case FAILURE_TELL:
	case FAILURE_NONE:
		break;
	}
	if (shown || r->end != ASK_REFUSED || *r->text == '\0') {
		fail(t, shown ? f->broken : f->sentence);
		return;
	}
	snprintf(t->sentence, sizeof t->sentence, "%.*s: %s", (int)strlen(f->sentence) - 1, f->sentence, r->text);
	fail(t, t->sentence);
}

/* Some servers let a model call tools although they were closed: it ends here. */
static bool may_call(const struct turn *t)
{
	return t->tools != NULL && t->rounds <= (unsigned)cfg_int(t->config, CFG_LIMITS_TOOL_ROUNDS);
}

static void on_ask_ended(void *arg, const struct ask_result *r)
{
	struct turn *t = arg;
	const char *note = cfg_str(t->config, CFG_PROMPT_LENGTH_NOTE);

	t->ask = NULL;
	answer_end_ask(t->answer, r->completion_tokens);
	if (r->end != ASK_COMPLETE) {
		recover(t, r);
		return;
	}
	calls_finish(&t->calls);
	if (t->calls.count > 0 && may_call(t)) {
		run_tools(t);
		return;
	}
	if (!answer_is_shown(t->answer))
		emitter_sentence(answer_emitter(t->answer), "The language model gave an empty answer. Please ask again.");
	else if (r->stopped_at_limit && note != NULL)
		emitter_sentence(answer_emitter(t->answer), note);
	complete(t);
}

static const struct ask_handlers ask_handlers = {
	.text = on_ask_text,
	.reasoning = on_ask_reasoning,
	.tool_calls = on_ask_tool_calls,
	.ended = on_ask_ended,
};

static char *body_for(struct turn *t, size_t *len)
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
		.tools_used_up = t->rounds >= (unsigned)cfg_int(t->config, CFG_LIMITS_TOOL_ROUNDS) ||
		                 clock_mono_ms() >= t->tools_deadline_ms,
		.turns = t->turns,
		.messages = t->messages,
	};

	p.tools = p.uses_tools ? t->tools : NULL;
	p.skip_turns = prompt_fit(&p);
	if (p.skip_turns < t->skip_turns)
		p.skip_turns = t->skip_turns;
	t->skip_turns = p.skip_turns;
	return prompt_body(&p, len);
}

/* Asks t->llm. */
static void ask_same(struct turn *t)
{
	struct ask_request r = {
		.url = status_text(t->snapshot, t->llm->url),
		.resolve = status_text(t->snapshot, t->llm->resolve),
		.bearer = status_text(t->snapshot, t->llm->token),
		.ca_file = cfg_str(t->config, CFG_CLOUD_CA_FILE),
		.connect_ms = cfg_ms(t->config, CFG_LLM_CONNECT_TIMEOUT),
		.silence_ms = cfg_ms(t->config, CFG_LLM_SILENCE_TIMEOUT),
	};
	char *body = body_for(t, &r.body_len);

	r.body = body;
	t->state = TURN_ASK;
	answer_begin(t->answer);
	t->ask_began_boot_ms = clock_boot_ms();
	wake_in(t, t->deadline_ms > clock_mono_ms() ? t->deadline_ms - clock_mono_ms() : 0);
	if (body != NULL)
		t->ask = ask_start(t->host->base, t->host->http(t->host->arg), &r, &ask_handlers, t);
	free(body);
	if (t->ask == NULL)
		fail(t, "The service is out of memory. Please try again in a moment.");
	else if (t->paused)
		ask_pause(t->ask);
}

static void ask_next(struct turn *t)
{
	struct status_snapshot *fresh = t->host->snapshot(t->host->arg);
	const struct status_llm *next =
		fresh == NULL ? NULL
			      : candidates_next(fresh, t->host->bench, &t->tried, t->chat.has_images, clock_wall_ms());

	if (next == NULL) {
		bool blind = t->chat.has_images && fresh != NULL && !candidates_see_images(fresh);

		if (fresh != NULL)
			status_release(fresh);
		fail(t, blind ? NO_EYES : failure_of(t->last_end)->sentence);
		return;
	}
	if (t->tried.count > 0)
		t->failovers++;
	if (t->snapshot != NULL)
		status_release(t->snapshot);
	t->snapshot = fresh;
	t->llm = next;
	t->retried = false;
	ask_same(t);
}

/* ---- beginning -------------------------------------------------------------------- */

static void write_waiting(struct turn *t)
{
	static const char json[] = "data: {\"status\": \"waiting\", \"message\": \"" WAITING_TEXT "\"}\n\n";
	const char *form = t->config == NULL ? "json" : cfg_str(t->config, CFG_POLLING_WAITING_REPLY);

	t->status = "waiting";
	if (strcmp(form, "text") == 0)
		t->output->write(t->output_arg, WAITING_TEXT, sizeof WAITING_TEXT - 1, false);
	else
		t->output->write(t->output_arg, json, sizeof json - 1, false);
	turn_end(t);
}

static void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	struct turn *t = arg;

	t->stored = NULL;
	if (e != NULL)
		log_warning("history_not_loaded", L_STR("request_id", t->request_id), L_STR("error", e->text));
	t->turns = json_incref((json_t *)(uintptr_t)turns);
	ask_next(t);
}

static bool there_is_an_llm(struct turn *t)
{
	struct status_snapshot *s = t->config == NULL ? NULL : t->host->snapshot(t->host->arg);
	bool usable = s != NULL && status_header(s)->usable_count > 0;

	if (s != NULL)
		status_release(s);
	return usable;
}

static bool load(struct turn *t)
{
	const struct store_key key = {.subject = t->subject, .thread_id = t->chat.thread_id};

	t->tools = toolbox_definitions(t->config);
	t->tools_deadline_ms = clock_mono_ms() + cfg_ms(t->config, CFG_LIMITS_TOOL_TIME);
	t->deadline_ms = clock_mono_ms() + cfg_ms(t->config, CFG_LIMITS_TURN_TIME);
	t->state = TURN_LOAD;
	t->stored = store_load(t->host->store, &key, on_loaded, t);
	return t->stored != NULL;
}

/* In TURN_WAIT: an LLM may have come. */
static void look_for_llm(struct turn *t)
{
	if (there_is_an_llm(t) && load(t))
		return;
	if (clock_mono_ms() >= t->deadline_ms)
		write_waiting(t);
	else
		wake_in(t, HOLD_LOOK_MS);
}

/* In TURN_TOOLS: proxies are shown that the answer is still coming; what runs too long is
 * ended, and the model answers with what it has. */
static void watch_tools(struct turn *t)
{
	if (clock_mono_ms() >= t->tools_deadline_ms) {
		tool_round_expire(t->round);
		return;
	}
	emitter_keep_alive(answer_emitter(t->answer));
	wake_in(t, KEEP_ALIVE_MS);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct turn *t = arg;

	(void)fd;
	(void)what;
	switch (t->state) {
	case TURN_WAIT:
		look_for_llm(t);
		break;
	case TURN_TOOLS:
		watch_tools(t);
		break;
	case TURN_SAVE:
		/* The store takes longer than anyone should wait; the turn is kept all the same. */
		store_cancel(t->stored);
		t->stored = NULL;
		log_warning("history_slow", L_STR("request_id", t->request_id));
		end_with_stats(t);
		break;
	case TURN_ASK:
		ask_cancel(t->ask);
		t->ask = NULL;
		answer_end_ask(t->answer, -1);
		snprintf(t->failure, sizeof t->failure, "deadline");
		fail(t, TOO_LONG);
		break;
	case TURN_LOAD:
		break; /* the store answers in any case */
	}
}

static bool allocate(struct turn *t, struct turn_request *request)
{
	t->subject = strdup(request->subject == NULL ? "" : request->subject);
	t->request_id = strdup(request->request_id);
	if (asprintf(&t->sandbox, "%s\n%s", t->subject == NULL ? "" : t->subject, request->chat.thread_id) < 0)
		t->sandbox = NULL;
	t->answer = answer_new(&answer_handlers, t);
	t->wake = evtimer_new(t->host->base, on_wake, t);
	t->asked = json_object();
	t->messages = json_pack("[{s:s, s:O}]", "role", "user", "content", request->chat.content);
	return t->subject != NULL && t->request_id != NULL && t->sandbox != NULL &&
	       t->answer != NULL &&
	       t->wake != NULL && t->asked != NULL && t->messages != NULL;
}

static void begin_waiting(struct turn *t)
{
	int64_t hold_ms = t->config == NULL ? 0 : cfg_ms(t->config, CFG_POLLING_HOLD);

	t->state = TURN_WAIT;
	t->deadline_ms = clock_mono_ms() + hold_ms;
	if (hold_ms == 0)
		event_active(t->wake, EV_TIMEOUT, 0);
	else
		wake_in(t, HOLD_LOOK_MS);
}

struct turn *turn_start(const struct turn_host *host, struct turn_request *request,
                        const struct turn_output *output, void *output_arg)
{
	struct turn *t = calloc(1, sizeof *t);

	if (t == NULL)
		return NULL;
	counters_add(host->counters, COUNTER_ACTIVE_TURNS, 1);
	t->host = host;
	t->output = output;
	t->output_arg = output_arg;
	t->status = "cancelled";
	t->last_end = ASK_UNREACHABLE;
	calls_init(&t->calls);
	t->config = host->config(host->arg);
	if (!allocate(t, request)) {
		turn_free(t);
		return NULL;
	}
	t->chat = request->chat;
	memset(&request->chat, 0, sizeof request->chat);
	if (!there_is_an_llm(t)) {
		begin_waiting(t);
	} else if (!load(t)) {
		request->chat = t->chat;
		memset(&t->chat, 0, sizeof t->chat);
		turn_free(t);
		return NULL;
	}
	counters_add(host->counters, COUNTER_TURNS, 1);
	return t;
}

void turn_resume(struct turn *t)
{
	if (!t->paused)
		return;
	t->paused = false;
	if (t->ask != NULL)
		ask_resume(t->ask);
}

void turn_cancel(struct turn *t)
{
	const struct store_key key = {.subject = t->subject, .thread_id = t->chat.thread_id};

	if (t->ask != NULL)
		ask_cancel(t->ask);
	if (t->round != NULL)
		tool_round_cancel(t->round);
	if (t->stored != NULL) {
		store_cancel(t->stored);
	} else if (t->state != TURN_WAIT) {
		json_t *messages = messages_to_keep(t, true);

		if (messages != NULL)
			store_append(t->host->store, &key, messages, NULL, NULL);
	}
	if (t->state == TURN_SAVE)
		t->status = "complete"; /* only the statistics were not read any more */
	else
		count_end(t, COUNTER_TURNS_CANCELLED);
	log_turn(t);
	turn_free(t);
}
