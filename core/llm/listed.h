/* An LLM's answer to GET /v1/models: {"data":[{"id", "max_model_len"?, "owned_by"?}]}. */
#ifndef TT_LLM_LISTED_H
#define TT_LLM_LISTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LISTED_ID_MAX 4096 /* bytes, as of what the backend names */

struct listed_model {
	char *id;        /* NULL: the answer names none, or a longer one */
	int64_t context; /* the context window in tokens; 0: not told */
	bool is_vllm;
};

/* Reads the entry whose id is wanted (may be NULL), else the first one. What is not there,
 * or of the wrong type, is "not told". body need not be terminated. -1: no memory. */
int listed_read(const char *body, size_t len, const char *wanted, struct listed_model *out);
void listed_clear(struct listed_model *m);

#endif
