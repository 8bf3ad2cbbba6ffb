/* SPDX-License-Identifier: Apache-2.0 */
#include "core/turn/candidates.h"

#include "core/base/clock.h"
#include "core/llm/llm.h"

#include <string.h>
#include <strings.h>

void cooldown_add(struct cooldown *c, uint64_t instance, int64_t now_wall_ms)
{
	size_t at = 0;

	for (size_t i = 0; i < c->count; i++) {
		if (c->items[i].instance == instance) {
			c->items[i].failed_ms = now_wall_ms;
			return;
		}
		if (c->items[i].failed_ms < c->items[at].failed_ms)
			at = i;
	}
	if (c->count < COOLDOWN_SIZE)
		at = c->count++;
	c->items[at].instance = instance;
	c->items[at].failed_ms = now_wall_ms;
}

bool cooldown_has(const struct cooldown *c, const struct status_llm *l, int64_t now_wall_ms)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->items[i].instance == l->instance)
			return l->checked_ms <= c->items[i].failed_ms && now_wall_ms >= c->items[i].failed_ms &&
			       now_wall_ms - c->items[i].failed_ms < COOLDOWN_MS; /* the clock may have been set back */
	return false;
}

void tried_add(struct tried *t, uint64_t instance)
{
	if (t->count < TRIED_MAX)
		t->instances[t->count++] = instance;
}

static bool was_tried(const struct tried *t, uint64_t instance)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->instances[i] == instance)
			return true;
	return false;
}

struct quirks candidate_quirks(const struct status_llm *l, const struct quirk_memory *quirks)
{
	struct quirks q = {.set = l->quirks, .max_tokens = l->max_tokens};

	if (quirks != NULL)
		quirk_memory_get(quirks, l->instance, l->quirks_ms, &q);
	return q;
}

static bool can(const struct status_llm *l, const struct quirk_memory *quirks, bool does, enum quirk unless)
{
	return does && (candidate_quirks(l, quirks).set & QUIRK_BIT(unless)) == 0;
}

static bool is_allowed(const struct status_snapshot *s, const struct status_llm *l,
                       const struct access_identity *client)
{
	const char *id = status_text(s, l->model), *name = status_text(s, l->model_name);

	return client == NULL || (id != NULL && access_may_use_model(client, id)) ||
	       (name != NULL && access_may_use_model(client, name)) ||
	       (id == NULL && name == NULL && access_may_use_model(client, ""));
}

bool candidates_are_allowed(const struct status_snapshot *s, const struct access_identity *client)
{
	for (size_t rank = 0; rank < status_header(s)->candidate_count; rank++)
		if (is_allowed(s, status_candidate(s, rank), client))
			return true;
	return false;
}

bool candidate_has_model(const struct status_snapshot *s, const struct status_llm *l, const char *model)
{
	const char *id = status_text(s, l->model), *name = status_text(s, l->model_name);

	return model == NULL || (id != NULL && strcmp(id, model) == 0) || (name != NULL && strcmp(name, model) == 0);
}

bool candidate_embeds(const struct status_snapshot *s, const struct status_llm *l)
{
	const char *type = status_text(s, l->model_type);

	return type != NULL && strcasecmp(type, "embedding") == 0;
}

static bool does(const struct status_snapshot *s, const struct status_llm *l, enum candidate_work work)
{
	return work != WORK_EMBEDDINGS || l->model_type.offset == 0 || candidate_embeds(s, l);
}

/* Number i of those that are searched: the candidates, then all others that embed. NULL: it is none. */
static const struct status_llm *searched(const struct status_snapshot *s, size_t i, bool *usable)
{
	const struct status_header *h = status_header(s);
	const struct status_llm *l;

	*usable = i < h->usable_count;
	if (i < h->candidate_count)
		return status_candidate(s, i);
	l = status_llm(s, i - h->candidate_count);
	if (!candidate_embeds(s, l))
		return NULL;
	*usable = l->health != LLM_UNHEALTHY;
	return l;
}

/* What is searched for, and in what. */
struct search {
	const struct status_snapshot *snapshot;
	const struct cooldown *cooldown;
	const struct tried *tried;
	const struct candidate_needs *needs;
	int64_t now_wall_ms;
	size_t count;
};

static struct search search_of(const struct status_snapshot *s, const struct cooldown *c, const struct tried *tried,
                               const struct candidate_needs *needs, int64_t now_wall_ms)
{
	const struct status_header *h = status_header(s);

	return (struct search){
		.snapshot = s,
		.cooldown = c,
		.tried = tried,
		.needs = needs,
		.now_wall_ms = now_wall_ms,
		.count = tried->count == TRIED_MAX
	                         ? 0
	                         : h->candidate_count + (needs->work == WORK_EMBEDDINGS ? h->llm_count : 0),
	};
}

/* Number i, if it was not tried and can do what is needed. */
static const struct status_llm *fitting(const struct search *q, size_t i, bool *usable)
{
	const struct candidate_needs *needs = q->needs;
	const struct status_snapshot *s = q->snapshot;
	const struct status_llm *l = searched(s, i, usable);

	if (l == NULL || was_tried(q->tried, l->instance) || !is_allowed(s, l, needs->client) ||
	    !does(s, l, needs->work) || !candidate_has_model(s, l, needs->model) ||
	    (needs->vision && !can(l, needs->quirks, l->vision != 0, QUIRK_IMAGES)) ||
	    (needs->continues && !can(l, needs->quirks, l->continues != 0, QUIRK_CONTINUATION)))
		return NULL;
	return l;
}

/* The number of the best one, q->count: there is none. ready: it can be used and is not in cooldown. */
static size_t find_best(const struct search *q, bool *ready)
{
	size_t cooling = q->count, unusable = q->count;
	bool usable;

	*ready = true;
	for (size_t i = 0; i < q->count; i++) {
		const struct status_llm *l = fitting(q, i, &usable);

		if (l == NULL)
			continue;
		if (!usable) {
			if (unusable == q->count)
				unusable = i;
		} else if (!cooldown_has(q->cooldown, l, q->now_wall_ms)) {
			return i;
		} else if (cooling == q->count) {
			cooling = i;
		}
	}
	*ready = false;
	return cooling != q->count ? cooling : unusable;
}

const struct status_llm *candidates_next(const struct status_snapshot *s, const struct cooldown *c,
                                         const struct tried *tried, struct candidate_needs needs, int64_t now_wall_ms)
{
	const struct search q = search_of(s, c, tried, &needs, now_wall_ms);
	bool any;
	size_t i = find_best(&q, &any);

	return i < q.count ? searched(s, i, &any) : NULL;
}

/* ---- replicas -------------------------------------------------------------------------------------------- */

static bool is_pinned(const struct status_snapshot *s, const struct status_llm *l)
{
	const char *pinned = status_text(s, status_header(s)->pinned), *id = status_text(s, l->deploy_id);

	return pinned != NULL && id != NULL && strcmp(pinned, id) == 0;
}

static bool uses_tools(const struct status_llm *l, const struct quirk_memory *quirks)
{
	bool apply = llm_tools_apply((enum llm_kind)l->kind, l->uses_completions != 0, (enum llm_tools)l->tools);

	return can(l, quirks, apply, QUIRK_TOOLS);
}

/* Tools and room for the history are not left to chance. */
static bool does_as_much(const struct status_llm *as, const struct status_llm *l, const struct quirk_memory *quirks)
{
	bool shorter = l->context_length != 0 && l->context_length < as->context_length;

	return !shorter && (uses_tools(l, quirks) || !uses_tools(as, quirks));
}

/* One that was never probed is no replica of one that works. */
static bool is_replica(const struct status_snapshot *s, const struct status_llm *of, const struct status_llm *l,
                       const struct quirk_memory *quirks)
{
	const char *model = status_text(s, of->model), *other = status_text(s, l->model);

	return l->kind == of->kind && l->uses_completions == of->uses_completions && model != NULL && other != NULL &&
	       strcmp(model, other) == 0 &&
	       llm_health_is_up((enum llm_health)l->health) == llm_health_is_up((enum llm_health)of->health) &&
	       does_as_much(of, l, quirks);
}

static void add_replica(struct candidate_group *g, const struct status_llm *l)
{
	g->llms[g->count] = l;
	g->replicas[g->count++] =
		(struct balance_replica){.instance = l->instance, .degraded = l->health == LLM_DEGRADED};
}

void candidates_group(const struct status_snapshot *s, const struct cooldown *c, const struct tried *tried,
                      struct candidate_needs needs, int64_t now_wall_ms, struct candidate_group *out)
{
	const struct search q = search_of(s, c, tried, &needs, now_wall_ms);
	bool ready, usable;
	size_t i = find_best(&q, &ready);
	const struct status_llm *best;

	out->count = 0;
	if (i == q.count)
		return;
	best = searched(s, i, &usable);
	add_replica(out, best);
	if (!ready || is_pinned(s, best))
		return;
	for (i++; i < q.count && out->count < BALANCE_REPLICAS_MAX; i++) {
		const struct status_llm *l = fitting(&q, i, &usable);

		if (l != NULL && usable && is_replica(s, best, l, needs.quirks) && !cooldown_has(c, l, now_wall_ms))
			add_replica(out, l);
	}
}

const struct status_llm *candidates_take(const struct candidate_group *g, const struct candidate_wish *w,
                                         struct balance_place *place)
{
	const struct balance_request r = {
		.thread = w->thread,
		.replicas = g->replicas,
		.count = g->count,
		.warmup_ns = cfg_ms(w->config, CFG_BALANCE_WARMUP) * 1000000,
		.forced = w->forced,
		.now_ns = clock_boot_ns(),
	};
	int i = balance_take(w->balance, &r, place);

	return i == BALANCE_FULL ? NULL : g->llms[i];
}

const char *candidate_replica_name(const struct status_snapshot *s, const struct status_llm *l)
{
	const char *container = status_text(s, l->container_name), *id = status_text(s, l->deploy_id);

	return container != NULL ? container : id != NULL ? id : llm_kind_text((enum llm_kind)l->kind);
}

bool candidates_have_model(const struct status_snapshot *s, const char *model)
{
	for (size_t rank = 0; rank < status_header(s)->candidate_count; rank++)
		if (candidate_has_model(s, status_candidate(s, rank), model))
			return true;
	return false;
}

bool candidates_embed_model(const struct status_snapshot *s, const char *model)
{
	for (size_t i = 0; i < status_header(s)->llm_count; i++)
		if (candidate_embeds(s, status_llm(s, i)) && candidate_has_model(s, status_llm(s, i), model))
			return true;
	return false;
}

bool candidates_have_vision(const struct status_snapshot *s, const struct quirk_memory *quirks, const char *model)
{
	for (size_t rank = 0; rank < status_header(s)->candidate_count; rank++)
		if (candidate_has_model(s, status_candidate(s, rank), model) &&
		    can(status_candidate(s, rank), quirks, status_candidate(s, rank)->vision != 0, QUIRK_IMAGES))
			return true;
	return false;
}
