/* SPDX-License-Identifier: Apache-2.0 */
/* What an LLM refuses of our requests. Its server says so once; from then on its requests are
 * made so that it takes them, until it is deployed again. Pure. */
#ifndef TT_LLM_QUIRKS_H
#define TT_LLM_QUIRKS_H

#include "core/config/config.h"
#include "core/config/request_fields.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The optional fields, each of which can be left out, then the rows QUIRK of quirks.def. */
enum quirk {
#define FIELD(id, path) QUIRK_##id,
	REQUEST_FIELDS(FIELD)
#undef FIELD
#define QUIRK(id, name) QUIRK_##id,
#include "core/llm/quirks.def"
		QUIRKS
};

#define QUIRK_BIT(q) (1u << (q))

struct quirks {
	unsigned set;       /* QUIRK_BIT of each */
	int64_t max_tokens; /* longest answer that can be asked for; 0: no limit is known */
};

const char *quirk_name(enum quirk q);                          /* for people: "no top_k" */
const char *quirk_field(enum quirk q);                         /* path of the field that is left out; NULL: none */
void quirks_add(struct quirks *to, const struct quirks *more); /* the lower limit counts */
bool quirks_any(const struct quirks *q);
unsigned quirks_omitted(const struct config *c, enum cfg_key k); /* the bits of a setting *.omit */

/* ["no top_k","max_tokens 4096"]: for people, and for the report to the daemon. What the reader
 * does not know is left out. */
json_t *quirks_to_json(const struct quirks *q);
void quirks_from_json(const json_t *names, struct quirks *q);

/* The same, joined by ", ". */
#define QUIRKS_TEXT_MAX 512
void quirks_text(const struct quirks *q, char out[QUIRKS_TEXT_MAX]);

/* A request that was refused. */
struct refusal {
	const char *param;        /* error.param, or the path of a location, "body.top_k"; NULL */
	const char *text;         /* what the server says; "" */
	bool overflow;            /* it says that the context window is exceeded */
	unsigned sent;            /* bits of what the request had, and what can be left out or changed */
	int64_t max_tokens;       /* that the request had; 0: none */
	const char *conversation; /* the words of the conversation; NULL */
};

/* What the refusal teaches, added to q; false: nothing. Only what was sent counts, and no words
 * that are those of the conversation. The guess may be wrong: it holds once a request that was
 * made accordingly is answered. */
bool quirks_learn(struct quirks *q, const struct refusal *r);

/* A worker's memory of the LLMs whose quirks it learned, which holds until the daemon's record
 * of the LLM is newer. One per worker, zeroed at start. */
#define QUIRK_MEMORY_SIZE 64
struct quirk_memory {
	struct {
		uint64_t instance;
		int64_t learned_ms; /* wall clock, comparable with llm.quirks_ms */
		struct quirks quirks;
	} items[QUIRK_MEMORY_SIZE];
	size_t next;
};
void quirk_memory_add(struct quirk_memory *m, uint64_t instance, int64_t now_wall_ms, const struct quirks *q);
/* Adds to q what m has of the LLM, learned after since_ms. */
void quirk_memory_get(const struct quirk_memory *m, uint64_t instance, int64_t since_ms, struct quirks *q);

#endif
