/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/options.h"

#include "config.h"

#include <string.h>

static int check_log_level(void *into, const char *value, struct err *e)
{
	struct fcgi_options *o = into;

	if (log_level_parse(value, &o->log_level) < 0)
		return err_set(e, "'%s' is not one of DEBUG, INFO, WARNING, ERROR, CRITICAL", value);
	o->log_level_given = true;
	return 0;
}

static int check_log_target(void *into, const char *value, struct err *e)
{
	struct fcgi_options *o = into;

	if (log_target_parse(value, &o->log_target) < 0)
		return err_set(e, "'%s' is not one of stderr, syslog, journal", value);
	return 0;
}

static int check_log_format(void *into, const char *value, struct err *e)
{
	struct fcgi_options *o = into;

	if (log_format_parse(value, &o->log_format) < 0)
		return err_set(e, "'%s' is neither text nor json", value);
	o->log_format_given = true;
	return 0;
}

void options_apply_log(const struct fcgi_options *o, const struct config *c)
{
	log_set_level(o->log_level_given ? o->log_level : config_log_level(c));
	log_set_format(o->log_format_given ? o->log_format : config_log_format(c));
}

static const struct option_row rows[] = {
	{.name = "run-dir",
         .argument = "DIR",
         .help = "Directory in which tt-agentd publishes its state.",
         .initial = OPTIONS_RUN_DIR,
         OPTION_INTO(struct fcgi_options, run_dir)},
	{.name = "listen",
         .argument = "PATH|HOST:PORT",
         .help = "Where the web server connects. Default: the socket that systemd or spawn-fcgi passes on, "
                 "else " OPTIONS_SOCKET ".",
         OPTION_INTO(struct fcgi_options, listen)},
	{.name = "mode",
         .argument = "OCTAL",
         .help = "Access mode of the socket, if it is created here.",
         .initial = "0660",
         .max = 0777,
         .base = 8,
         OPTION_INTO(struct fcgi_options, mode)},
	{.name = "group",
         .argument = "NAME",
         .help = "Group of the socket, if it is created here; usually the web server's.",
         OPTION_INTO(struct fcgi_options, group)},
	{.name = "workers",
         .argument = "N",
         .help = "Number of worker processes; 0 means one per core.",
         .initial = "0",
         .max = OPTIONS_WORKERS_MAX,
         OPTION_INTO(struct fcgi_options, workers)},
	{.name = "drain",
         .argument = "SECONDS",
         .help = "How long running answers may continue after SIGTERM or SIGHUP.",
         .initial = "300",
         .max = 86400,
         .is_duration = true,
         OPTION_INTO(struct fcgi_options, drain_ms)},
	{.name = "no-keeper",
         .help = "Start no process that outlives a worker and ends its answers: for tools such as valgrind, which "
                 "cannot follow one that shares file descriptors.",
         OPTION_INTO(struct fcgi_options, no_keeper)},
	{.name = "log-level",
         .argument = "LEVEL",
         .help = "DEBUG, INFO, WARNING, ERROR or CRITICAL. Default: as configured (log.level).",
         .check = check_log_level},
	{.name = "log-format",
         .argument = "FORMAT",
         .help = "text or json. Default: as configured (log.format).",
         .check = check_log_format},
	{.name = "log-target",
         .argument = "TARGET",
         .help = "stderr, syslog or journal.",
         .initial = "stderr",
         .check = check_log_target},
};

static const struct option_exit_status exits[] = {
	{0, "Stopped by a signal."},
	{1, "It could not start or continue; the last line of the log says why."},
	{OPTIONS_EXIT_USAGE, "Wrong options."},
};

const struct program fcgi_program = {
	.name = "tt-agent-fcgi",
	.version = PACKAGE_VERSION,
	.usage = "[OPTION]...",
	.purpose = "Answers the FastCGI requests of nginx or lighttpd.",
	.rows = rows,
	.row_count = sizeof rows / sizeof rows[0],
	.exits = exits,
	.exit_count = sizeof exits / sizeof exits[0],
	.notes = "SIGTERM stops it when the running answers are complete. SIGHUP restarts it in place without\n"
		 "refusing a connection.",
};
