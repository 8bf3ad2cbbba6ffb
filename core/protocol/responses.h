/* SPDX-License-Identifier: Apache-2.0 */
/* The Responses API: what its request, its answers and the endpoint of stored answers share. */
#ifndef TT_PROTOCOL_RESPONSES_H
#define TT_PROTOCOL_RESPONSES_H

#include "core/protocol/openai.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* The id of an answer is resp_, the digits of its thread, and its own. A thread has the answers that go on from one
 * first answer, each in a turn of its own that says which one it follows: so an id is all that it takes to find an
 * answer, in any worker, also after a restart, and two may follow the same one. Its digits are random: they are no
 * secret, because a thread belongs to one user, but nobody has them twice. */
#define RESPONSES_ID         "resp_"
#define RESPONSES_THREAD     20 /* digits */
#define RESPONSES_KEY        36 /* with its own */
#define RESPONSES_THREAD_MAX sizeof(RESPONSES_ID "01234567890123456789")

/* The name of the thread that has the answer of this id. */
void responses_thread(const char *id, char out[RESPONSES_THREAD_MAX]);

/* Whether it could be the id of an answer. */
bool responses_is_id(const char *id);

/* protocol_responses.parse. */
int responses_parse(const char *body, size_t len, struct chat_request *r, json_t **problem);

/* What input of the body says: stored and messages of r. */
openai_take_fn responses_take_input;

/* An answer as it was stored: record is what protocol_responses.record gave, turn the messages with it. A new
 * reference; NULL: no memory. */
json_t *responses_stored(const json_t *record, const json_t *turn);

/* What it answers, as items in the order in which they were sent: those of its own request. A new reference. */
json_t *responses_inputs(const json_t *record, const json_t *turn);

/* Messages of a turn as such items; key: what is in their ids. A new reference. */
json_t *responses_messages(const json_t *turn, const char *key);

/* A part of a list. */
struct responses_range {
	bool ascending;
	size_t limit;
	const char *after; /* the id of the last item of the page before; NULL: it is the first page */
};
/* As a query says, each NULL where it does not. */
struct responses_range responses_range_of(const char *order, const char *limit);

/* {"object":"list", "data":[...], ...}: a new reference. */
json_t *responses_page(const json_t *items, const struct responses_range *range);

#endif
