/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls of one answer, put together from the fragments of its chunks. Pure. */
#ifndef TT_STREAM_CALLS_H
#define TT_STREAM_CALLS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define CALLS_MAX           32 /* calls of one answer */
#define CALLS_ARGUMENTS_MAX (256u << 10)

struct call {
	char *id;        /* never NULL after calls_finish */
	char *name;      /* likewise */
	char *arguments; /* as the model wrote them: not yet known to be JSON */
	size_t len;      /* of them */
	bool cut;        /* they were too long: the rest is missing */
};

struct calls {
	struct call items[CALLS_MAX];
	long index[CALLS_MAX]; /* the server's index of each */
	bool whole[CALLS_MAX]; /* it was written as text: no fragment belongs to it */
	size_t count;
};

/* The tool that a model means by this name, as it is called in `tools` (names, ended by NULL), or
 * NULL. A namespace before the name, a number or a template's token after it (functions.NAME,
 * default_api:NAME, functions.NAME:0, NAME<|channel|>json), surrounding blanks and quotes, the case
 * of letters, and - for _ make no difference. */
const char *call_name_resolve(const char *name, const char *const *tools);

void calls_init(struct calls *c);
void calls_clear(struct calls *c);

/* Takes one chunk's tool_calls: fragments by `index`, or whole calls; arguments as text or,
 * from older servers, as an object. -1: no memory (errno is ENOMEM) or beyond the limits. */
int calls_merge(struct calls *c, const json_t *fragments);

/* Adds a whole call, one that was written as text. -1: no memory or one too many. */
int calls_add(struct calls *c, const char *name, const char *arguments);

/* At the end: drops what has no name, gives an id to what has none of its own. -1: no memory. */
int calls_finish(struct calls *c);

#endif
