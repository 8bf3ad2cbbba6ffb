/* SPDX-License-Identifier: Apache-2.0 */
/* How much of a thread an LLM's context window holds, and what its refusals say about it. */
#include "core/turn/prompt.h"

#include "core/base/utf8.h"
#include "core/protocol/request.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_PER_TOKEN 3
#define PLAIN_BYTES     32 /* of a message as JSON beside its content */
#define MESSAGE_TOKENS  8  /* what a chat template adds to a message */
#define NUMBER_MAX      INT64_C(1000000000000)
#define RESULT_MIN      300 /* bytes of a tool result that are worth sending */

/* ---- tool results ---- */

/* The bytes of all results of this turn where each has at most max. */
static size_t results_len(const struct prompt *p, size_t max)
{
	size_t sum = 0;

	for (size_t i = p->given; i < json_array_size(p->messages); i++) {
		size_t len = prompt_result_len(json_array_get(p->messages, i));

		sum += len < max ? len : max;
	}
	return sum;
}

static size_t longest_result(const struct prompt *p)
{
	size_t longest = 0;

	for (size_t i = p->given; i < json_array_size(p->messages); i++)
		if (prompt_result_len(json_array_get(p->messages, i)) > longest)
			longest = prompt_result_len(json_array_get(p->messages, i));
	return longest;
}

/* ---- our count ---- */

/* The length of a content's text, as of chat_content_text. */
static size_t content_len(const json_t *content)
{
	size_t len = json_string_length(content), i;
	const json_t *part;

	json_array_foreach(content, i, part)
	{
		const json_t *text = json_object_get(part, "text");

		if (json_is_string(text))
			len += json_string_length(text) + (len > 0);
	}
	return len;
}

/* About how long value is as JSON: nothing in it is looked at byte by byte. */
static size_t json_len(const json_t *value)
{
	const char *key;
	json_t *item;
	size_t len = 2, i;

	if (json_is_string(value))
		return 2 + json_string_length(value);
	if (!json_is_object(value) && !json_is_array(value))
		return value == NULL ? 0 : 4;
	json_array_foreach(value, i, item) len += 1 + json_len(item);
	json_object_foreach((json_t *)(uintptr_t)value, key, item) len += strlen(key) + 4 + json_len(item);
	return len;
}

static size_t message_tokens(const json_t *message)
{
	const json_t *plain = prompt_plain_content(message), *calls;

	if (plain != NULL)
		return MESSAGE_TOKENS + json_string_length(plain) / BYTES_PER_TOKEN;
	calls = json_object_get(message, "tool_calls");
	return MESSAGE_TOKENS + content_len(json_object_get(message, "content")) / BYTES_PER_TOKEN +
	       (json_array_size(calls) > 0 ? json_len(calls) / BYTES_PER_TOKEN : 0);
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

	size_t results = results_len(p, SIZE_MAX), cut = p->result_max == 0 ? results : results_len(p, p->result_max);
	size_t own = 0;

	for (size_t i = 0; i < json_array_size(p->as_sent); i++)
		own += json_len(prompt_own_message(p, i)) / BYTES_PER_TOKEN;
	return turn_tokens(p->messages) - (results - cut) / BYTES_PER_TOKEN + own +
	       (system == NULL ? 0 : strlen(system) / BYTES_PER_TOKEN) +
	       (p->begun == NULL ? 0 : MESSAGE_TOKENS + p->begun_len / BYTES_PER_TOKEN);
}

static size_t sent_tokens(const struct prompt *p)
{
	size_t tokens = fixed_tokens(p);

	for (size_t i = p->skip_turns; i < json_array_size(p->turns); i++)
		tokens += turn_tokens(json_array_get(p->turns, i));
	return tokens;
}

size_t prompt_size(const struct prompt *p)
{
	size_t size = json_len(p->messages) + json_len(p->as_sent) + p->begun_len;

	for (size_t i = p->skip_turns; i < json_array_size(p->turns); i++) {
		const json_t *turn = json_array_get(p->turns, i), *message;
		size_t j;

		json_array_foreach(turn, j, message)
		{
			const json_t *plain = prompt_plain_content(message);

			size += plain != NULL ? PLAIN_BYTES + json_string_length(plain) : json_len(message);
		}
	}
	return size;
}

/* ---- what fits ---- */

/* How many of the oldest turns must be left out if one token of our count is `density` of the LLM's. */
static size_t turns_beyond(const struct prompt *p, int64_t context, double density)
{
	double room = (double)(context - prompt_max_tokens(p)) - density * (double)fixed_tokens(p);
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

/* Where servers say a number, #, in the order of how sure it is. */
static const char *const limits[] = {
	"context length is only #",
	"context length is #",
	"context length of only #",
	"context length of #",
	"context length (#",
	"context length: #",
	"context size (#",
	"context size is #",
	"model length of #",
	"max_model_len #",
	"max_seq_len #",
	"prompt length is #",
	"# maximum context length",
	"input length of #",
	"maximum input length (#",
	"allowed length (#",
	"tokens allowed (#",
	"model token limit: #",
	"configured limit of #",
	"exceeds the limit of #",
	"while limit is #",
	"tokens limit #",
	"prompt cannot exceed #",
	"length should be [1, #",
	"max size: #",
	"# maximum",
	"must be <= #",
	"less than #",
	" > #",
	NULL,
};
static const char *const counts[] = {
	"# in the messages",  "# input tokens",
	"resulted in #",      "request (#",
	"the input (#",       "prompt length (#",
	"input length (#",    "(length #",
	"prompt length #",    "prompt contains #",
	"request contains #", "prompt has #",
	"token count (#",     "token count of #",
	"(requested: #",      "current length is #",
	"received #",         "keep the first #",
	"Given: #",           "input tokens #",
	"too long: #",        "context limit: #",
	"# tokens > ",        "requested about #",
	"requested #",        NULL,
};

static int64_t read_number(const char *p)
{
	int64_t value = 0;

	for (; isdigit((unsigned char)*p) || (*p == ',' && isdigit((unsigned char)p[1])); p++)
		if (*p != ',' && value < NUMBER_MAX)
			value = value * 10 + (*p - '0');
	return value;
}

/* 0: not given. */
static int64_t number_of(const char *text, const char *const *clues)
{
	for (; *clues != NULL; clues++) {
		bool first = **clues == '#';
		size_t len = strlen(*clues) - 1;
		char phrase[40];
		const char *p;

		snprintf(phrase, sizeof phrase, "%.*s", (int)len, *clues + first);
		p = strcasestr(text, phrase);
		if (p == NULL)
			continue;
		if (!first)
			p += len;
		while (first && p > text && (isdigit((unsigned char)p[-1]) || p[-1] == ','))
			p--;
		if (isdigit((unsigned char)*p))
			return read_number(p);
	}
	return 0;
}

/* What the refusal says of p: the LLM's context window, 0 = not known, and how many of its tokens one of
 * our count is. */
static int64_t read_refusal(const struct prompt *p, const char *refusal, double *density)
{
	int64_t limit = number_of(refusal, limits), count = number_of(refusal, counts);

	/* The newest vLLM gives up counting at its limit. */
	*density = count == 0 || strstr(refusal, "at least") != NULL ? 1 : (double)count / (double)sent_tokens(p);
	return limit > 0 ? limit : context_of(p);
}

size_t prompt_shrink(const struct prompt *p, const char *refusal)
{
	double density;
	int64_t context = read_refusal(p, refusal, &density);
	size_t skip = p->skip_turns + 1, beyond;

	beyond = context == 0 ? 0 : turns_beyond(p, context, density);
	return beyond > skip ? beyond : skip;
}

size_t prompt_cut(const struct prompt *p, const char *refusal, bool must)
{
	size_t longest = longest_result(p), sent = results_len(p, p->result_max == 0 ? SIZE_MAX : p->result_max);
	size_t low = RESULT_MIN, high = p->result_max == 0 || p->result_max > longest ? longest : p->result_max, top;
	double density, room;
	int64_t context = read_refusal(p, refusal, &density);

	room = ((double)(context - prompt_max_tokens(p)) / density - (double)fixed_tokens(p)) * BYTES_PER_TOKEN +
	       (double)sent;
	if (context == 0 || room >= (double)sent) {
		if (!must)
			return p->result_max;
		room = (double)sent / 2;
	}
	if (high <= low)
		return 0;
	for (top = high; low + 1 < high;) {
		size_t middle = low + (high - low) / 2;

		if ((double)results_len(p, middle) <= room)
			low = middle;
		else
			high = middle;
	}
	return low < top ? low : 0;
}
