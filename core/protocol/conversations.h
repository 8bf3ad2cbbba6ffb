/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations as OpenAI's API makes them: threads whose ids this service chose. The first turn of one says that it
 * was made, in a message without a role, which no LLM is sent; another one follows where its metadata is changed. Pure.
 */
#ifndef TT_PROTOCOL_CONVERSATIONS_H
#define TT_PROTOCOL_CONVERSATIONS_H

#include "core/protocol/responses.h"

/* conv_, when it was made, and random digits: who is not authenticated shares the threads of nobody, and must not guess
 * any. */
#define CONVERSATIONS_ID     "conv_"
#define CONVERSATIONS_TIME   8
#define CONVERSATIONS_ID_MAX (sizeof CONVERSATIONS_ID + CONVERSATIONS_TIME + OPENAI_KEY)

void conversations_new_id(char out[CONVERSATIONS_ID_MAX]);
bool conversations_is_id(const char *id);

/* What a request says: both are new references. */
struct conversation_body {
	json_t *metadata; /* an object; NULL: there is none */
	json_t *turn;     /* messages of its items, which history_new_messages makes fit to be stored; NULL: none */
};
/* 0; 400 with *problem, an error for the client; -1: no memory. */
int conversations_parse(const char *body, size_t len, struct conversation_body *out, json_t **problem);

/* The turn that says that a conversation was made, or that its metadata is changed. A new reference; NULL: no memory.
 */
json_t *conversations_record(const json_t *metadata);

/* {"id":..., "object":"conversation", ...}, of its turns. A new reference. */
json_t *conversations_object(const char *id, const json_t *turns);

/* What was said in it, as items, the oldest first. A new reference. */
json_t *conversations_items(const json_t *turns);

#endif
