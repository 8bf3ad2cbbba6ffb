/* SPDX-License-Identifier: Apache-2.0 */
#include "core/protocol/conversations.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAIRS_MAX 16
#define NAME_MAX_ 64  /* characters, as OpenAI's API has it */
#define TEXT_MAX  512 /* the same */
#define ITEMS_MAX 20
#define RECORD    "conversation"
#define ITEMS     "items" /* in the last message of a turn that came as items: a key of their ids */

void conversations_new_id(char out[CONVERSATIONS_ID_MAX])
{
	char key[OPENAI_KEY + 1];

	openai_new_key(key);
	snprintf(out, CONVERSATIONS_ID_MAX, CONVERSATIONS_ID "%08x%s", (unsigned)time(NULL), key);
}

bool conversations_is_id(const char *id)
{
	const size_t prefix = sizeof CONVERSATIONS_ID - 1, digits = CONVERSATIONS_TIME + OPENAI_KEY;

	return strncmp(id, CONVERSATIONS_ID, prefix) == 0 && strlen(id) == prefix + digits &&
	       strspn(id + prefix, "0123456789abcdef") == digits;
}

/* ---- requests ---- */

static int check_metadata(const json_t *metadata, struct openai_problem *p)
{
	const char *name;
	json_t *text;

	if (!json_is_object(metadata) || json_object_size(metadata) > PAIRS_MAX)
		return openai_wrong(p, "metadata", "metadata must be an object of at most %d pairs.", PAIRS_MAX);
	json_object_foreach((json_t *)(uintptr_t)metadata, name, text)
	{
		/* Four bytes are the longest character. */
		if (strlen(name) > (size_t)4 * NAME_MAX_ || !json_is_string(text) ||
		    json_string_length(text) > (size_t)4 * TEXT_MAX)
			return openai_wrong(
				p, "metadata",
				"metadata must have names of at most %d characters and strings of at most %d.",
				NAME_MAX_, TEXT_MAX);
	}
	return 0;
}

/* An item's error is that of the same item in a request for an answer. */
static void rename_input(struct openai_problem *p)
{
	if (p->param == NULL || strcmp(p->param, "input") != 0)
		return;
	p->param = "items";
	for (char *at = p->text; (at = strstr(at, "input")) != NULL; at += sizeof "items" - 1)
		if (strncmp(at, "input[", 6) == 0 || strncmp(at, "input must", 10) == 0)
			memcpy(at, "items", sizeof "items" - 1);
}

static int take_items(json_t *items, struct chat_request *r, struct openai_problem *p)
{
	json_t *body;
	int result;

	if (!json_is_array(items) || json_array_size(items) > ITEMS_MAX)
		return openai_wrong(p, "items", "items must be an array of at most %d items.", ITEMS_MAX);
	if (json_array_size(items) == 0)
		return 0;
	body = json_pack("{s:O}", "input", items);
	result = body != NULL ? responses_take_input(body, r, p) : -1;
	json_decref(body);
	rename_input(p);
	return result;
}

static int take_body(json_t *body, struct chat_request *r, struct openai_problem *p)
{
	json_t *metadata = json_object_get(body, "metadata"), *items = json_object_get(body, "items");
	int result = 0;

	if (metadata != NULL && !json_is_null(metadata))
		result = check_metadata(metadata, p);
	if (result == 0 && items != NULL && !json_is_null(items))
		result = take_items(items, r, p);
	if (result == 0 && json_is_object(metadata))
		r->echo = json_incref(metadata);
	return result;
}

int conversations_parse(const char *body, size_t len, struct conversation_body *out, json_t **problem)
{
	struct chat_request r = {.messages = NULL};
	char key[OPENAI_KEY + 1];
	int result;

	*out = (struct conversation_body){.turn = NULL};
	*problem = NULL;
	if (len == 0) /* nothing has to be said */
		return 0;
	result = openai_parse(body, len, take_body, &r, problem);
	if (result == 0 && r.stored != NULL) {
		openai_new_key(key);
		out->turn = json_incref(r.stored);
		result = json_object_set_new(json_array_get(out->turn, json_array_size(out->turn) - 1), ITEMS,
		                             json_string(key));
	}
	if (result == 0) {
		out->metadata = json_incref(r.echo);
	} else {
		json_decref(out->turn);
		out->turn = NULL;
	}
	chat_request_clear(&r);
	return result;
}

/* ---- what is stored ---- */

json_t *conversations_record(const json_t *metadata)
{
	return json_pack("[{s:{s:o}}]", RECORD, "metadata",
	                 metadata != NULL ? json_incref((json_t *)(uintptr_t)metadata) : json_object());
}

static const json_t *record_of(const json_t *turn)
{
	return json_object_get(json_array_get(turn, 0), RECORD);
}

json_t *conversations_object(const char *id, const json_t *turns)
{
	char time[CONVERSATIONS_TIME + 1];
	json_t *metadata = NULL;
	const json_t *turn;
	size_t i;

	snprintf(time, sizeof time, "%s", id + sizeof CONVERSATIONS_ID - 1);
	json_array_foreach(turns, i, turn) if (record_of(turn) != NULL) metadata =
		json_object_get(record_of(turn), "metadata");
	return json_pack("{s:s, s:s, s:I, s:o}", "id", id, "object", "conversation", "created_at",
	                 (json_int_t)strtoul(time, NULL, 16), "metadata",
	                 metadata != NULL ? json_incref(metadata) : json_object());
}

/* Of an answer of /v1/responses, of items, or of another endpoint's turn, which is known by its place alone. */
static json_t *items_of(const json_t *turn, size_t at)
{
	const json_t *last = json_array_get(turn, json_array_size(turn) - 1),
		     *record = json_object_get(last, "response");
	const char *key = json_string_value(json_object_get(last, ITEMS));
	json_t *items, *response;
	char place[32];

	if (json_object_get(record, "object") == NULL) { /* of a turn that was too long there is not all of it */
		snprintf(place, sizeof place, "t%zu", at);
		return responses_messages(turn, key != NULL ? key : place);
	}
	items = responses_inputs(record, turn);
	response = responses_stored(record, turn);
	json_array_extend(items, json_object_get(response, "output"));
	json_decref(response);
	return items;
}

json_t *conversations_items(const json_t *turns)
{
	json_t *all = json_array(), *items;
	const json_t *turn;
	size_t i;

	json_array_foreach(turns, i, turn)
	{
		if (record_of(turn) != NULL)
			continue;
		items = items_of(turn, i);
		json_array_extend(all, items);
		json_decref(items);
	}
	return all;
}
