/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/ejection.h"

#include "agentd/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUIET_MS 60000 /* healthy for this long, and for as long as it was ejected: the count starts again */

void ejection_begin(struct llm *l, struct track *t, const struct config *c, const char *why, int64_t now_wall_ms)
{
	int64_t ms;

	snprintf(t->ejection_reason, sizeof t->ejection_reason, "%.159s", why);
	if (l->ejected_until_ms > now_wall_ms)
		return;
	if (now_wall_ms > t->ejections_end_ms)
		t->ejections = 0;
	ms = schedule_eject_ms(c, t->ejections++);
	t->ejections_end_ms = now_wall_ms + ms + (ms > QUIET_MS ? ms : QUIET_MS);
	l->ejected_since_ms = now_wall_ms;
	l->ejected_until_ms = now_wall_ms + ms;
}

bool ejection_is_over(const struct llm *l, int64_t now_wall_ms)
{
	return l->ejected_until_ms != 0 && (l->ejected_until_ms <= now_wall_ms || now_wall_ms < l->ejected_since_ms);
}

void ejection_end(struct llm *l, struct track *t)
{
	l->ejected_since_ms = l->ejected_until_ms = 0;
	t->ejection_reason[0] = '\0';
	if (l->health == LLM_DEGRADED || l->health == LLM_UNHEALTHY)
		return;
	free(l->reason);
	l->reason = NULL;
}

void ejection_clear(struct llm *l, struct track *t)
{
	if (l->ejected_until_ms != 0)
		ejection_end(l, t);
	t->ejections = 0;
	t->ejections_end_ms = 0;
}

void ejection_explain(struct llm *l, const struct track *t, int64_t now_wall_ms)
{
	if (l->ejected_until_ms <= now_wall_ms || l->reason != NULL || t->ejection_reason[0] == '\0')
		return;
	l->reason = strdup(t->ejection_reason);
}
