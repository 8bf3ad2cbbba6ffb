/* SPDX-License-Identifier: Apache-2.0 */
/* At start: restores what an earlier daemon published, so that a restart costs no turn. The
 * LLMs count as usable until their first probe. */
#ifndef TT_AGENTD_RESTORE_H
#define TT_AGENTD_RESTORE_H

#include "agentd/selector.h"
#include "agentd/services.h"

/* What config_mcp had in the configuration that was published last, a new reference; NULL: nothing. */
json_t *restore_mcp(const struct services *s, const char *run_dir);

/* Fills an empty registry; LLMs whose source is disabled are left out.
 * Returns how many were restored. */
size_t restore_published(struct services *s, struct selector *sel, const char *run_dir);

#endif
