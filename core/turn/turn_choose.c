/* SPDX-License-Identifier: Apache-2.0 */
/* CHOOSE: which LLM is asked next. */
#include "core/turn/turn_private.h"

#include "core/base/clock.h"
#include "core/base/utf8.h"

#include <stdio.h>

#define NO_VISION                                                                                                      \
	"None of the available language models can see images. Please send text only, or deploy a vision model."
#define NO_SUCH_MODEL "There is no model \"%.*s\" here. GET /v1/models lists those that there are."
#define EMBEDS        "The model \"%.*s\" makes embeddings (POST /v1/embeddings). It answers no chats."
#define NOT_ALLOWED   "Your API key may not use any of the models that are available."

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

/* What the thread's replica has in its cache is of use to its next turn. */
static uint64_t thread_of(const struct conversation *c)
{
	return c->alone ? 0 : balance_hash(balance_hash(0, c->subject), c->request.thread_id);
}

/* Takes the reference to the snapshot. */
static enum step attempt_next(struct turn *t, struct status_snapshot *snapshot, const struct status_llm *next,
                              bool replicated)
{
	struct upstream *up = &t->upstream;

	if (up->tried.count > 0)
		t->log.failovers++;
	if (up->result != ATTEMPT_COMPLETE || (t->resumed && up->llm == NULL))
		note_failover(t, snapshot, next);
	if (up->continuing)
		counters_add(t->services->counters, COUNTER_ANSWERS_CONTINUED, 1);
	if (up->llm != NULL && up->llm->instance != next->instance) {
		up->skip_turns = up->result_max = 0; /* it is sent what its own window holds */
		up->learned = (struct learned){.repeats = 0};
	}
	if (up->snapshot != NULL)
		status_release(up->snapshot);
	up->snapshot = snapshot;
	up->llm = next;
	up->replica = replicated || up->replica != NULL ? candidate_replica_name(snapshot, next) : NULL;
	up->model = counters_member(t->services->counters, LABEL_MODEL, status_llm_name(snapshot, next));
	up->retried = false;
	up->shrunk = 0;
	return STEP_ATTEMPT;
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
	if (next != NULL)
		return attempt_next(t, snapshot, next, group.count > 1);
	allowed = snapshot == NULL || candidates_are_allowed(snapshot, t->conversation.client);
	if (snapshot != NULL)
		status_release(snapshot);
	if (!allowed && !up->continuing)
		return turn_fail(t, FAILURE_FORBIDDEN, NOT_ALLOWED);
	/* models come and go since the turn began */
	if (!up->continuing && chat_services_obstacle(s, &t->conversation.request, &why, obstacle))
		return turn_fail(t, why, obstacle);
	return turn_none_answered(t);
}
