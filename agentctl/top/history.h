/* SPDX-License-Identifier: Apache-2.0 */
/* A model's health over the last minutes, from what was recorded and what is seen. Pure. */
#ifndef TT_AGENTCTL_TOP_HISTORY_H
#define TT_AGENTCTL_TOP_HISTORY_H

#include "agentctl/top/state.h"

struct top_history {
	int64_t slot;                     /* the newest one, in TOP_HISTORY_MS since 1970; 0: nothing is known yet */
	unsigned char marks[TOP_HISTORY]; /* by slot modulo their number */
	unsigned char last;               /* the newest mark */
};

enum top_mark top_mark_of(enum llm_health health, bool ejected);

/* From at_ms on it is mark. Calls come in the order of time; older ones count as simultaneous. */
void top_history_set(struct top_history *h, int64_t at_ms, enum top_mark mark);

/* The same for a recorded event of the model; other kinds change nothing. */
void top_history_event(struct top_history *h, const struct event_record *r);

/* The marks up to now, oldest first. */
void top_history_get(struct top_history *h, int64_t now_ms, unsigned char out[TOP_HISTORY]);

#endif
