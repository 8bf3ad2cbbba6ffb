/* SPDX-License-Identifier: Apache-2.0 */
/* Any body is accepted, or refused with an answer that is JSON. */
#include "core/protocol/conversations.h"
#include "core/protocol/messages.h"
#include "core/protocol/responses.h"
#include "core/protocol/studio_request.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

static void check_studio(const struct chat_request *r)
{
	char *text = chat_content_text(r->content);

	fuzz_require(text != NULL && r->thread_id != NULL);
	free(text);
}

static void check_api(const struct chat_request *r)
{
	char *text = json_dumps(r->messages, JSON_COMPACT);

	fuzz_require(json_is_object(r->fields) && r->model_asked != NULL && *r->model_asked != '\0' &&
	             r->thread_id != NULL);
	fuzz_require(text != NULL);
	free(text);
}

static void check_openai(const struct chat_request *r)
{
	check_api(r);
	fuzz_require(json_array_size(r->messages) > 0);
}

static void check_responses(const struct chat_request *r)
{
	check_openai(r);
	fuzz_require(json_array_size(r->stored) > 0 && json_is_object(r->echo));
}

static const struct parser {
	int (*parse)(const char *body, size_t len, struct chat_request *r, json_t **problem);
	void (*check)(const struct chat_request *r);
	int refusal; /* the status, and what the problem is in: */
	const char *member;
	size_t size;
} parsers[] = {
	{studio_request_parse, check_studio, 422, "detail", 0},
	{openai_chat_parse, check_openai, 400, "error", 4},
	{responses_parse, check_responses, 400, "error", 4},
	{messages_parse, check_api, 400, "error", 2},
};

static void check_problem(const struct parser *p, json_t *problem)
{
	char *text = json_dumps(problem, JSON_COMPACT);
	const json_t *member = json_object_get(problem, p->member);

	fuzz_require(text != NULL);
	fuzz_require(p->size > 0 ? json_object_size(member) == p->size : json_array_size(member) > 0);
	free(text);
	json_decref(problem);
}

/* What was accepted is shown again, and has an id for each item. */
static void check_conversation(const char *body, size_t len)
{
	struct conversation_body b;
	json_t *problem, *turns, *items, *item;
	int status = conversations_parse(body, len, &b, &problem);
	size_t i;

	fuzz_require(status == 0 || status == 400);
	if (status != 0) {
		check_problem(&parsers[1], problem);
		return;
	}
	turns = json_pack("[o, O*]", conversations_record(b.metadata), b.turn);
	items = conversations_items(turns);
	json_array_foreach(items, i, item) fuzz_require(json_is_string(json_object_get(item, "id")));
	item = conversations_object("conv_0123456789abcdef0123456789abcdef", turns);
	fuzz_require(json_is_object(json_object_get(item, "metadata")));
	json_decref(item);
	json_decref(items);
	json_decref(turns);
	json_decref(b.metadata);
	json_decref(b.turn);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *body = fuzz_copy(data, len), *id;
	json_t *problem;

	for (const struct parser *p = parsers; p < parsers + sizeof parsers / sizeof parsers[0]; p++) {
		struct chat_request r;
		int status;

		problem = NULL;
		status = p->parse(body, len, &r, &problem);
		fuzz_require(status == 0 || status == p->refusal);
		if (status != 0) {
			check_problem(p, problem);
			continue;
		}
		fuzz_require(problem == NULL);
		p->check(&r);
		chat_request_clear(&r);
	}
	check_conversation(body, len);
	if (studio_request_parse_select(NULL, body, len, &id, &problem) == 422)
		check_problem(&parsers[0], problem);
	else
		free(id);
	free(body);
	return 0;
}
