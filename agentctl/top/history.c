/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/top/history.h"

#include <string.h>

enum top_mark top_mark_of(enum llm_health health, bool ejected)
{
	static const enum top_mark marks[] = {
		[LLM_UNKNOWN] = TOP_UNKNOWN,
		[LLM_HEALTHY] = TOP_UP,
		[LLM_DEGRADED] = TOP_DEGRADED,
		[LLM_UNHEALTHY] = TOP_DOWN,
	};

	return ejected && marks[health] < TOP_EJECTED ? TOP_EJECTED : marks[health];
}

/* What was, goes on until then. */
static void advance(struct top_history *h, int64_t slot)
{
	if (h->slot == 0 || slot - h->slot > TOP_HISTORY) {
		int known = h->slot != 0 ? h->last : TOP_NONE;

		memset(h->marks, known, sizeof h->marks);
		h->slot = slot;
	}
	while (h->slot < slot)
		h->marks[++h->slot % TOP_HISTORY] = h->last;
}

void top_history_set(struct top_history *h, int64_t at_ms, enum top_mark mark)
{
	unsigned char *now;

	if (at_ms <= 0)
		return;
	advance(h, at_ms / TOP_HISTORY_MS);
	now = &h->marks[h->slot % TOP_HISTORY];
	if (mark > *now)
		*now = (unsigned char)mark;
	h->last = (unsigned char)mark;
}

void top_history_event(struct top_history *h, const struct event_record *r)
{
	static const unsigned char marks[EVENT_KINDS] = {
		[EVENT_MODEL_UP] = TOP_UP,     [EVENT_MODEL_DEGRADED] = TOP_DEGRADED,
		[EVENT_MODEL_DOWN] = TOP_DOWN, [EVENT_EJECTED] = TOP_EJECTED,
		[EVENT_RETURNED] = TOP_UP,
	};

	if (marks[r->kind] != TOP_NONE)
		top_history_set(h, r->at_ms, (enum top_mark)marks[r->kind]);
}

void top_history_get(struct top_history *h, int64_t now_ms, unsigned char out[TOP_HISTORY])
{
	advance(h, now_ms / TOP_HISTORY_MS);
	for (int i = 0; i < TOP_HISTORY; i++)
		out[i] = h->marks[(h->slot + 1 + i) % TOP_HISTORY];
}
