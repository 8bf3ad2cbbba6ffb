/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/selector.h"

#include "core/base/clock.h"
#include "core/base/log.h"
#include "agentd/schedule.h"
#include "core/llm/select.h"

#include <stdlib.h>
#include <string.h>

void selector_free(struct selector *s)
{
	free(s->order);
	free(s->pinned);
	drains_clear(&s->drains);
	free(s->name);
	memset(s, 0, sizeof *s);
}

long selector_current(const struct selector *s)
{
	return s->usable > 0 ? (long)s->order[0] : -1;
}

int selector_pin(struct selector *s, const char *deploy_id)
{
	char *copy = strdup(deploy_id);

	if (copy == NULL)
		return -1;
	free(s->pinned);
	s->pinned = copy;
	return 0;
}

void selector_unpin(struct selector *s)
{
	free(s->pinned);
	s->pinned = NULL;
}

static void check_pin(struct selector *s, const struct registry *r)
{
	long i = s->pinned != NULL ? registry_find_id(r, s->pinned) : -1;

	bool drained = s->pinned != NULL && drains_find(&s->drains, s->pinned) != NULL;

	if (s->pinned == NULL || (i >= 0 && !drained && registry_llms(r)[i].health != LLM_UNHEALTHY))
		return;
	log_event(LOG_PIN_REMOVED, L_STR("deploy_id", s->pinned),
	          L_STR("reason", i < 0     ? "the model is not deployed any more"
	                          : drained ? "the model is drained"
	                                    : "the model is unhealthy"));
	selector_unpin(s);
}

static bool is_offered(const struct selector *s, const struct llm *l, const struct track *t)
{
	return drains_find(&s->drains, status_drain_name(l)) == NULL &&
	       (l->health != LLM_UNKNOWN || l->probe_url == NULL) && !t->gated;
}

/* Drops LLMs that are not offered yet, or drained. */
static void drop_unready(struct selector *s, struct registry *r)
{
	size_t kept = 0, usable = s->usable;

	for (size_t n = 0; n < s->count; n++) {
		size_t i = s->order[n];

		if (is_offered(s, registry_llm(r, i), registry_track(r, i)))
			s->order[kept++] = i;
		else if (n < usable)
			s->usable--;
	}
	s->count = kept;
}

/* Ejected LLMs come after the other usable ones, in their order; before them those that other hosts ejected. */
static void demote_ejected(struct selector *s, struct registry *r, int64_t now)
{
	size_t *demoted = calloc(2 * s->usable + 1, sizeof *demoted), *ejected;
	size_t kept = 0, doubted = 0, out = 0;

	if (demoted == NULL)
		return;
	ejected = demoted + s->usable;
	for (size_t n = 0; n < s->usable; n++) {
		if (registry_llms(r)[s->order[n]].ejected_until_ms > now)
			ejected[out++] = s->order[n];
		else if (registry_track(r, s->order[n])->doubted)
			demoted[doubted++] = s->order[n];
		else
			s->order[kept++] = s->order[n];
	}
	memcpy(s->order + kept, demoted, doubted * sizeof *demoted);
	kept += doubted;
	memcpy(s->order + kept, ejected, out * sizeof *ejected);
	free(demoted);
	if (out > 0 && kept == 0 && !s->panic)
		log_event(LOG_PANIC, L_STR("reason", "every LLM is ejected; all of them are tried"),
		          L_INT("llms", out));
	s->panic = out > 0 && kept == 0;
}

/* Whether l, the current LLM, stays although another one is preferred: that one was lost and
 * is not stable yet. */
static bool may_stay(const struct services *sv, const struct llm *l, const struct llm *preferred, const struct track *t,
                     int64_t now_wall_ms)
{
	return l->health == LLM_HEALTHY && l->ejected_until_ms <= now_wall_ms && preferred->health == LLM_HEALTHY &&
	       !schedule_is_stable(t, sv->config, clock_mono_ms());
}

static bool is_pinned(const struct selector *s, const struct llm *l)
{
	return s->pinned != NULL && l->deploy_id != NULL && strcmp(s->pinned, l->deploy_id) == 0;
}

/* An LLM that comes back is not selected before it is stable. */
static void keep_current(struct selector *s, const struct services *sv, int64_t now)
{
	const struct llm *first;
	size_t at = 0, index;

	while (at < s->usable && registry_llm(sv->registry, s->order[at])->instance != s->current)
		at++;
	if (at == 0 || at >= s->usable)
		return;
	first = registry_llm(sv->registry, s->order[0]);
	if (is_pinned(s, first) || !may_stay(sv, registry_llm(sv->registry, s->order[at]), first,
	                                     registry_track(sv->registry, s->order[0]), now))
		return;
	index = s->order[at];
	memmove(s->order + 1, s->order, at * sizeof *s->order);
	s->order[0] = index;
}

static int make_room(struct selector *s, size_t count)
{
	size_t *order;

	if (count <= s->room)
		return 0;
	order = realloc(s->order, count * sizeof *order);
	if (order == NULL)
		return -1;
	s->order = order;
	s->room = count;
	return 0;
}

static void announce(struct selector *s, const struct services *sv)
{
	struct registry *r = sv->registry;
	const struct llm *l = s->usable > 0 ? registry_llm(r, s->order[0]) : NULL;
	const char *reason = "no LLM is usable";

	if (l != NULL)
		reason = select_reason(registry_llms(r), registry_count(r), sv->config, s->pinned, s->order[0]);
	events_selection(sv->events, l, s->name, reason, s->usable);
	free(s->name);
	s->name = l != NULL ? strdup(llm_name(l)) : NULL;
}

bool selector_update(struct selector *s, const struct services *sv, int64_t now_wall_ms)
{
	struct registry *r = sv->registry;
	uint64_t current;

	s->count = s->usable = 0;
	s->failed = make_room(s, registry_count(r)) != 0;
	if (s->failed)
		return false;
	check_pin(s, r);
	if (registry_count(r) > 0)
		s->count =
			select_order(registry_llms(r), registry_count(r), sv->config, s->pinned, s->order, &s->usable);
	drop_unready(s, r);
	demote_ejected(s, r, now_wall_ms);
	keep_current(s, sv, now_wall_ms);
	current = s->usable > 0 ? registry_llm(r, s->order[0])->instance : 0;
	if (current == s->current)
		return false;
	s->current = current;
	announce(s, sv);
	return true;
}
