/* SPDX-License-Identifier: Apache-2.0 */
/* While there is no LLM: when to look for one. Pure, the clock is an argument.
 *
 *   start -> attempt 1 at once -> retries after 1, 2, 5, 10, ... s -> attempt every polling.interval -> exhausted
 *
 * What is not there yet is usually there soon: the retries are those of the delays that are shorter than the
 * interval, and come again whenever the LLM is lost or /refresh found none. They are no attempts of
 * polling.max_attempts.
 *
 * Polling off: one attempt at start, then only /refresh. Attempts used up: /refresh starts the
 * count again. When the LLM is lost, the first attempt is made at once. */
#ifndef TT_AGENTD_POLLING_H
#define TT_AGENTD_POLLING_H

#include "core/config/config.h"

#include <stdbool.h>
#include <stdint.h>

struct polling {
	bool waiting;      /* there is no LLM */
	bool exhausted;    /* polling.max_attempts are used up */
	uint64_t attempts; /* since there is none, without retries */
	unsigned retries;  /* that were made or are planned */
	bool retry;        /* the next one is a retry */
	int64_t next_ms;   /* monotonic time of the next attempt; 0 = none */
};

void polling_start(struct polling *p, int64_t now_ms);

/* There is no LLM any more, or there is one: a change of state only. */
void polling_lost(struct polling *p, const struct config *c, int64_t now_ms);
void polling_found(struct polling *p);

bool polling_due(const struct polling *p, int64_t now_ms);

/* An attempt begins: counts it and plans the next one. */
void polling_attempt(struct polling *p, const struct config *c, int64_t now_ms);

/* /refresh makes its own attempt; the count starts again. */
void polling_restart(struct polling *p, const struct config *c, int64_t now_ms);

/* The configuration changed. */
void polling_reconfigure(struct polling *p, const struct config *c, int64_t now_ms);

/* Whether attempts will follow by themselves. */
bool polling_active(const struct polling *p);

#endif
