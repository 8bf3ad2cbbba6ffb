/* SPDX-License-Identifier: Apache-2.0 */
/* Tool calls of one answer, put together from the fragments of its chunks. Pure. */
#ifndef TT_STREAM_CALLS_H
#define TT_STREAM_CALLS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define CALLS_MAX           32 /* calls of one answer */
#define CALLS_ARGUMENTS_MAX (256u << 10)
#define CALLS_NAME_MAX      1024
#define CALLS_EXTRA_MAX     (256u << 10)

struct call {
	char *id;        /* never NULL after calls_finish */
	char *name;      /* likewise: as its tool is called where it is one's, else as the model wrote it */
	char *arguments; /* the one JSON object that they hold, else as the model wrote them */
	size_t len;      /* of them */
	bool cut;        /* their rest is missing: it must not be run */
	json_t *extra;   /* members that the API does not know, those of "function" in an object; NULL: none */
};

/* How far a call has come. */
struct call_state {
	long index;  /* the server's */
	bool whole;  /* it was written as text: no fragment belongs to it */
	bool closed; /* the object of the arguments has ended; and how deep in it we are: */
	bool in_string, escaped;
	size_t depth;
	size_t extra_len; /* what was added to extra */
};

struct calls {
	struct call *items;       /* CALLS_MAX, from the first call on: most answers have none */
	struct call_state *state; /* of each */
	size_t count;
	const char *const *tools;
	bool halves; /* marks of halves.h may be in the arguments */
};

/* tools: names of those that the model was offered, ended by NULL, borrowed; NULL: none. */
void calls_init(struct calls *c, const char *const *tools);
void calls_clear(struct calls *c); /* of its calls; the tools stay */

/* Takes one chunk's tool_calls: fragments or whole calls, as servers send them. again: they come
 * with the whole message after the fragments, and those that came before are the same calls.
 * -1: no memory (errno is ENOMEM) or beyond the limits.
 *
 * A fragment belongs to the call of its index, else to that of its id, else to the last one. With
 * a name it begins a call of its own if its id is another one or what was there is whole. A name
 * that is not the same again continues the one before. Arguments that begin with all that was
 * there replace it. */
int calls_merge(struct calls *c, const json_t *fragments, bool again);

/* Adds a whole call, one that was written as text. -1: no memory or one too many. */
int calls_add(struct calls *c, const char *name, const char *arguments);

/* At the end: drops what has no name or is the same again, gives an id to what has none of its own,
 * resolves names, and takes arguments for what they must be: one JSON object, with nothing around it
 * but template tokens and fences, once or the same again, in one string or in several. Others stay
 * as they are. limited: the answer was cut at the limit of tokens, and calls without such an object
 * with it. -1: no memory. */
int calls_finish(struct calls *c, bool limited);

#endif
