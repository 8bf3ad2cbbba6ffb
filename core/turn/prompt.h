/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a request to an LLM: system prompt, the thread's turns, this turn's
 * messages, sampling, tools. Pure. */
#ifndef TT_TURN_PROMPT_H
#define TT_TURN_PROMPT_H

#include "core/config/config.h"
#include "core/llm/llm.h"
#include "core/llm/quirks.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prompt {
	const struct config *config;

	/* Of the LLM that is asked. */
	const char *model;
	bool cloud;            /* the cloud endpoint's own sampling, nothing beyond the OpenAI API */
	bool uses_completions; /* `prompt` in place of `messages` */
	bool vision;
	bool uses_tools;                  /* it understands tools and messages of role tool */
	int64_t context;                  /* its context window in tokens; 0 = llm.context */
	const struct llm_kind_info *kind; /* whose omit and extra apply beside those of llm.*; NULL */
	struct quirks quirks;             /* what it refuses */

	const json_t *tools;       /* definitions, or NULL: none are offered */
	bool own_tools;            /* others than every turn of this configuration is offered */
	const json_t *tool_choice; /* which of them the client wants to be called; NULL: as the model likes */
	bool tools_used_up;        /* offered, but not to be called any more (tool_choice none) */

	const json_t *turns;    /* the thread's: array of arrays of messages, oldest first; NULL */
	size_t skip_turns;      /* the oldest ones that are left out */
	const json_t *messages; /* of this turn, the user's first */
	size_t given;           /* so many of them, the first ones, are the client's whole conversation */
	const json_t *fields;   /* what else the client wants of the LLM, an object; NULL */
	bool plain;             /* nothing is added to these two but what the service needs itself */
	size_t result_max;      /* bytes of each tool result in them, 0 = all: the middle is left out */
	const json_t *as_sent;  /* as those of them that this LLM itself sent: {"instance", "message"}, by position */
	int64_t instance;
	const char *begun; /* an answer that another LLM began and this one continues; NULL */
	size_t begun_len;
};

/* The message of this turn at this position as the LLM itself sent it; NULL: it is not its own. */
const json_t *prompt_own_message(const struct prompt *p, size_t position);

/* Call it first: adds what the settings omit to the quirks, takes from what the LLM can do what
 * they forbid, and limits the answer where the context window holds no more than the longest one. */
void prompt_adjust(struct prompt *p);

/* Bits of what the body of p has that an LLM may refuse, and that can be left out or changed. */
unsigned prompt_sent(const struct prompt *p);
int64_t prompt_max_tokens(const struct prompt *p); /* the longest answer that p asks for */

/* How many of the oldest turns must be left out so that the rest is likely to fit the context
 * window less the longest answer. A token is taken for 3 bytes at least, so it leaves out too
 * much rather than too little; at most all turns. */
size_t prompt_fit(const struct prompt *p);

/* The same once the LLM has refused p as too long, in these words: at least one turn more than
 * p leaves out, and as many as the numbers in the refusal ask for: its window, its count of our
 * tokens. At least one turn must not be left out yet. */
size_t prompt_shrink(const struct prompt *p, const char *refusal);

/* The result_max with which the rest of this turn and its tool results fit, once the LLM has refused p.
 * must: they are cut even where the numbers say that they fit. 0: nothing (more) can be cut. */
size_t prompt_cut(const struct prompt *p, const char *refusal, bool must);

/* The content of a message that has nothing but its role and this text, in this order, as most do; else NULL. */
const json_t *prompt_plain_content(const json_t *message);

/* The length of a tool result, 0 where the message is none. */
size_t prompt_result_len(const json_t *message);

/* A message of this turn as p sends it: with a mark in place of the middle of a tool result that is
 * longer than result_max. New reference; NULL: no memory. */
json_t *prompt_message(const struct prompt *p, json_t *message);

/* What is the same in many bodies of one configuration, dumped once: a turn's first token
 * waits for its body. One per worker, zeroed at start. */
#define PROMPT_HEADS 16
#define PROMPT_TAILS 16
struct prompt_cache {
	struct config *config;
	struct prompt_head {
		char *json; /* `{"model":...,"messages":[` and the system message; NULL: unused */
		size_t len;
		json_t *system; /* that message, which nobody changes */
		char *model;
		bool tools, in_user;
		int64_t minute; /* in which the date was right */
	} heads[PROMPT_HEADS];
	struct prompt_tail {
		char *json;
		const struct llm_kind_info *kind;
		struct quirks quirks;
		bool cloud, tools, used_up;
	} tails[PROMPT_TAILS];
	size_t next_head, next; /* those that are replaced next */
};
void prompt_cache_clear(struct prompt_cache *c);

/* In the files of the prompt: whether a quirk applies; the bits of prompt_sent for all but the
 * messages; all that follows them in the body: `"temperature":...}`. NULL: no memory. */
static inline bool prompt_lacks(const struct prompt *p, enum quirk q)
{
	return (p->quirks.set & QUIRK_BIT(q)) != 0;
}
unsigned prompt_fields_sent(const struct prompt *p);
const char *prompt_tail(const struct prompt *p, struct prompt_cache *cache);
/* The same for a prompt with fields or tools of its own; free(). */
char *prompt_own_tail(const struct prompt *p);
/* The beginning of the body, the system message included. Valid until the cache is used for another prompt. NULL: this
 * prompt's is like no other's, or no memory. */
const struct prompt_head *prompt_head(const struct prompt *p, struct prompt_cache *cache);
bool prompt_has_system(const struct prompt *p);
/* The system prompt with {date}, {model} and {tools} filled in, where there is one. A new reference; NULL: no memory.
 */
json_t *prompt_system_message(const struct prompt *p);
/* A new reference; NULL: no memory, or content is. */
json_t *prompt_text_message(const char *role, json_t *content);

/* The JSON body; free(). NULL: no memory. */
char *prompt_body(const struct prompt *p, struct prompt_cache *cache, size_t *len);

/* About how many bytes it has, at the cost of the number of its messages. */
size_t prompt_size(const struct prompt *p);

/* What a long body is made of, for another thread to make it: p may end or change meanwhile. NULL: no memory. */
struct prompt_draft;
struct prompt_draft *prompt_draft_new(const struct prompt *p, struct prompt_cache *cache);
char *prompt_draft_body(const struct prompt_draft *d, size_t *len); /* as prompt_body */
void prompt_draft_free(struct prompt_draft *d);                     /* where p was made; NULL is fine */

/* content as it is stored in a thread: images replaced by a word. New reference. */
json_t *prompt_content_for_history(const json_t *content);

#endif
