/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

static json_t *seconds(int64_t ms)
{
	return ms != 0 ? json_real((double)ms / 1000.0) : json_null();
}

static json_t *tools(const struct llm *l)
{
	if (l->tools == LLM_TOOLS_UNKNOWN)
		return json_null();
	return json_boolean(l->tools == LLM_TOOLS_YES);
}

static json_t *model(const struct agent *a, size_t i, json_t *rank)
{
	const struct llm *l = &registry_llms(a->s.registry)[i];
	bool pinned = a->selector.pinned != NULL && registry_find_id(a->s.registry, a->selector.pinned) == (long)i;

	return json_pack("{s:o,s:b,s:b,s:s?,s:s,s:s?,s:s?,s:s,s:s,s:s?,s:s?,s:s?,s:o,s:I,s:I,s:o,s:I,s:o,s:o,s:I}",
	                 "rank", rank, "current", selector_current(&a->selector) == (long)i, "pinned", pinned,
	                 "deploy_id", l->deploy_id, "model_name", llm_name(l), "model_type", l->model_type,
	                 "container_name", l->container_name, "kind", llm_kind_text(l->kind), "status",
	                 llm_health_text(l->health), "reason", l->reason, "url", l->url, "model", l->model, "tools",
	                 tools(l), "context_length", (json_int_t)l->context_length, "failures", (json_int_t)l->failures,
	                 "checked", seconds(l->checked_ms), "latency_ms", (json_int_t)l->latency_ms, "ejected_since",
	                 seconds(l->ejected_since_ms), "ejected_until", seconds(l->ejected_until_ms), "instance",
	                 (json_int_t)l->instance);
}

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	json_t *list = json_array();

	(void)args;
	agent_settle_if_touched(a);
	for (size_t n = 0; n < a->selector.count; n++)
		json_array_append_new(list, model(a, a->selector.order[n], json_integer((json_int_t)n)));
	for (size_t i = 0; i < registry_count(a->s.registry); i++) {
		size_t n = 0;

		while (n < a->selector.count && a->selector.order[n] != i)
			n++;
		if (n == a->selector.count)
			json_array_append_new(list, model(a, i, json_null()));
	}
	command_reply(call, json_pack("{s:I,s:o}", "generation", (json_int_t)publisher_generation(a->publisher),
	                              "models", list));
}

const struct command_entry command_MODELS = {.run = run};
