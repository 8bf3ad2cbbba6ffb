/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/answers.h"

#include "config.h"

#include "core/base/clock.h"
#include "core/status/document.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

json_t *answer_error(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return json_pack("{s:s,s:s}", "status", "error", "message", text);
}

/* The discovered LLMs, each as make shows it. */
static json_t *listed(const struct agent *a, json_t *(*make)(const struct llm *l))
{
	const struct registry *r = a->s.registry;
	json_t *list = json_array();

	for (size_t i = 0; i < registry_count(r); i++)
		if (registry_llms(r)[i].kind == LLM_DISCOVERED)
			json_array_append_new(list, make(&registry_llms(r)[i]));
	return list;
}

json_t *answer_refresh(const struct agent *a, const char *old_name)
{
	if (selector_current(&a->selector) < 0 && registry_discovered(a->s.registry) > 0)
		return answer_error("No suitable LLM found among discovered models");
	if (selector_current(&a->selector) < 0)
		return answer_error("No LLMs available and no fallback configured");
	return json_pack("{s:s,s:s,s:s,s:s,s:o}", "status", "success", "message", "LLM refreshed successfully",
	                 "old_model", old_name, "new_model", agent_current_name(a), "available_models",
	                 listed(a, document_model_brief));
}

json_t *answer_selected(const struct agent *a, const char *old_name, const struct llm *l)
{
	char message[1024];

	snprintf(message, sizeof message, "Successfully switched to %s", llm_name(l));
	return json_pack("{s:s,s:s,s:s,s:s,s:o}", "status", "success", "message", message, "old_model", old_name,
	                 "new_model", agent_current_name(a), "model_info", document_model_info(l));
}

json_t *answer_not_found(const struct agent *a, const char *deploy_id)
{
	json_t *j = answer_error("Model with deploy_id %s not found", deploy_id);

	json_object_set_new(j, "available_models", listed(a, document_model_id));
	return j;
}

json_t *answer_reloaded(const struct agent *a, json_t *refresh)
{
	if (refresh != NULL)
		return json_pack("{s:s,s:s,s:o}", "status", "success", "message",
		                 "Configuration refreshed and LLM updated", "llm_refresh", refresh);
	return json_pack("{s:s,s:s,s:o}", "status", "success", "message", "Configuration refreshed successfully",
	                 "current_config", document_current_config(a->s.config));
}

json_t *answer_test(const struct llm *l, const char *error)
{
	json_t *info = l->kind == LLM_DISCOVERED ? document_llm_info(l) : json_null();
	json_t *j = json_pack("{s:s,s:s,s:o,s:b}", "status", error == NULL ? "success" : "error", "llm_url", l->url,
	                      "llm_info", info, "connection_test", error == NULL);

	if (error != NULL)
		json_object_set_new(j, "message", json_string(error));
	return j;
}

json_t *answer_ping(const struct agent *a)
{
	return json_pack("{s:I,s:s,s:f,s:I,s:b,s:I,s:I}", "pid", (json_int_t)getpid(), "version", PACKAGE_VERSION,
	                 "uptime", (double)(clock_mono_ms() - a->started_ms) / 1000.0, "generation",
	                 (json_int_t)publisher_generation(a->publisher), "waiting", a->selector.usable == 0, "llms",
	                 (json_int_t)registry_count(a->s.registry), "usable", (json_int_t)a->selector.usable);
}

json_t *answer_models(const struct agent *a)
{
	struct status_view v;

	publisher_view(a->publisher, &a->selector, &a->polling, &v);
	return document_models(&v);
}
