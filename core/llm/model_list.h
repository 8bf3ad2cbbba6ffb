/* SPDX-License-Identifier: Apache-2.0 */
/* What servers say about their models: an LLM's answer to GET /v1/models, in whatever form
 * ({"data":[...]}, {"models":[...]}, a bare array), and the documents about one model that some
 * servers have beside it. */
#ifndef TT_LLM_MODEL_LIST_H
#define TT_LLM_MODEL_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_ID_MAX 4096 /* bytes, the same as for the backend's values */

struct model_list_entry {
	char *id;        /* NULL: missing or longer than MODEL_ID_MAX */
	int64_t context; /* the context window in tokens; 0: unknown */
	bool continues;  /* the server says that it is one of those that can continue an answer */
	size_t count;    /* entries of the list; 0: it was none, or an empty one */
};

/* Reads the entry that is called `wanted` (may be NULL), or else the first one, whose context
 * length counts only if it is the only one or no other was wanted. Values that are missing or of
 * the wrong type are unknown. body need not be terminated. -1: out of memory. */
int model_list_read(const char *body, size_t len, const char *wanted, struct model_list_entry *out);
void model_list_clear(struct model_list_entry *m);

#endif
