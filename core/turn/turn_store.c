/* SPDX-License-Identifier: Apache-2.0 */
/* LOAD and SAVE: the history, and what is stored of this turn. */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/turn/history.h"
#include "core/turn/prompt.h"

#include <stdio.h>
#include <string.h>

#define LOAD_WAIT_MS 2000
#define SAVE_WAIT_MS 100
#define NOT_LOADED   "What was said before could not be loaded. Please try again in a moment."
#define NOT_FOUND    "There is no stored response with the id that previous_response_id says."

static struct store_key key_of(const struct turn *t)
{
	return (struct store_key){.subject = t->conversation.subject, .thread_id = t->conversation.request.thread_id};
}

static void count_failure(const struct turn *t)
{
	counters_add(t->services->counters, COUNTER_STORE_FAILURES, 1);
}

static bool has_role(const json_t *message, const char *role)
{
	const char *of = json_string_value(json_object_get(message, "role"));

	return of != NULL && strcmp(of, role) == 0;
}

/* How many of the client's messages there are up to the user's last one. */
static size_t up_to_question(const struct conversation *c)
{
	size_t count = c->given;

	while (count > 0 && !has_role(json_array_get(c->messages, count - 1), "user"))
		count--;
	return count;
}

/* Every turn so far asked what this one asks: a chat page has the first answer made once more. */
static bool is_repeated(const struct conversation *c, const json_t *turns)
{
	const json_t *question = json_array_get(c->messages, up_to_question(c) - 1);
	json_t *content = prompt_content_for_history(json_object_get(question, "content"));
	const json_t *turn;
	bool again = content != NULL;
	size_t i;

	json_array_foreach(turns, i, turn) again =
		again && json_equal(json_object_get(json_array_get(turn, 0), "content"), content);
	json_decref(content);
	return again;
}

/* The messages of this turn, the user's first, out of the client's whole conversation. A new reference; NULL:
 * there are none to store, or no memory. */
static json_t *own_messages(const struct turn *t)
{
	const struct conversation *c = &t->conversation;
	size_t from = up_to_question(c), count = json_array_size(c->messages);
	json_t *own;

	if (c->given == 0)
		return json_incref(c->messages);
	if (from == 0 || t->calls_given) /* the client's tools run: the turn goes on with their results */
		return NULL;
	own = json_array();
	for (size_t i = from - 1; i < count; i++)
		if (json_array_append(own, json_array_get(c->messages, i)) < 0) {
			json_decref(own);
			return NULL;
		}
	return own;
}

/* ---- LOAD -------------------------------------------------------------------------------- */

static void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	struct turn *t = arg;

	t->stored = NULL;
	t->not_loaded = e != NULL;
	if (e != NULL) { /* the store logs it itself, once for all turns */
		count_failure(t);
		log_event(LOG_HISTORY_NOT_LOADED_DEBUG, L_STR("request_id", t->log.request_id),
		          L_STR("error", e->text));
	}
	if (!t->conversation.request.thread_from_header || !is_repeated(&t->conversation, turns))
		t->conversation.history = json_incref((json_t *)(uintptr_t)turns);
	t->proceed(t);
}

enum step turn_load(struct turn *t)
{
	const struct chat_request *r = &t->conversation.request;
	const struct store_key key = key_of(t);

	t->tools.left_ms = cfg_ms(t->config, CFG_LIMITS_TOOL_TIME);
	t->deadline_ms = clock_mono_ms() + cfg_ms(t->config, CFG_LIMITS_TURN_TIME);
	/* What the client says of the conversation so far counts, not what is stored. */
	if (t->conversation.alone || r->client_remembers ||
	    (r->stored == NULL && chat_request_has_history(r->messages)))
		return STEP_CHOOSE;
	t->stored = store_load(t->services->store, &key, on_loaded, t);
	if (t->stored == NULL)
		return turn_fail(t, FAILURE_UNAVAILABLE, TURN_NO_MEMORY);
	turn_wake_in(t, LOAD_WAIT_MS);
	return STEP_STAY;
}

/* A client that sends only what is new relies on the rest. */
static enum step go_on_from(struct turn *t)
{
	struct conversation *c = &t->conversation;
	bool found = true;
	json_t *chain;

	if (c->history == NULL)
		return turn_fail(t, FAILURE_UNAVAILABLE, NOT_LOADED);
	chain = history_chain(c->history, c->request.previous, &found);
	json_decref(c->history);
	c->history = chain;
	if (!found)
		return turn_fail(t, FAILURE_PREVIOUS, NOT_FOUND);
	if (chain == NULL || history_lead(chain, c->messages) < 0)
		return turn_fail(t, FAILURE_UNAVAILABLE, TURN_NO_MEMORY);
	c->given = json_array_size(c->messages);
	return STEP_CHOOSE;
}

enum step turn_loaded(struct turn *t)
{
	if (t->not_loaded && cfg_bool(t->config, CFG_THREADS_REQUIRED))
		return turn_fail(t, FAILURE_UNAVAILABLE, NOT_LOADED);
	return t->conversation.request.stored != NULL ? go_on_from(t) : STEP_CHOOSE;
}

void turn_store_stop(struct turn *t)
{
	store_cancel(t->stored);
	t->stored = NULL;
}

/* If the disk hangs, a turn loses its history, not its answer. */
enum step turn_load_late(struct turn *t)
{
	turn_store_stop(t);
	t->not_loaded = true;
	count_failure(t);
	log_event(LOG_HISTORY_NOT_LOADED, L_STR("request_id", t->log.request_id),
	          L_STR("error", "the store did not answer in time"), L_INT("waited_ms", LOAD_WAIT_MS));
	return turn_loaded(t);
}

/* ---- SAVE -------------------------------------------------------------------------------- */

enum step turn_leave(struct turn *t, const char *status, enum counter outcome)
{
	struct usage u;

	answer_usage(&t->answer, &u);
	t->log.status = status;
	counters_add(t->services->counters, outcome, 1);
	counters_add(t->services->counters, COUNTER_TOKENS, u.tokens);
	counters_add(t->services->counters, COUNTER_FAILOVERS, (int64_t)t->log.failovers);
	return STEP_SAVE;
}

enum step turn_complete(struct turn *t)
{
	return turn_leave(t, "complete", COUNTER_TURNS_COMPLETE);
}

/* The client has seen a part of an answer. */
static void note_broken(const struct turn *t)
{
	const struct upstream *up = &t->upstream;
	char reason[64];
	struct event_record r;

	if (t->services->note == NULL || !answer_is_shown(&t->answer))
		return;
	/* What the LLM's server says comes after the colon. */
	snprintf(reason, sizeof reason, "%.*s", (int)strcspn(t->log.reason, ":"), t->log.reason);
	r = event_record_of(EVENT_BROKE_OFF, up->llm == NULL ? NULL : status_llm_name(up->snapshot, up->llm),
	                    up->llm == NULL ? NULL : status_text(up->snapshot, up->llm->deploy_id), NULL, reason);
	t->services->note(t->services->arg, &r);
}

enum step turn_fail(struct turn *t, enum failure why, const char *sentence)
{
	note_broken(t);
	if (answer_is_shown(&t->answer))
		counters_add(t->services->counters, COUNTER_ANSWERS_BROKEN_OFF, 1);
	answer_fail(&t->answer, why, sentence);
	return turn_leave(t, "broken", COUNTER_TURNS_BROKEN);
}

static void on_saved(void *arg, const struct err *e)
{
	struct turn *t = arg;

	t->stored = NULL;
	if (e != NULL) { /* the store logs it itself, once for all turns */
		count_failure(t);
		log_event(LOG_HISTORY_NOT_SAVED_DEBUG, L_STR("request_id", t->log.request_id), L_STR("error", e->text));
	}
	t->proceed(t);
}

/* The messages to store; NULL: there are none, or no memory. */
static json_t *messages_to_store(struct turn *t)
{
	const struct answer *a = &t->answer;
	json_t *own = own_messages(t);
	json_t *messages = own == NULL ? NULL
	                               : history_messages(own, a->text.len == 0 ? "" : a->text.data, a->text.len,
	                                                  strcmp(t->log.status, "complete") != 0);

	json_decref(own);
	return messages;
}

/* The same for a client that sends only what is new, with the record of the answer. Nobody goes on from a question
 * that was not answered. */
static json_t *messages_with_record(struct turn *t, json_t *record)
{
	const struct conversation *c = &t->conversation;
	const struct attempt_outcome *o = attempt_outcome(t->upstream.attempt);
	const char *text = t->answer.text.len == 0 ? "" : t->answer.text.data;
	const size_t len = t->answer.text.len;
	bool whole = strcmp(t->log.status, "complete") == 0;
	json_t *own = whole || len > 0 ? history_new_messages(c->request.stored, c->messages, c->given) : NULL, *last;
	int failed;

	if (own == NULL)
		return NULL;
	if (t->calls_given)
		failed = json_array_append_new(own, tool_round_message(o->calls, o->call_count, text, len));
	else
		failed = history_add_answer(own, text, len, !whole);
	last = json_array_get(own, json_array_size(own) - 1);
	if (len == 0)
		failed |= json_object_set_new(last, "empty", json_true());
	failed |= json_object_set_new(record, "inputs", json_integer((json_int_t)json_array_size(c->request.stored))) |
	          json_object_set(last, "response", record);
	if (failed == 0)
		return own;
	json_decref(own);
	return NULL;
}

enum step turn_save(struct turn *t)
{
	const struct conversation *c = &t->conversation;
	const struct answer *a = &t->answer;
	struct store_key key = key_of(t);
	const char *own_thread = NULL;
	json_t *messages, *record;
	struct usage u;

	if (c->request.stored != NULL) {
		answer_usage(a, &u);
		record = a->reply->protocol->record(a->reply, &u, t->client_left, &own_thread);
		messages = record != NULL ? messages_with_record(t, record) : NULL;
		json_decref(record);
		if (c->alone)
			key.thread_id = own_thread;
	} else if (c->alone || c->request.client_remembers) {
		return STEP_END;
	} else {
		messages = messages_to_store(t);
	}
	if (!t->client_left)
		a->reply->protocol->close(a->reply); /* goes out while the store works */
	if (messages == NULL)
		return STEP_END;
	t->stored = store_append(t->services->store, &key, messages, t->client_left ? NULL : on_saved, t);
	if (t->client_left)
		return STEP_END;
	if (t->stored == NULL) {
		count_failure(t);
		log_event(LOG_HISTORY_NOT_SAVED, L_STR("request_id", t->log.request_id), L_STR("error", "no memory"));
		return STEP_END;
	}
	turn_wake_in(t, SAVE_WAIT_MS);
	return STEP_STAY;
}

enum step turn_saved(struct turn *t)
{
	(void)t;
	return STEP_END;
}

/* The store takes longer than anyone should wait; the turn is stored all the same. */
enum step turn_save_late(struct turn *t)
{
	turn_store_stop(t);
	log_event(LOG_HISTORY_SLOW, L_STR("request_id", t->log.request_id));
	return STEP_END;
}
