/* SPDX-License-Identifier: Apache-2.0 */
/* An LLM's answer to GET /v1/models: {"data":[{"id", "max_model_len"?, "owned_by"?}]}. */
#ifndef TT_LLM_MODEL_LIST_H
#define TT_LLM_MODEL_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_ID_MAX 4096 /* bytes, as of what the backend names */

struct model_list_entry {
	char *id;        /* NULL: the answer names none, or a longer one */
	int64_t context; /* the context window in tokens; 0: not told */
	bool is_vllm;
};

/* Reads the entry whose id is wanted (may be NULL), else the first one. What is not there,
 * or of the wrong type, is "not told". body need not be terminated. -1: no memory. */
int model_list_read(const char *body, size_t len, const char *wanted, struct model_list_entry *out);
void model_list_clear(struct model_list_entry *m);

#endif
