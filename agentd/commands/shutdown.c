/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#include "core/base/log.h"

#define DELAY_MS 50 /* the answer is sent first */

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	const struct timeval delay = clock_timeval_ms(DELAY_MS);

	(void)args;
	log_event(LOG_STOPPING, L_STR("reason", "the shutdown command"));
	events_stopping(a->s.events, "the shutdown command");
	command_reply(call, json_pack("{s:s,s:s}", "status", "success", "message", "The daemon is stopping"));
	event_base_loopexit(a->s.base, &delay);
}

const struct command_entry command_SHUTDOWN = {.run = run};
