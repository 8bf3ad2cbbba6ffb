/* SPDX-License-Identifier: Apache-2.0 */
#include "core/llm/llm.h"

#include "core/llm/quirks.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* Every string that the value owns. */
static const size_t texts[] = {
#define LLM_TEXT(name, shown)  offsetof(struct llm, name),
#define LLM_PRIVATE_TEXT(name) offsetof(struct llm, name),
#include "core/llm/llm_fields.def"
};

static char **text_of(struct llm *l, size_t i)
{
	return (char **)(void *)((char *)l + texts[i]);
}

void llm_clear(struct llm *l)
{
	for (size_t i = 0; i < COUNT(texts); i++)
		free(*text_of(l, i));
	*l = (struct llm){.latency_ms = -1};
}

int llm_copy(struct llm *to, const struct llm *from)
{
	*to = *from;
	for (size_t i = 0; i < COUNT(texts); i++)
		*text_of(to, i) = NULL;
	for (size_t i = 0; i < COUNT(texts); i++) {
		const char *text = *(char *const *)(const void *)((const char *)from + texts[i]);

		if (text != NULL && (*text_of(to, i) = strdup(text)) == NULL) {
			llm_clear(to);
			return -1;
		}
	}
	return 0;
}

const char *llm_name(const struct llm *l)
{
	const char *name = l->kind == LLM_DISCOVERED ? l->model_name : l->model;

	return name != NULL ? name : "Unknown";
}

const char *llm_type(const struct llm *l)
{
	return l->model_type != NULL ? l->model_type : "chat";
}

bool llm_has_vision(const struct llm *l)
{
	if ((l->quirks & QUIRK_BIT(QUIRK_IMAGES)) != 0)
		return false;
	return l->kind == LLM_CLOUD || (l->model_type != NULL && strcasecmp(l->model_type, "vlm") == 0);
}

bool llm_tools_apply(enum llm_kind kind, bool uses_completions, enum llm_tools tools)
{
	if (uses_completions || tools == LLM_TOOLS_NO)
		return false;
	return tools == LLM_TOOLS_YES || kind != LLM_DISCOVERED;
}

bool llm_uses_tools(const struct llm *l)
{
	return (l->quirks & QUIRK_BIT(QUIRK_TOOLS)) == 0 && llm_tools_apply(l->kind, l->uses_completions, l->tools);
}

bool llm_is_selectable(const struct llm *l)
{
	static const char *const types[] = {"chat", "completion", "vlm"};

	for (size_t i = 0; i < COUNT(types); i++)
		if (strcasecmp(llm_type(l), types[i]) == 0)
			return true;
	return false;
}

static const struct llm_kind_info kinds[] = {
#define LLM_KIND(id, ...) [LLM_##id] = {__VA_ARGS__},
#include "core/llm/llm_kinds.def"
};

static const char *const health_texts[] = {
	[LLM_UNKNOWN] = "unknown",
	[LLM_HEALTHY] = "healthy",
	[LLM_DEGRADED] = "degraded",
	[LLM_UNHEALTHY] = "unhealthy",
};

const struct llm_kind_info *llm_kind_info(enum llm_kind k)
{
	return &kinds[k];
}

const char *llm_health_text(enum llm_health h)
{
	return health_texts[h];
}

int llm_health_parse(const char *text, enum llm_health *h)
{
	for (size_t i = 0; i < COUNT(health_texts); i++) {
		if (strcmp(text, health_texts[i]) == 0) {
			*h = (enum llm_health)i;
			return 0;
		}
	}
	return -1;
}

int llm_choose_model(struct llm *l, const struct config *c, const char *first_served)
{
	const char *choices[5];
	size_t count = 0;

	if (l->kind == LLM_CLOUD)
		choices[count++] = cfg_str(c, CFG_CLOUD_MODEL);
	choices[count++] = l->hf_model_id;
	choices[count++] = l->model_name;
	choices[count++] = cfg_str(c, CFG_LLM_HF_MODEL_PATH);
	choices[count++] = cfg_is_set(c, CFG_LOCAL_MODEL) ? cfg_str(c, CFG_LOCAL_MODEL) : first_served;
	for (size_t i = 0; i < count; i++) {
		char *model;

		if (choices[i] == NULL || choices[i][0] == '\0')
			continue;
		model = strdup(choices[i]);
		if (model == NULL)
			return -1;
		free(l->model);
		l->model = model;
		return 0;
	}
	return 0;
}
