/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/options.h"

#include "agentctl/ctl.h"

#include "config.h"

static const struct option_row rows[] = {
	{.name = "run-dir",
         .letter = 'r',
         .argument = "DIR",
         .help = "Run directory of the service. Default: $TT_AGENT_RUN_DIR, else " OPTIONS_RUN_DIR ".",
         OPTION_INTO(struct ctl_options, run_dir)},
	{.name = "json",
         .letter = 'j',
         .help = "Prints the answer as JSON, for scripts.",
         OPTION_INTO(struct ctl_options, json)},
	{.name = "timeout",
         .letter = 't',
         .argument = "SECONDS",
         .help = "Longest wait for the answer; 0 means the command's own limit.",
         .initial = "0",
         .max = 3600,
         .is_duration = true,
         OPTION_INTO(struct ctl_options, timeout_ms)},
	{.name = "since",
         .letter = 's',
         .argument = "TIME|NUMBER",
         .help = "events, usage: what is recorded since then, such as 10m, 14:30 or today; events: or from that number on.",
         OPTION_INTO(struct ctl_options, since)},
	{.name = "follow",
         .letter = 'f',
         .help = "events: after what is recorded, what comes.",
         OPTION_INTO(struct ctl_options, follow)},
	{.name = "batch",
         .letter = 'b',
         .help = "top: prints pages instead of filling the screen.",
         OPTION_INTO(struct ctl_options, batch)},
	{.name = "count",
         .letter = 'n',
         .argument = "N",
         .help = "top: so many pages; 0 means without end.",
         .initial = "0",
         .max = 1000000,
         OPTION_INTO(struct ctl_options, count)},
	{.name = "delay",
         .letter = 'd',
         .argument = "SECONDS",
         .help = "top: time between two refreshes, at least 0.1.",
         .initial = "1",
         .max = 3600,
         .is_duration = true,
         OPTION_INTO(struct ctl_options, delay_ms)},
	{.name = "token-env",
         .argument = "NAME",
         .help = "probe, chat, doctor: the environment variable that holds the token (never the token itself).",
         OPTION_INTO(struct ctl_options, token_env)},
	{.name = "model",
         .argument = "ID",
         .help = "probe: the model to ask for; default: the first that the server lists. chat: the model to talk to.",
         OPTION_INTO(struct ctl_options, model)},
	{.name = "proxy",
         .argument = "URL",
         .help = "probe: the proxy to the server, as proxy.https and proxy.http have it; local servers are asked directly.",
         OPTION_INTO(struct ctl_options, proxy)},
	{.name = "ca",
         .argument = "FILE",
         .help = "probe: the certificates that the server's must be signed by, as cloud.ca_file has it.",
         OPTION_INTO(struct ctl_options, ca)},
	{.name = "by",
         .argument = "WHAT",
         .help = "usage: summed by key (the default), subject, model, outcome or day.",
         OPTION_INTO(struct ctl_options, by)},
	{.name = "all-hosts",
         .help = "usage: of all hosts that share a Redis (hosts.redis), for whole days (UTC); also by host, and not by subject.",
         OPTION_INTO(struct ctl_options, all_hosts)},
	{.name = "changed",
         .help = "config: only the settings that differ from the defaults.",
         OPTION_INTO(struct ctl_options, changed)},
	{.name = "url",
         .argument = "URL",
         .help = "chat: the service's URL at its web server. doctor: also checks what a client gets there, by one short chat.",
         OPTION_INTO(struct ctl_options, url)},
	{.name = "thread",
         .argument = "ID",
         .help = "chat: the conversation to continue; default: a new one.",
         OPTION_INTO(struct ctl_options, thread)},
	{.name = "try",
         .help = "doctor: also makes a search with each configured service, and a chat request to the current LLM.",
         OPTION_INTO(struct ctl_options, try_services)},
};

static const struct option_exit_status exits[] = {
	{CTL_OK, "Success."},
	{CTL_REFUSED,
         "The daemon answered with an error; its text says why. probe: the server cannot be used. doctor: there are "
         "warnings, but no errors."},
	{CTL_USAGE, "Wrong options, command or arguments. doctor: there are errors."},
	{CTL_UNREACHABLE,
         "No daemon answered. status and models then show the last published state, marked as stale, if it can be "
         "read. threads: the published configuration, which names the store, could not be read. probe: no server answered at that URL."},
	{CTL_RESTART,
         "reload: the configuration is valid, but something of it takes effect only when tt-agentd is restarted."},
};

static void print_commands(FILE *out)
{
	struct ctl_command c;

	for (size_t i = 0; ctl_command_at(i, &c); i++) {
		char usage[128];

		ctl_usage(&c, usage, sizeof usage);
		options_print_entry(out, usage, c.help);
	}
}

const struct program agentctl_program = {
	.name = "tt-agentctl",
	.version = PACKAGE_VERSION,
	.usage = "[OPTION]... COMMAND [ARGUMENT]...",
	.purpose = "Sends a command to tt-agentd and shows its answer.",
	.rows = rows,
	.row_count = sizeof rows / sizeof rows[0],
	.exits = exits,
	.exit_count = sizeof exits / sizeof exits[0],
	.help_arguments = print_commands,
};
