/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/registry.h"

#include "core/base/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct registry {
	struct llm *llms;
	struct track *tracks; /* same indexes */
	size_t count;
	uint64_t last_instance;
};

struct registry *registry_new(int64_t wall_ms)
{
	struct registry *r = calloc(1, sizeof *r);

	if (r != NULL)
		r->last_instance = (uint64_t)wall_ms;
	return r;
}

void registry_free(struct registry *r)
{
	if (r == NULL)
		return;
	for (size_t i = 0; i < r->count; i++)
		llm_clear(&r->llms[i]);
	free(r->llms);
	free(r->tracks);
	free(r);
}

size_t registry_count(const struct registry *r)
{
	return r->count;
}

const struct llm *registry_llms(const struct registry *r)
{
	return r->llms;
}

struct llm *registry_llm(struct registry *r, size_t i)
{
	assert(i < r->count);
	return &r->llms[i];
}

struct track *registry_track(struct registry *r, size_t i)
{
	assert(i < r->count);
	return &r->tracks[i];
}

long registry_find(const struct registry *r, uint64_t instance, size_t hint)
{
	size_t after = hint < r->count ? hint : r->count, before = after;

	while (after < r->count || before > 0) {
		if (after < r->count && r->llms[after].instance == instance)
			return (long)after;
		after += after < r->count;
		if (before > 0 && r->llms[--before].instance == instance)
			return (long)before;
	}
	return -1;
}

long registry_find_id(const struct registry *r, const char *deploy_id)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->llms[i].deploy_id != NULL && strcmp(r->llms[i].deploy_id, deploy_id) == 0)
			return (long)i;
	return -1;
}

size_t registry_discovered(const struct registry *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->count; i++)
		n += r->llms[i].kind == LLM_DISCOVERED;
	return n;
}

static bool same_place(const struct llm *a, const struct llm *b)
{
	return a->kind == b->kind && text_same(a->deploy_id, b->deploy_id);
}

static bool same_deployment(const struct llm *a, const struct track *t, const struct llm *b)
{
	return text_same(a->url, b->url) && text_same(a->probe_url, b->probe_url) &&
	       text_same(a->model_name, b->model_name) && text_same(a->hf_model_id, b->hf_model_id) &&
	       text_same(a->model_type, b->model_type) && (t->restored || text_same(a->jwt_secret, b->jwt_secret));
}

static void move_text(char **to, char **from)
{
	free(*to);
	*to = *from;
	*from = NULL;
}

/* What was learned about old holds for fresh, which is the same deployment. */
static void inherit(struct llm *fresh, struct llm *old)
{
	fresh->instance = old->instance;
	fresh->health = old->health;
	fresh->failures = old->failures;
	fresh->successes = old->successes;
	fresh->hangs = old->hangs;
	fresh->hung = old->hung;
	fresh->loading = old->loading;
	fresh->checked_ms = old->checked_ms;
	fresh->latency_ms = old->latency_ms;
	fresh->ejected_since_ms = old->ejected_since_ms;
	fresh->ejected_until_ms = old->ejected_until_ms;
	move_text(&fresh->reason, &old->reason);
	if (fresh->resolve == NULL)
		move_text(&fresh->resolve, &old->resolve);
	if (fresh->model == NULL)
		move_text(&fresh->model, &old->model);
	if (fresh->tools == LLM_TOOLS_UNKNOWN)
		fresh->tools = old->tools;
	if (fresh->context_length == 0)
		fresh->context_length = old->context_length;
	fresh->continues = old->continues;
	fresh->plain = old->plain;
	fresh->quirks = old->quirks;
	fresh->max_tokens = old->max_tokens;
	fresh->quirks_ms = old->quirks_ms;
}

/* Usually the list comes in the order it had, but for some that came or went: the search starts at hint,
 * in both directions. */
static long find_place(const struct registry *r, const struct llm *l, size_t hint)
{
	size_t after = hint < r->count ? hint : r->count, before = after;

	while (after < r->count || before > 0) {
		if (after < r->count && r->llms[after].instance != 0 && same_place(&r->llms[after], l))
			return (long)after;
		after += after < r->count;
		if (before > 0 && r->llms[--before].instance != 0 && same_place(&r->llms[before], l))
			return (long)before;
	}
	return -1;
}

struct merge {
	struct llm *llms;
	struct track *tracks;
	size_t count;
};

/* Moves entry i of r into m and marks its old place as taken (instance 0). */
static void keep_old(struct merge *m, struct registry *r, size_t i)
{
	m->llms[m->count] = r->llms[i];
	m->tracks[m->count++] = r->tracks[i];
	memset(&r->llms[i], 0, sizeof r->llms[i]);
}

static void take_fresh(struct merge *m, struct registry *r, struct llm_list *fresh, struct registry_change *change)
{
	for (size_t k = 0; k < fresh->count; k++) {
		struct llm *l = &fresh->items[k];
		struct track track = {.seen_healthy = false};
		long old = find_place(r, l, k);

		if (old >= 0 && same_deployment(&r->llms[old], &r->tracks[old], l)) {
			inherit(l, &r->llms[old]);
			track = r->tracks[old];
			track.restored = false;
		} else {
			l->instance = ++r->last_instance;
			*(old >= 0 ? &change->redeployed : &change->added) += 1;
		}
		if (old >= 0)
			llm_clear(&r->llms[old]); /* instance 0: taken */
		m->llms[m->count] = *l;
		m->tracks[m->count++] = track;
		memset(l, 0, sizeof *l);
	}
	fresh->count = 0;
}

/* Discovered ones come first. */
static int position(enum llm_kind k)
{
	return k == LLM_DISCOVERED ? -1 : (int)k;
}

int registry_merge(struct registry *r, enum llm_kind kind, struct llm_list *fresh, struct registry_change *change)
{
	size_t room = r->count + fresh->count + 1;
	struct merge m = {.llms = calloc(room, sizeof *m.llms), .tracks = calloc(room, sizeof *m.tracks)};

	if (m.llms == NULL || m.tracks == NULL) {
		free(m.llms);
		free(m.tracks);
		return -1;
	}
	for (size_t i = 0; i < r->count; i++)
		if (position(r->llms[i].kind) < position(kind))
			keep_old(&m, r, i);
	take_fresh(&m, r, fresh, change);
	for (size_t i = 0; i < r->count; i++)
		if (r->llms[i].instance != 0 && position(r->llms[i].kind) > position(kind))
			keep_old(&m, r, i);
	for (size_t i = 0; i < r->count; i++) {
		change->removed += r->llms[i].instance != 0;
		llm_clear(&r->llms[i]);
	}
	free(r->llms);
	free(r->tracks);
	r->llms = m.llms;
	r->tracks = m.tracks;
	r->count = m.count;
	return 0;
}

int registry_restore(struct registry *r, struct llm *l)
{
	struct llm *llms = realloc(r->llms, (r->count + 1) * sizeof *llms);
	struct track *tracks;

	if (llms == NULL)
		return -1;
	r->llms = llms;
	tracks = realloc(r->tracks, (r->count + 1) * sizeof *tracks);
	if (tracks == NULL)
		return -1;
	r->tracks = tracks;
	if (l->instance == 0)
		l->instance = ++r->last_instance;
	else if (l->instance > r->last_instance)
		r->last_instance = l->instance;
	r->llms[r->count] = *l;
	memset(&r->tracks[r->count], 0, sizeof r->tracks[r->count]);
	r->tracks[r->count].restored = true;
	if (r->llms[r->count].ejected_until_ms != 0 && r->llms[r->count].reason != NULL)
		snprintf(r->tracks[r->count].ejection_reason, sizeof r->tracks[r->count].ejection_reason, "%.159s",
		         r->llms[r->count].reason);
	r->tracks[r->count].seen_healthy = llm_health_is_up(l->health);
	memset(l, 0, sizeof *l);
	r->count++;
	return 0;
}
