/* SPDX-License-Identifier: Apache-2.0 */
/* A server that refuses a part of a request says which. The same LLM is asked at once without
 * it, which is no failover and says nothing about its health. */
#include "core/turn/turn_private.h"

#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPEATS_MAX      8           /* each teaches something new, and no server refuses more than that */
#define CONVERSATION_MAX (64u << 10) /* the end of a conversation that is compared with a refusal */

struct quirks turn_quirks(const struct turn *t)
{
	const struct upstream *up = &t->upstream;
	struct quirks q = candidate_quirks(up->llm, t->services->quirks);

	quirks_add(&q, &up->learned.quirks);
	return q;
}

/* The words of this turn and of those before it, the latest first. */
static void add_words(struct buf *conversation, const json_t *messages)
{
	for (size_t i = json_array_size(messages); i-- > 0 && conversation->len < CONVERSATION_MAX;) {
		char *text = chat_content_text(json_object_get(json_array_get(messages, i), "content"));

		if (text != NULL)
			(void)(buf_add(conversation, text, strnlen(text, CONVERSATION_MAX)) |
			       buf_adds(conversation, "\n"));
		free(text);
	}
}

static void conversation_of(const struct prompt *p, struct buf *conversation)
{
	buf_init(conversation, 3 * CONVERSATION_MAX);
	add_words(conversation, p->messages);
	for (size_t i = json_array_size(p->turns); i-- > p->skip_turns && conversation->len < CONVERSATION_MAX;)
		add_words(conversation, json_array_get(p->turns, i));
}

/* A refusal of a part of the request may come with any of these. */
static bool may_teach(const struct attempt_outcome *o)
{
	switch (o->result) {
	case ATTEMPT_REFUSED:
	case ATTEMPT_UNAVAILABLE:
	case ATTEMPT_ERROR_EVENT:
	case ATTEMPT_NO_MODEL:
	case ATTEMPT_OVERFLOW:
		return o->http == HTTP_DONE && (*o->error->text != '\0' || *o->error->param != '\0');
	default:
		return false;
	}
}

enum step turn_quirks_learn(struct turn *t, const struct prompt *p, const struct attempt_outcome *o)
{
	const unsigned unable = QUIRK_BIT(QUIRK_IMAGES) | QUIRK_BIT(QUIRK_CONTINUATION);
	struct learned *learned = &t->upstream.learned;
	struct refusal r = {
		.param = o->error->param, .text = o->error->text, .overflow = o->result == ATTEMPT_OVERFLOW};
	struct quirks news = {.set = 0};
	char quirks[QUIRKS_TEXT_MAX];
	struct buf conversation;
	bool teaches;

	if (!may_teach(o) || learned->repeats >= REPEATS_MAX)
		return STEP_STAY;
	r.sent = prompt_sent(p);
	r.max_tokens = prompt_max_tokens(p);
	conversation_of(p, &conversation);
	r.conversation = conversation.data;
	teaches = quirks_learn(&news, &r);
	buf_free(&conversation);
	if (!teaches)
		return STEP_STAY;
	learned->repeats++;
	learned->confirmed = false;
	quirks_add(&learned->quirks, &news);
	snprintf(learned->refusal, sizeof learned->refusal, "%.*s",
	         (int)utf8_cut(o->error->text, sizeof learned->refusal - 1), o->error->text);
	quirks_text(&news, quirks);
	log_event(LOG_REQUEST_CHANGED, L_STR("request_id", t->log.request_id),
	          L_STR("model", status_text(t->upstream.snapshot, t->upstream.llm->model)), L_STR("quirks", quirks),
	          L_INT("status", o->status), L_STR("refusal", o->error->text));
	return (news.set & unable) != 0 ? STEP_CHOOSE : STEP_ATTEMPT;
}

const struct quirks *turn_quirks_confirm(struct turn *t)
{
	struct learned *learned = &t->upstream.learned;

	if (learned->confirmed || !quirks_any(&learned->quirks))
		return NULL;
	learned->confirmed = true;
	quirk_memory_add(t->services->quirks, t->upstream.llm->instance, clock_wall_ms(), &learned->quirks);
	return &learned->quirks;
}
