/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/passive_health.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/text.h"
#include "agentd/ejection.h"
#include "agentd/schedule.h"

#define CANARY_BEFORE_MS 2000 /* the canary probe of an ejected LLM goes out this long before its ejection ends */

static void eject(struct agent *a, struct llm *l, struct track *t, const char *why)
{
	int64_t now = clock_wall_ms(), until = l->ejected_until_ms;

	ejection_begin(l, t, a->s.config, why, now);
	if (l->ejected_until_ms != until)
		events_ejected(a->s.events, l, why, t->ejections);
}

/* Workers put a failed LLM into cooldown until its next probe; this one is not probed. */
static void end_cooldown(struct llm *l)
{
	if (l->probe_url == NULL)
		l->checked_ms = clock_wall_ms();
}

static void end_ejection(struct agent *a, struct llm *l, struct track *t, const char *why)
{
	ejection_end(l, t);
	end_cooldown(l);
	events_ejection_over(a->s.events, l, why);
	agent_touch(a, 0);
}

/* A canary probe shows whether it works before a turn needs it; at once where it may hang. */
static void probe_soon(struct agent *a, size_t index, const struct turn_report *r)
{
	const struct llm *l = registry_llm(a->s.registry, index);
	int64_t left = l->ejected_until_ms - clock_wall_ms();

	if (r->outcome == HTTP_TIMEOUT || r->outcome == HTTP_SILENCE)
		left = 0;
	canary_soon(a->canary, index, left > 2 * CANARY_BEFORE_MS ? left - CANARY_BEFORE_MS : left / 2);
}

static void apply_failure(struct agent *a, size_t index, const struct turn_report *r)
{
	struct llm *l = registry_llm(a->s.registry, index);
	struct track *t = registry_track(a->s.registry, index);
	enum llm_health before = l->health;
	struct probe_result result;

	turn_report_result(r, clock_wall_ms(), &result);
	log_event(LOG_TURN_FAILED, L_STR("model", llm_name(l)), L_STR("deploy_id", l->deploy_id),
	          L_STR("failure", result.text));
	t->served_ms = 0;
	turn_report_apply(l, &result, a->s.config);
	if (before != LLM_UNHEALTHY) /* else it is tried last already */
		eject(a, l, t, result.text);
	agent_verdict(a, index, before);
	agent_touch(a, 0);
	if (http_outcome_is_unreached(r->outcome))
		hosts_unreached(a->hosts, index);
	monitor_probe(a->monitor, index);
	probe_soon(a, index, r);
}

/* whole: a complete answer; else a part of one, which shows that it does not hang. */
static void apply_success(struct agent *a, size_t index, bool whole)
{
	struct llm *l = registry_llm(a->s.registry, index);
	struct track *t = registry_track(a->s.registry, index);
	struct probe_result result = {.outcome = PROBE_OK, .real = true, .status = 200, .at_ms = clock_wall_ms()};
	enum llm_health before = l->health;

	t->served_ms = clock_mono_ms();
	t->unreached_ms = 0;
	canary_plan(a->canary, index);
	if (whole && l->ejected_until_ms != 0)
		end_ejection(a, l, t, "it answered a chat turn");
	if (!l->hung)
		return;
	verdict_apply(l, &result, a->s.config);
	monitor_note(t, l, before);
	agent_verdict(a, index, before);
}

/* The LLM refused a part of a request, and answered it without. */
static void apply_quirks(struct agent *a, size_t index, const struct turn_report *r)
{
	if (capabilities_learn_quirks(&a->s, registry_llm(a->s.registry, index), &r->quirks, r->text))
		agent_touch(a, 0);
}

enum turn_report_verdict passive_health_report(struct agent *a, const struct turn_report *r)
{
	long i = registry_find(a->s.registry, r->instance, 0);
	enum turn_report_verdict verdict;

	if (i < 0)
		return REPORT_GONE;
	apply_quirks(a, (size_t)i, r);
	verdict = turn_report_judge(r, registry_track(a->s.registry, (size_t)i), clock_boot_ms());
	if (verdict == REPORT_COUNTS)
		apply_failure(a, (size_t)i, r);
	else if (verdict == REPORT_SERVED || verdict == REPORT_SERVING)
		apply_success(a, (size_t)i, verdict == REPORT_SERVED);
	return verdict;
}

void passive_health_canary(struct agent *a, size_t index, const struct probe_result *r)
{
	struct llm *l = registry_llm(a->s.registry, index);
	struct track *t = registry_track(a->s.registry, index);
	enum llm_health before = l->health;

	if (r->outcome == PROBE_UNAUTHORIZED) {
		eject(a, l, t, r->text);
		agent_touch(a, 0);
	} else {
		verdict_apply(l, r, a->s.config);
		monitor_note(t, l, before);
	}
	agent_verdict(a, index, before);
}

void passive_health_verdict(struct agent *a, size_t index, enum llm_health before)
{
	struct llm *l = registry_llm(a->s.registry, index);
	struct track *t = registry_track(a->s.registry, index);
	bool up = llm_health_is_up(l->health);

	ejection_explain(l, t, clock_wall_ms());
	if (t->canary_due_ms == 0 && up)
		canary_plan(a->canary, index);
	/* Only the earlier daemon knew why it was unhealthy: it may hang. */
	if (up && t->restored && t->served_ms == 0 && before == LLM_UNHEALTHY)
		canary_soon(a->canary, index, 0);
}

void passive_health_tick(struct agent *a)
{
	int64_t wall = clock_wall_ms(), now = clock_mono_ms();

	for (size_t i = 0; i < registry_count(a->s.registry); i++) {
		struct llm *l = registry_llm(a->s.registry, i);
		struct track *t = registry_track(a->s.registry, i);

		if (ejection_is_over(l, wall))
			end_ejection(a, l, t, "its time is over");
		if (t->healthy_since_ms != 0 && schedule_is_stable(t, a->s.config, now)) {
			t->healthy_since_ms = 0;
			agent_touch(a, AGENT_SOON_MS);
		}
	}
}

void passive_health_reconfigured(struct agent *a, const struct config *old)
{
	static const enum cfg_key credentials[] = {CFG_CLOUD_TOKEN, CFG_CLOUD_CA_FILE, CFG_AUTH_JWT_SECRET,
	                                           CFG_AUTH_TEAM_ID, CFG_AUTH_TOKEN_ID};
	bool changed = false;

	for (size_t i = 0; i < sizeof credentials / sizeof credentials[0]; i++)
		changed |= !text_same(cfg_str(old, credentials[i]), cfg_str(a->s.config, credentials[i]));
	for (size_t i = 0; changed && i < registry_count(a->s.registry); i++) {
		struct llm *l = registry_llm(a->s.registry, i);
		struct track *t = registry_track(a->s.registry, i);

		if (l->ejected_until_ms != 0)
			end_ejection(a, l, t, "the credentials changed");
		ejection_clear(l, t);
	}
}

void passive_health_end_warmup(struct agent *a)
{
	for (size_t i = 0; i < registry_count(a->s.registry); i++)
		registry_track(a->s.registry, i)->healthy_since_ms = 0;
}

bool passive_health_clear_ejection(struct agent *a, size_t index)
{
	struct llm *l = registry_llm(a->s.registry, index);
	struct track *t = registry_track(a->s.registry, index);
	bool changed = l->ejected_until_ms != 0 || t->healthy_since_ms != 0;

	ejection_clear(l, t);
	end_cooldown(l);
	t->healthy_since_ms = 0;
	capabilities_forget(a->capabilities, index);
	capabilities_forget_quirks(l);
	verdict_expect(l, a->s.config);
	if (l->hung)
		canary_soon(a->canary, index, 0);
	return changed;
}
