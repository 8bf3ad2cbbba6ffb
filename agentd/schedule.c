/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/schedule.h"

#define RESTART_MS (10 * 60 * 1000) /* within which a server that was stopped usually is back */

enum pace schedule_pace(const struct llm *l, const struct track *t, bool alone, int64_t now_ms)
{
	if (l->health == LLM_DEGRADED && l->failures > 0)
		return PACE_CHANGING;
	if (l->health != LLM_UNHEALTHY)
		return PACE_STEADY;
	if (l->loading || (l->successes > 0 && !l->hung))
		return PACE_CHANGING;
	if (t->unreached_ms != 0 && now_ms - t->unreached_ms < RESTART_MS)
		return PACE_STEADY;
	return alone ? PACE_STEADY : PACE_DOWN;
}

int64_t schedule_interval_ms(const struct config *c, enum pace p)
{
	int64_t interval = cfg_ms(c, CFG_HEALTH_INTERVAL), fast = cfg_ms(c, CFG_HEALTH_FAST_INTERVAL),
		down = cfg_ms(c, CFG_HEALTH_DOWN_INTERVAL);

	if (p == PACE_CHANGING)
		return fast < interval ? fast : interval;
	if (p == PACE_DOWN)
		return down != 0 ? down : 2 * interval;
	return interval;
}

int64_t schedule_spread_ms(int64_t interval_ms, unsigned from, unsigned to, uint32_t chance)
{
	int64_t permille = (int64_t)from * 10 + chance % ((to - from) * 10 + 1);

	return interval_ms * permille / 1000;
}

int64_t schedule_probe(const struct track *t, const struct config *c, enum pace p, int64_t now_ms, uint32_t chance)
{
	int64_t interval = schedule_interval_ms(c, p), wait;
	bool again = t->probe_due_ms != 0 && t->pace == p;

	if (again || p == PACE_CHANGING)
		wait = schedule_spread_ms(interval, 90, 110, chance);
	else
		wait = schedule_spread_ms(interval, 25, 100, chance);
	return now_ms + (wait > 0 ? wait : 1);
}

int64_t schedule_eject_ms(const struct config *c, unsigned repetitions)
{
	int64_t first = cfg_ms(c, CFG_HEALTH_EJECT_TIME), longest = cfg_ms(c, CFG_HEALTH_EJECT_MAX);
	int64_t ms = first << (repetitions < 20 ? repetitions : 20);

	if (longest < first)
		return first;
	return ms < longest ? ms : longest;
}

int64_t schedule_canary(const struct llm *l, const struct track *t, const struct config *c, int64_t now_ms,
                        uint32_t chance)
{
	int64_t interval = cfg_ms(c, CFG_HEALTH_CANARY_INTERVAL);
	int64_t due;

	if (interval == 0 || !cfg_bool(c, CFG_HEALTH_ENABLED) || l->kind == LLM_CLOUD || l->probe_url == NULL ||
	    !llm_is_selectable(l) || !(llm_health_is_up(l->health) || l->hung))
		return 0;
	if (l->hung)
		return now_ms + schedule_spread_ms(schedule_eject_ms(c, l->hangs), 90, 110, chance);
	if (l->hangs > 0)
		return now_ms + schedule_interval_ms(c, PACE_CHANGING);
	if (t->served_ms == 0) /* nothing is known: anywhere within the interval */
		return now_ms + 1 + schedule_spread_ms(interval, 10, 100, chance);
	due = t->served_ms + schedule_spread_ms(interval, 90, 110, chance);
	return due > now_ms ? due : now_ms + 1;
}

bool schedule_is_stable(const struct track *t, const struct config *c, int64_t now_ms)
{
	return t->healthy_since_ms == 0 || now_ms - t->healthy_since_ms >= cfg_ms(c, CFG_HEALTH_STABLE_TIME);
}
