/* SPDX-License-Identifier: Apache-2.0 */
/* drain and undrain: whether an LLM gets new turns. */
#include "agentd/commands/command.h"

#include "core/base/clock.h"
#include "core/status/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BY_MAX 64

static long find(const struct agent *a, const char *name)
{
	const struct llm *llms = registry_llms(a->s.registry);

	for (size_t i = 0; i < registry_count(a->s.registry); i++)
		if (strcmp(status_drain_name(&llms[i]), name) == 0)
			return (long)i;
	return -1;
}

/* Who it says it is, or its number: whoever may drain may say anything, and looking up a name may block. */
static void requester(const struct command_call *call, const json_t *args, char out[BY_MAX])
{
	const char *by = json_string_value(json_object_get(args, "by"));

	if (by != NULL && *by != '\0')
		snprintf(out, BY_MAX, "%.*s", BY_MAX - 1, by);
	else
		snprintf(out, BY_MAX, "uid %u", (unsigned)command_peer_uid(call));
}

/* Frees old_name. */
static void reply(struct agent *a, struct command_call *call, const char *message, char *old_name)
{
	agent_settle(a);
	command_reply(call, json_pack("{s:s,s:s,s:s?,s:s}", "status", "success", "message", message, "old_model",
	                              old_name, "new_model", agent_current_name(a)));
	free(old_name);
}

static void drain(struct agent *a, struct command_call *call, const json_t *args)
{
	const char *name = json_string_value(json_object_get(args, "deploy_id"));
	long i = name != NULL ? find(a, name) : -1;
	const struct status_drain *known = name != NULL ? drains_find(&a->selector.drains, name) : NULL;
	char *old_name = strdup(agent_current_name(a));
	char message[1024], by[BY_MAX];

	if (i < 0 && known == NULL) {
		json_t *error = command_error("Model with deploy_id %s not found", name != NULL ? name : "(none)");

		json_object_set_new(error, "available_models", command_discovered(a, document_model_id));
		command_reply(call, error);
		free(old_name);
		return;
	}
	requester(call, args, by);
	if (known != NULL) {
		snprintf(message, sizeof message, "%s was drained before, by %s", name, known->by);
	} else if (drains_add(&a->selector.drains, name, by, clock_wall_ms()) < 0) {
		free(old_name);
		command_fail(call, "out of memory, or too many LLMs are drained");
		return;
	} else {
		events_drain(a->s.events, registry_llm(a->s.registry, (size_t)i), name, by, true);
		agent_settle(a);
		snprintf(message, sizeof message, "%s gets no new turns; those that run may end%s", name,
		         a->selector.usable == 0 ? "; no LLM is left for new ones" : "");
	}
	reply(a, call, message, old_name);
}

static void undrain(struct agent *a, struct command_call *call, const json_t *args)
{
	const char *name = json_string_value(json_object_get(args, "deploy_id"));
	bool known = name != NULL && drains_find(&a->selector.drains, name) != NULL;
	long i = known ? find(a, name) : -1;
	char *old_name = strdup(agent_current_name(a));
	char message[1024], by[BY_MAX];

	snprintf(message, sizeof message, "%s %s", name != NULL ? name : "(none)",
	         known ? "gets new turns again" : "was not drained");
	if (known) {
		requester(call, args, by);
		events_drain(a->s.events, i >= 0 ? registry_llm(a->s.registry, (size_t)i) : NULL, name, by, false);
		drains_remove(&a->selector.drains, name);
	}
	reply(a, call, message, old_name);
}

const struct command_entry command_DRAIN = {.run = drain};
const struct command_entry command_UNDRAIN = {.run = undrain};
