/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#include "agentd/passive_health.h"
#include "core/status/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct selection {
	bool awaits_discovery;
	char deploy_id[];
};

static json_t *not_found(const struct agent *a, const char *deploy_id)
{
	json_t *j = command_error("Model with deploy_id %s not found", deploy_id);

	json_object_set_new(j, "available_models", command_discovered(a, document_model_id));
	return j;
}

static json_t *selected(const struct agent *a, const char *old_name, const struct llm *l)
{
	char message[1024];

	snprintf(message, sizeof message, "Successfully switched to %s", llm_name(l));
	return json_pack("{s:s,s:s,s:s,s:s,s:o}", "status", "success", "message", message, "old_model", old_name,
	                 "new_model", agent_current_name(a), "model_info", document_model_info(l));
}

/* Decides with what is known now. */
static void finish(struct pending *p)
{
	const struct selection *s = p->state;
	struct agent *a = p->agent;
	long i = registry_find_id(a->s.registry, s->deploy_id);
	const struct llm *l = i >= 0 ? registry_llm(a->s.registry, (size_t)i) : NULL;

	if (l == NULL) {
		pending_reply(p, not_found(a, s->deploy_id));
	} else if (!llm_is_selectable(l)) {
		pending_reply(p, command_error("Model %s cannot chat (type: %s)", llm_name(l), l->model_type));
	} else if (drains_find(&a->selector.drains, s->deploy_id) != NULL) {
		pending_reply(p,
		              command_error("Model %s is drained: tt-agentctl undrain %s", llm_name(l), s->deploy_id));
	} else if (!llm_health_is_up(l->health)) {
		pending_reply(p, command_error("Model %s is unhealthy (status: %s)", llm_name(l),
		                               llm_health_text(l->health)));
	} else if (selector_pin(&a->selector, s->deploy_id) != 0) {
		pending_fail(p, "out of memory");
	} else {
		passive_health_clear_ejection(a, (size_t)i);
		agent_settle(a);
		pending_reply(p, selected(a, p->old_name, registry_llm(a->s.registry, (size_t)i)));
	}
}

/* Waits for the backend's answer, and for the verdict on the model where there is none. */
static void progress(struct pending *p)
{
	const struct selection *s = p->state;
	struct agent *a = p->agent;
	long i = registry_find_id(a->s.registry, s->deploy_id);
	const struct track *t = i >= 0 ? registry_track(a->s.registry, (size_t)i) : NULL;

	if (s->awaits_discovery && discovery_running(a->discovery))
		return;
	if (t != NULL && (t->gated || (t->probing && registry_llm(a->s.registry, (size_t)i)->health != LLM_HEALTHY)))
		return;
	finish(p);
}

static void clear(struct pending *p)
{
	free(p->state);
}

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	const char *id = json_string_value(json_object_get(args, "deploy_id"));
	int64_t age = discovery_age_ms(a->discovery);
	struct selection *s;
	struct pending *p;
	long i;

	if (id == NULL) {
		command_fail(call, "deploy_id: a text is needed");
		return;
	}
	p = pending_new(a, call, CMD_SELECT);
	if (p == NULL)
		return;
	p->state = s = calloc(1, sizeof *s + strlen(id) + 1);
	if (s == NULL) {
		pending_fail(p, "out of memory");
		return;
	}
	memcpy(s->deploy_id, id, strlen(id) + 1);
	i = registry_find_id(a->s.registry, id);
	if (i < 0 || age < 0 || age > cfg_ms(a->s.config, CFG_DISCOVERY_CACHE_TTL))
		s->awaits_discovery = discovery_start(a->discovery) == 0;
	if (i >= 0 && registry_llm(a->s.registry, (size_t)i)->health == LLM_UNHEALTHY) {
		passive_health_clear_ejection(a, (size_t)i);
		monitor_probe(a->monitor, (size_t)i); /* it may have recovered since the last probe */
	}
	progress(p);
}

const struct command_entry command_SELECT = {.run = run, .timeout = finish, .progress = progress, .clear = clear};
