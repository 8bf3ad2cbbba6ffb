/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#define COUNT_MAX 1000000000

static bool note(struct agent *a, const json_t *event)
{
	enum event_kind kind;
	struct event_record r;
	json_int_t count = json_integer_value(json_object_get(event, "count"));

	if (event_kind_find(json_string_value(json_object_get(event, "kind")), &kind) < 0 ||
	    !event_kind_is_of_worker(kind) || count < 1 || count > COUNT_MAX)
		return false;
	r = event_record_of(kind, json_string_value(json_object_get(event, "model")),
	                    json_string_value(json_object_get(event, "deploy_id")),
	                    json_string_value(json_object_get(event, "was")),
	                    json_string_value(json_object_get(event, "reason")));
	r.count = (uint32_t)count;
	events_reported(a->s.events, &r);
	return true;
}

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	const json_t *event;
	json_int_t noted = 0;
	size_t i;

	json_array_foreach(json_object_get(args, "events"), i, event) noted += note(a, event);
	command_reply(call, json_pack("{s:I}", "noted", noted));
}

const struct command_entry command_NOTE = {.run = run};
