/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/commands/command.h"

#include "config.h"

#include <unistd.h>

static void run(struct agent *a, struct command_call *call, const json_t *args)
{
	(void)args;
	command_reply(call, json_pack("{s:I,s:s,s:f,s:I,s:b,s:I,s:I,s:o,s:s?}", "pid", (json_int_t)getpid(), "version",
	                              PACKAGE_VERSION, "uptime", (double)(clock_mono_ms() - a->started_ms) / 1000.0,
	                              "generation", (json_int_t)publisher_generation(a->publisher), "waiting",
	                              a->selector.usable == 0, "llms", (json_int_t)registry_count(a->s.registry),
	                              "usable", (json_int_t)a->selector.usable, "restart_pending",
	                              reload_pending_restart(a->reload), "jwks_error", jwks_error(a->jwks)));
}

const struct command_entry command_PING = {.run = run};
