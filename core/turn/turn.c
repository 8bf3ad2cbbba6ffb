/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/turn/history.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOAD_WAIT_MS 2000
#define SAVE_WAIT_MS 100
#define TOO_LONG     "The answer took longer than this service allows and was stopped."
#define WAITING_TEXT "Agent is still initializing, waiting for LLM to become available..."

/* ---- the way out ------------------------------------------------------------------ */

static void turn_free(struct turn *t)
{
	counters_add(t->host->counters, COUNTER_ACTIVE_TURNS, -1);
	wait_queue_leave(&t->waiter);
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
	if (e != NULL) /* the store tells of it itself, once for all turns */
		log_debug("history_not_saved", L_STR("request_id", t->request_id), L_STR("error", e->text));
	end_with_stats(t);
}

static json_t *messages_to_keep(struct turn *t, bool interrupted)
{
	size_t len;
	const char *text = answer_text(t->answer, &len);

	return history_messages(t->messages, text, len, interrupted);
}

void turn_wake_in(struct turn *t, int64_t ms)
{
	const struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_add(t->wake, &tv);
}

static void save(struct turn *t, bool interrupted)
{
	const struct store_key key = {.subject = t->subject, .thread_id = t->chat.thread_id};
	json_t *messages = messages_to_keep(t, interrupted);

	t->state = TURN_SAVE;
	answer_close(t->answer); /* goes out while the store works */
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
	turn_wake_in(t, SAVE_WAIT_MS);
}

void turn_complete(struct turn *t)
{
	t->status = "complete";
	count_end(t, COUNTER_TURNS_COMPLETE);
	save(t, false);
}

void turn_fail(struct turn *t, const char *sentence)
{
	t->status = "broken";
	count_end(t, COUNTER_TURNS_BROKEN);
	emitter_sentence(answer_emitter(t->answer), sentence);
	save(t, true);
}

/* ---- what the answer writes ------------------------------------------------------- */

static void on_emitted(void *arg, const char *bytes, size_t len, bool apart)
{
	struct turn *t = arg;

	if (t->output->write(t->output_arg, bytes, len, apart) > 0 && !t->paused) {
		t->paused = true;
		if (t->ask != NULL)
			attempt_pause(t->ask);
	}
}

static void on_leaked_call(void *arg, const char *name, const char *arguments)
{
	calls_add(&((struct turn *)arg)->calls, name, arguments);
}

static bool on_is_tool(void *arg, const char *name, size_t len)
{
	struct turn *t = arg;

	return t->offered && toolbox_find(t->config, name, len) != NULL;
}

static const struct answer_handlers answer_handlers = {
	.write = on_emitted,
	.call = on_leaked_call,
	.is_tool = on_is_tool,
};

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
		log_debug("history_not_loaded", L_STR("request_id", t->request_id), L_STR("error", e->text));
	t->turns = json_incref((json_t *)(uintptr_t)turns);
	turn_ask_next(t);
}

/* A disk that hangs costs a turn its memory, not its answer. */
static void load_without_history(struct turn *t)
{
	store_cancel(t->stored);
	log_warning("history_not_loaded", L_STR("request_id", t->request_id),
	            L_STR("error", "the store did not answer in time"), L_INT("waited_ms", LOAD_WAIT_MS));
	on_loaded(t, NULL, NULL);
}

bool chat_services_has_llm(const struct chat_services *host)
{
	struct status_snapshot *s = host->snapshot(host->arg);
	bool usable = s != NULL && status_header(s)->usable_count > 0;

	if (s != NULL)
		status_release(s);
	return usable;
}

static bool there_is_an_llm(const struct turn *t)
{
	return t->config != NULL && chat_services_has_llm(t->host);
}

static bool load(struct turn *t)
{
	const struct store_key key = {.subject = t->subject, .thread_id = t->chat.thread_id};

	t->tools = toolbox_definitions(t->host->toolbox, t->config);
	t->tools_left_ms = cfg_ms(t->config, CFG_LIMITS_TOOL_TIME);
	t->deadline_ms = clock_mono_ms() + cfg_ms(t->config, CFG_LIMITS_TURN_TIME);
	t->state = TURN_LOAD;
	t->stored = store_load(t->host->store, &key, on_loaded, t);
	if (t->stored == NULL)
		return false;
	turn_wake_in(t, LOAD_WAIT_MS);
	return true;
}

/* In TURN_WAIT: an LLM has come, or the time is over. */
static void stop_waiting(void *arg)
{
	struct turn *t = arg;

	wait_queue_leave(&t->waiter);
	if (!there_is_an_llm(t) || !load(t))
		write_waiting(t);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct turn *t = arg;

	(void)fd;
	(void)what;
	switch (t->state) {
	case TURN_WAIT:
		stop_waiting(t);
		break;
	case TURN_TOOLS:
		turn_watch_tools(t);
		break;
	case TURN_SAVE:
		/* The store takes longer than anyone should wait; the turn is kept all the same. */
		store_cancel(t->stored);
		t->stored = NULL;
		log_warning("history_slow", L_STR("request_id", t->request_id));
		end_with_stats(t);
		break;
	case TURN_ASK:
		attempt_cancel(t->ask);
		t->ask = NULL;
		answer_end_ask(t->answer, -1, false);
		snprintf(t->failure, sizeof t->failure, "deadline");
		turn_fail(t, TOO_LONG);
		break;
	case TURN_LOAD:
		load_without_history(t);
		break;
	}
}

/* As the store tells conversations apart; NULL: no memory. */
static char *sandbox_name(const struct turn *t, const struct turn_request *request)
{
	const char *thread_id = request->chat.thread_id, *run = store_id_is_short(thread_id) ? t->host->run : "";
	char *name;

	return t->subject == NULL || asprintf(&name, "%s\n%s\n%s", run, t->subject, thread_id) < 0 ? NULL : name;
}

static bool allocate(struct turn *t, struct turn_request *request)
{
	t->subject = strdup(request->subject == NULL ? "" : request->subject);
	t->request_id = strdup(request->request_id);
	t->sandbox = sandbox_name(t, request);
	t->answer = answer_new(&answer_handlers, t);
	t->wake = evtimer_new(t->host->base, on_wake, t);
	t->asked = json_object();
	t->messages = json_pack("[{s:s, s:O}]", "role", "user", "content", request->chat.content);
	return t->subject != NULL && t->request_id != NULL && t->sandbox != NULL && t->answer != NULL &&
	       t->wake != NULL && t->asked != NULL && t->messages != NULL;
}

static void begin_waiting(struct turn *t)
{
	int64_t hold_ms = t->config == NULL ? 0 : cfg_ms(t->config, CFG_POLLING_HOLD);

	t->state = TURN_WAIT;
	t->waiter = (struct waiter){.called = stop_waiting, .arg = t};
	if (hold_ms > 0 &&
	    wait_queue_enter(t->host->waiting, &t->waiter, (size_t)cfg_int(t->config, CFG_LIMITS_WAITING)))
		turn_wake_in(t, hold_ms);
	else
		event_active(t->wake, EV_TIMEOUT, 0);
}

struct turn *turn_start(const struct chat_services *host, struct turn_request *request,
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
	t->last_end = ATTEMPT_UNREACHABLE;
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
		attempt_resume(t->ask);
}

void turn_cancel(struct turn *t)
{
	const struct store_key key = {.subject = t->subject, .thread_id = t->chat.thread_id};

	if (t->ask != NULL)
		attempt_cancel(t->ask);
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
