/* SPDX-License-Identifier: Apache-2.0 */
/* Outlier ejection: an LLM that failed a chat turn is tried after all others for a while,
 * longer with each repetition, whatever its /health says. Pure, the clock is an argument. */
#ifndef TT_AGENTD_EJECTION_H
#define TT_AGENTD_EJECTION_H

#include "agentd/registry.h"

/* Sets ejected_since_ms and ejected_until_ms; why is shown. Where it is ejected already, only
 * why changes. */
void ejection_begin(struct llm *l, struct track *t, const struct config *c, const char *why, int64_t now_wall_ms);

/* It is ejected and the time is over, or the clock was set back to before it began. */
bool ejection_is_over(const struct llm *l, int64_t now_wall_ms);

/* Ends it; repetitions are still counted. */
void ejection_end(struct llm *l, struct track *t);

/* As if it had never been ejected. */
void ejection_clear(struct llm *l, struct track *t);

/* Sets the reason to show while it is ejected, unless there is another one. */
void ejection_explain(struct llm *l, const struct track *t, int64_t now_wall_ms);

#endif
