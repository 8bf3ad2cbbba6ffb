/* SPDX-License-Identifier: Apache-2.0 */
/* The deployments: the TT-Studio backend's answer to GET /models/deployed/, an object keyed
 * by deploy_id, each {name, internal_url, health_url, tool_calling_enabled?, jwt_secret?,
 * model_impl:{model_name, model_type, hf_model_id}}; URLs have no scheme. */
#ifndef TT_LLM_DEPLOYMENTS_H
#define TT_LLM_DEPLOYMENTS_H

#include "core/llm/llm.h"

#include <stddef.h>

struct llm_list {
	struct llm *items;
	size_t count;
};
void llm_list_clear(struct llm_list *l); /* frees the items; the list is empty */

#define DEPLOYMENTS_MAX 65536 /* entries; further ones are left out and reported */

/* Called for each entry that was left out, with the reason (one line). */
typedef void deployments_skipped_fn(void *arg, const char *deploy_id, const char *why);

/* Parses the whole answer, in the backend's order. A malformed entry is skipped and
 * reported: one without internal_url or health_url, with an invalid URL, or with a value of
 * the wrong type. Other fields may be missing. deploy_ids are unique (the last of equal ones
 * counts), names need not be. A malformed document is an error and leaves out empty; so does
 * one without a single entry of the right form (a backend's error object is not an empty
 * list). json need not be terminated. skipped may be NULL. */
int deployments_parse(const char *json, size_t len, const struct config *c, struct llm_list *out,
                      deployments_skipped_fn *skipped, void *arg, struct err *e);

#endif
