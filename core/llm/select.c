/* SPDX-License-Identifier: Apache-2.0 */
#include "core/llm/select.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A rank is one number, smaller is better. Its upper half is the step, its lower half the
 * place within the step. */
enum step { STEP_PINNED, STEP_KIND, STEP_FALLBACK = STEP_KIND + LLM_KINDS, STEP_NONE = STEP_FALLBACK + LLM_KINDS };
#define STEP_DISCOVERED   (STEP_KIND + (unsigned)LLM_DISCOVERED)
#define RANK(step, place) ((uint64_t)(step) << 32 | (place))
#define UNUSABLE          (UINT64_C(1) << 40)

struct rules {
	const struct llm *llms;
	const struct config *config;
	const char *pinned;
	const struct cfg_list *models, *types;
	const uint64_t *ranks; /* computed in advance; NULL: there was no memory for that */
};

static size_t find_model(const struct rules *r, const struct llm *l)
{
	for (size_t i = 0; l->model_name != NULL && i < r->models->count; i++)
		if (r->models->items[i][0] != '\0' && strcasestr(l->model_name, r->models->items[i]) != NULL)
			return i;
	return r->models->count;
}

static size_t find_type(const struct rules *r, const struct llm *l)
{
	for (size_t i = 0; i < r->types->count; i++)
		if (strcasecmp(llm_type(l), r->types->items[i]) == 0)
			return i;
	return r->types->count;
}

/* Places: healthy priority models, degraded ones, then by type healthy and degraded ones,
 * then other healthy, other degraded ones; those without a verdict follow in the same way. */
static uint64_t discovered_place(const struct rules *r, const struct llm *l)
{
	size_t models = r->models->count, types = r->types->count;
	size_t model = find_model(r, l), type;
	size_t base = llm_health_is_up(l->health) ? 0 : 2 * models + 2 * types + 2;
	size_t worse = l->health == LLM_DEGRADED ? 1 : 0;

	if (model < models)
		return base + worse * models + model;
	type = find_type(r, l);
	return base + 2 * models + 2 * type + worse; /* types: those that match none */
}

static bool is_usable(const struct llm *l)
{
	return llm_kind_info(l->kind)->must_answer ? llm_health_is_up(l->health) : l->health != LLM_UNHEALTHY;
}

static bool is_on(const struct config *c, enum cfg_key k)
{
	return k == LLM_KIND_NO_KEY || cfg_bool(c, k);
}

static bool has_text(const struct config *c, enum cfg_key k)
{
	return k == LLM_KIND_NO_KEY || (cfg_str(c, k) != NULL && cfg_str(c, k)[0] != '\0');
}

/* Steps are enum step's, or numbers between them: a kind, or a kind as a fallback. */
static unsigned step_of(const struct rules *r, const struct llm *l)
{
	const struct llm_kind_info *kind = llm_kind_info(l->kind);

	if (!has_text(r->config, kind->required) || (l->kind == LLM_DISCOVERED && !llm_is_selectable(l)))
		return STEP_NONE;
	if (!is_on(r->config, kind->enabled))
		return kind->fallback != LLM_KIND_NO_KEY && cfg_bool(r->config, kind->fallback)
		               ? STEP_FALLBACK + (unsigned)l->kind
		               : STEP_NONE;
	if (r->pinned != NULL && l->deploy_id != NULL && strcmp(r->pinned, l->deploy_id) == 0 && is_usable(l))
		return STEP_PINNED;
	return STEP_KIND + (unsigned)l->kind;
}

static uint64_t rank_of(const struct rules *r, size_t i)
{
	const struct llm *l = &r->llms[i];
	unsigned step = step_of(r, l);
	uint64_t place = step == STEP_DISCOVERED ? discovered_place(r, l) : 0;

	return RANK(step, place) | (is_usable(l) ? 0 : UNUSABLE);
}

static uint64_t known_rank(const struct rules *r, size_t i)
{
	return r->ranks != NULL ? r->ranks[i] : rank_of(r, i);
}

static int compare(const void *a, const void *b, void *arg)
{
	const struct rules *r = arg;
	size_t ia = *(const size_t *)a, ib = *(const size_t *)b;
	uint64_t ra = known_rank(r, ia), rb = known_rank(r, ib);

	if (ra != rb)
		return ra < rb ? -1 : 1;
	return ia < ib ? -1 : ia > ib;
}

static struct rules make_rules(const struct llm *llms, const struct config *c, const char *pinned)
{
	return (struct rules){
		.llms = llms,
		.config = c,
		.pinned = pinned,
		.models = cfg_list(c, CFG_SELECTION_PRIORITY_MODELS),
		.types = cfg_list(c, CFG_SELECTION_MODEL_TYPES),
	};
}

size_t select_order(const struct llm *llms, size_t count, const struct config *c, const char *pinned, size_t *order,
                    size_t *usable)
{
	struct rules r = make_rules(llms, c, pinned);
	uint64_t *ranks = calloc(count + 1, sizeof *ranks);
	size_t candidates = 0;

	*usable = 0;
	for (size_t i = 0; i < count; i++) {
		if (ranks != NULL)
			ranks[i] = rank_of(&r, i);
		if (step_of(&r, &llms[i]) == STEP_NONE)
			continue;
		order[candidates++] = i;
		if (is_usable(&llms[i]))
			++*usable;
	}
	r.ranks = ranks;
	qsort_r(order, candidates, sizeof *order, compare, &r);
	free(ranks);
	return candidates;
}

const char *select_reason(const struct llm *llms, size_t count, const struct config *c, const char *pinned,
                          size_t chosen)
{
	struct rules r = make_rules(llms, c, pinned);
	const struct llm *l;
	unsigned step;

	if (chosen >= count)
		return "not selectable";
	l = &llms[chosen];
	step = step_of(&r, l);
	if (step == STEP_NONE)
		return "not selectable";
	if (!is_usable(l))
		return "no other LLM is usable";
	if (step == STEP_PINNED)
		return "pinned";
	if (step >= STEP_FALLBACK)
		return llm_kind_info(l->kind)->fallback_reason;
	if (step == STEP_DISCOVERED && find_model(&r, l) < r.models->count)
		return "priority model";
	if (step == STEP_DISCOVERED && find_type(&r, l) < r.types->count)
		return "model type";
	return llm_kind_info(l->kind)->reason;
}
