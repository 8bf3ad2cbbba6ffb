/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of the wire contract that commands give. New references; NULL: no memory. */
#ifndef TT_AGENTD_ANSWERS_H
#define TT_AGENTD_ANSWERS_H

#include "agentd/agent.h"

#include <jansson.h>

json_t *answer_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

json_t *answer_refresh(const struct agent *a, const char *old_name);
json_t *answer_selected(const struct agent *a, const char *old_name, const struct llm *l);
json_t *answer_not_found(const struct agent *a, const char *deploy_id);

/* /refresh_config; refresh is stolen, NULL: the LLM was not selected again. */
json_t *answer_reloaded(const struct agent *a, json_t *refresh);

/* /test_llm; error NULL: it answered. */
json_t *answer_test(const struct llm *l, const char *error);

json_t *answer_ping(const struct agent *a);
json_t *answer_models(const struct agent *a);

#endif
