/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a thread an LLM's context window holds, and what its refusals say about it. */
#include "core/turn/prompt.h"

#include "core/protocol/request.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_PER_TOKEN 3
#define MESSAGE_TOKENS  8 /* what a chat template adds to a message */

/* ---- our count ---- */

static size_t message_tokens(const json_t *message)
{
	char *text = chat_content_text(json_object_get(message, "content"));
	size_t tokens = MESSAGE_TOKENS + (text == NULL ? 0 : strlen(text) / BYTES_PER_TOKEN);
	const json_t *calls = json_object_get(message, "tool_calls");

	free(text);
	if (json_array_size(calls) > 0) {
		char *dumped = json_dumps(calls, JSON_COMPACT);

		tokens += dumped == NULL ? 0 : strlen(dumped) / BYTES_PER_TOKEN;
		free(dumped);
	}
	return tokens;
}

static size_t turn_tokens(const json_t *turn)
{
	const json_t *message;
	size_t i, tokens = 0;

	json_array_foreach(turn, i, message) tokens += message_tokens(message);
	return tokens;
}

/* What is sent whatever is left out of the thread. */
static size_t fixed_tokens(const struct prompt *p)
{
	const char *system = cfg_str(p->config, p->tools != NULL ? CFG_PROMPT_TOOLS : CFG_PROMPT_PLAIN);

	return turn_tokens(p->messages) + (system == NULL ? 0 : strlen(system) / BYTES_PER_TOKEN) +
	       (p->begun == NULL ? 0 : MESSAGE_TOKENS + p->begun_len / BYTES_PER_TOKEN);
}

static size_t sent_tokens(const struct prompt *p)
{
	size_t tokens = fixed_tokens(p);

	for (size_t i = p->skip_turns; i < json_array_size(p->turns); i++)
		tokens += turn_tokens(json_array_get(p->turns, i));
	return tokens;
}

/* ---- what fits ---- */

/* How many of the oldest turns must be left out if one token of our count is `density` of the LLM's. */
static size_t turns_beyond(const struct prompt *p, int64_t context, double density)
{
	int64_t answer = cfg_int(p->config, p->cloud ? CFG_CLOUD_MAX_TOKENS : CFG_LLM_MAX_TOKENS);
	double room = (double)(context - answer) - density * (double)fixed_tokens(p);
	size_t count = json_array_size(p->turns), fitting = 0;

	while (fitting < count) {
		room -= density * (double)turn_tokens(json_array_get(p->turns, count - 1 - fitting));
		if (room < 0)
			break;
		fitting++;
	}
	return count - fitting;
}

static int64_t context_of(const struct prompt *p)
{
	return p->context > 0 ? p->context : cfg_int(p->config, CFG_LLM_CONTEXT);
}

size_t prompt_fit(const struct prompt *p)
{
	int64_t context = context_of(p);

	return json_array_size(p->turns) == 0 || context == 0 ? 0 : turns_beyond(p, context, 1);
}

/* ---- what a refusal says ---- */

/* Where servers (vLLM old and new, OpenAI, llama.cpp, TGI) say a number. */
struct clue {
	const char *phrase;
	bool before; /* it is before the phrase, not after it */
};

static const struct clue limits[] = {
	{"context length is ", false}, {"context size (", false}, {"model length of ", false},
	{"must be <= ", false},        {"less than ", false},     {NULL, false},
};
static const struct clue counts[] = {
	{" in the messages", true}, {" input tokens", true}, {"resulted in ", false}, {"request (", false},
	{"(length ", false},        {"Given: ", false},      {NULL, false},
};

/* 0: not given. */
static int64_t number_of(const char *text, const struct clue *clues)
{
	for (const struct clue *c = clues; c->phrase != NULL; c++) {
		const char *p = strstr(text, c->phrase);

		if (p == NULL)
			continue;
		if (!c->before)
			p += strlen(c->phrase);
		while (c->before && p > text && isdigit((unsigned char)p[-1]))
			p--;
		if (isdigit((unsigned char)*p))
			return strtoll(p, NULL, 10);
	}
	return 0;
}

size_t prompt_shrink(const struct prompt *p, const char *refusal)
{
	int64_t limit = number_of(refusal, limits), count = number_of(refusal, counts);
	int64_t context = limit > 0 ? limit : context_of(p);
	size_t skip = p->skip_turns + 1, beyond;

	/* The newest vLLM gives up counting at its limit. */
	if (count == 0 || strstr(refusal, "at least") != NULL)
		count = (int64_t)sent_tokens(p);
	beyond = context == 0 ? 0 : turns_beyond(p, context, (double)count / (double)sent_tokens(p));
	return beyond > skip ? beyond : skip;
}
