/* SPDX-License-Identifier: Apache-2.0 */
/* Which LLM a turn asks next. Pure. */
#ifndef TT_TURN_CANDIDATES_H
#define TT_TURN_CANDIDATES_H

#include "core/access/access.h"
#include "core/balance/balance.h"
#include "core/llm/quirks.h"
#include "core/status/reader.h"

#include <stdbool.h>
#include <stdint.h>

/* A worker's memory of candidates that just failed it: they are sorted last, never out,
 * until the daemon has judged them again, or for COOLDOWN_MS. One per worker, zeroed at start. */
#define COOLDOWN_SIZE 64
#define COOLDOWN_MS   30000

struct cooldown {
	struct {
		uint64_t instance;
		int64_t failed_ms; /* wall clock, comparable with status_llm.checked_ms */
	} items[COOLDOWN_SIZE];
	size_t count;
};
void cooldown_add(struct cooldown *c, uint64_t instance, int64_t now_wall_ms);
bool cooldown_has(const struct cooldown *c, const struct status_llm *l, int64_t now_wall_ms);

/* The candidates that a turn has tried in this round. */
#define TRIED_MAX 16
struct tried {
	uint64_t instances[TRIED_MAX];
	size_t count;
};
void tried_add(struct tried *t, uint64_t instance);

/* What an LLM is asked to do. */
enum candidate_work {
	WORK_CHAT,
	WORK_COMPLETIONS, /* of a plain text */
	WORK_EMBEDDINGS,  /* by LLMs of that type, which no chat is sent to, and by those whose type nobody gave */
};

/* What an attempt needs of its LLM. */
struct candidate_needs {
	enum candidate_work work;
	bool vision;                          /* the message has images */
	bool continues;                       /* another LLM began the answer */
	const char *model;                    /* its name; NULL: any */
	const struct quirk_memory *quirks;    /* what this worker knows of LLMs; NULL: nothing */
	const struct access_identity *client; /* whose models it may be; NULL: any */
};

/* The best candidate that was not tried: usable ones that are not in cooldown, then those
 * in cooldown, then the unhealthy ones. NULL: none is left. */
const struct status_llm *candidates_next(const struct status_snapshot *s, const struct cooldown *c,
                                         const struct tried *tried, struct candidate_needs needs, int64_t now_wall_ms);

/* The best candidate that was not tried, and its replicas: those that serve the same model, that nothing else prefers
 * it to, and that can do what it can (tools, the length of the context), so that a turn may go to any of them. A pinned
 * one stays alone. The order is that of preference. */
struct candidate_group {
	const struct status_llm *llms[BALANCE_REPLICAS_MAX];
	struct balance_replica replicas[BALANCE_REPLICAS_MAX]; /* the same */
	size_t count;                                          /* 0: none is left */
};
void candidates_group(const struct status_snapshot *s, const struct cooldown *c, const struct tried *tried,
                      struct candidate_needs needs, int64_t now_wall_ms, struct candidate_group *out);

struct candidate_wish {
	struct balance *balance; /* may be NULL */
	uint64_t thread;         /* of balance_request */
	bool forced;             /* likewise */
	const struct config *config;
};

/* Takes a place at one of the group, which is not empty. NULL: all of them are full. */
const struct status_llm *candidates_take(const struct candidate_group *g, const struct candidate_wish *w,
                                         struct balance_place *place);

/* What people know a replica by: its container, its deployment, or else the kind of LLM. */
const char *candidate_replica_name(const struct status_snapshot *s, const struct status_llm *l);

/* Whether the client may use any candidate's model, by the id that its server knows it by or by its name. */
bool candidates_are_allowed(const struct status_snapshot *s, const struct access_identity *client);

/* By the id that its server knows it by, which clients see, or by its name. model NULL: any. */
bool candidate_has_model(const struct status_snapshot *s, const struct status_llm *l, const char *model);

bool candidates_have_model(const struct status_snapshot *s, const char *model);

/* Whether its type is embedding, so that it is no candidate for chats. */
bool candidate_embeds(const struct status_snapshot *s, const struct status_llm *l);

/* The same for LLMs of that type. */
bool candidates_embed_model(const struct status_snapshot *s, const char *model);

/* Whether any candidate of the model (NULL: of any) has vision. */
bool candidates_have_vision(const struct status_snapshot *s, const struct quirk_memory *quirks, const char *model);

/* What the LLM refuses: as the daemon published it, and as the worker has learned since. */
struct quirks candidate_quirks(const struct status_llm *l, const struct quirk_memory *quirks);

#endif
