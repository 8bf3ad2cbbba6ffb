/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/options.h"

#include "config.h"

#include <string.h>

static int check_set(void *into, const char *value, struct err *e)
{
	(void)into;
	if (strchr(value, '=') == NULL || value[0] == '=')
		return err_set(e, "it takes KEY=VALUE, for example --set polling.interval=30");
	return 0;
}

static const struct option_row rows[] = {
	{.name = "config",
         .letter = 'c',
         .argument = "FILE",
         .help = "Configuration file. Default: " OPTIONS_DEFAULT_FILE " if it exists, else none.",
         .more = "See tt-agent.conf(5).",
         OPTION_INTO(struct agentd_options, file)},
	{.name = "run-dir",
         .argument = "DIR",
         .help = "Directory for the status file, the published configuration and the command socket.",
         .initial = OPTIONS_RUN_DIR,
         OPTION_INTO(struct agentd_options, run_dir)},
	{.name = "set",
         .argument = "KEY=VALUE",
         .help = "Sets one setting; overrides the file and the environment. May be repeated.",
         .more = "KEY is a setting's path (polling.interval) or its environment variable; the last one wins. "
                 "VALUE is written as in the environment. An empty one unsets the setting or, if it cannot be "
                 "unset, restores its default. Secrets are refused, because other users see them in the process "
                 "list: put them into the file or the environment.",
         .check = check_set,
         OPTION_INTO(struct agentd_options, sets)},
	{.name = "test",
         .letter = 't',
         .help = "Tests the configuration, prints every error, and exits with 0 if it is valid, else 1.",
         .more = "Reads the file, the environment and --set. Errors name their file and line; warnings are printed "
                 "as well. Nothing is started.",
         OPTION_INTO(struct agentd_options, only_test)},
	{.name = "as-service",
         .help = "With --test: tests what the service would read: as its user tt-agent, with the variables of "
                 "/etc/default/tt-agent, by systemd-run.",
         .more = "What root can read, the service may not be able to, and it gets none of the variables of a shell. "
                 "Root's --test does this by itself where systemd runs, the unit is installed and no other file is "
                 "named.",
         OPTION_INTO(struct agentd_options, as_service)},
	{.name = "print-config",
         .help = "Prints the effective configuration as JSON, with the origin of each value, without secrets.",
         OPTION_INTO(struct agentd_options, only_print_config)},
};

static const struct option_exit_status exits[] = {
	{0, "Stopped by a signal or a command. With --test: the configuration is valid."},
	{1,
         "The configuration was refused, another daemon uses the run directory, or another error that the last "
         "line of the log names."},
	{OPTIONS_EXIT_USAGE, "Wrong options."},
};

const struct program agentd_program = {
	.name = "tt-agentd",
	.version = PACKAGE_VERSION,
	.usage = "[OPTION]...",
	.purpose = "Finds LLMs, watches them, and publishes which one to use.",
	.rows = rows,
	.row_count = sizeof rows / sizeof rows[0],
	.exits = exits,
	.exit_count = sizeof exits / sizeof exits[0],
	.notes = "SIGHUP reloads the configuration, SIGTERM stops the daemon.",
};
