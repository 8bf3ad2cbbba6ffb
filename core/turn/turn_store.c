/* SPDX-License-Identifier: Apache-2.0 */
/* LOAD and SAVE: the history, and what is stored of this turn. */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/turn/history.h"

#include <stdio.h>
#include <string.h>

#define LOAD_WAIT_MS 2000
#define SAVE_WAIT_MS 100
#define NO_MEMORY    "The service is out of memory. Please try again in a moment."

static struct store_key key_of(const struct turn *t)
{
	return (struct store_key){.subject = t->conversation.subject, .thread_id = t->conversation.request.thread_id};
}

static void count_failure(const struct turn *t)
{
	counters_add(t->services->counters, COUNTER_STORE_FAILURES, 1);
}

/* ---- LOAD -------------------------------------------------------------------------------- */

static void on_loaded(void *arg, const json_t *turns, const struct err *e)
{
	struct turn *t = arg;

	t->stored = NULL;
	if (e != NULL) { /* the store logs it itself, once for all turns */
		count_failure(t);
		log_event(LOG_HISTORY_NOT_LOADED_DEBUG, L_STR("request_id", t->log.request_id),
		          L_STR("error", e->text));
	}
	t->conversation.history = json_incref((json_t *)(uintptr_t)turns);
	t->proceed(t);
}

/* Those that the client may use; steals the definitions. */
static json_t *allowed_tools(const struct turn *t, json_t *definitions)
{
	const struct access_identity *client = t->conversation.client;
	json_t *allowed = client == NULL || definitions == NULL ? NULL : json_array();
	json_t *tool;
	size_t i;

	if (allowed == NULL)
		return definitions;
	json_array_foreach(definitions, i, tool)
	{
		const char *name = json_string_value(json_object_get(json_object_get(tool, "function"), "name"));

		if (name != NULL && access_may_use_tool(client, name))
			json_array_append(allowed, tool);
	}
	json_decref(definitions);
	if (json_array_size(allowed) > 0)
		return allowed;
	json_decref(allowed);
	return NULL;
}

enum step turn_load(struct turn *t)
{
	const struct store_key key = key_of(t);

	t->tools.definitions = allowed_tools(t, toolbox_definitions(t->services->toolbox, t->config));
	t->tools.left_ms = cfg_ms(t->config, CFG_LIMITS_TOOL_TIME);
	t->deadline_ms = clock_mono_ms() + cfg_ms(t->config, CFG_LIMITS_TURN_TIME);
	if (t->conversation.alone)
		return STEP_CHOOSE;
	t->stored = store_load(t->services->store, &key, on_loaded, t);
	if (t->stored == NULL)
		return turn_fail(t, NO_MEMORY);
	turn_wake_in(t, LOAD_WAIT_MS);
	return STEP_STAY;
}

enum step turn_loaded(struct turn *t)
{
	(void)t;
	return STEP_CHOOSE;
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
	count_failure(t);
	log_event(LOG_HISTORY_NOT_LOADED, L_STR("request_id", t->log.request_id),
	          L_STR("error", "the store did not answer in time"), L_INT("waited_ms", LOAD_WAIT_MS));
	return STEP_CHOOSE;
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

enum step turn_fail(struct turn *t, const char *sentence)
{
	note_broken(t);
	if (answer_is_shown(&t->answer))
		counters_add(t->services->counters, COUNTER_ANSWERS_BROKEN_OFF, 1);
	answer_sentence(&t->answer, sentence);
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

enum step turn_save(struct turn *t)
{
	const struct store_key key = key_of(t);
	const struct answer *a = &t->answer;
	json_t *messages;

	if (t->conversation.alone)
		return STEP_END;
	messages = history_messages(t->conversation.messages, a->text.len == 0 ? "" : a->text.data, a->text.len,
	                            strcmp(t->log.status, "complete") != 0);
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
