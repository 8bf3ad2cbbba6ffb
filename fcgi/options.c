/* SPDX-License-Identifier: Apache-2.0 */
#include "fcgi/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRAIN_DEFAULT_S 300
#define DRAIN_MAX_S     86400

typedef int take_fn(struct options *o, const char *value, struct err *e);

static int take_run_dir(struct options *o, const char *value, struct err *e)
{
	(void)e;
	o->run_dir = value;
	return 0;
}

static int take_listen(struct options *o, const char *value, struct err *e)
{
	if (value[0] == '\0')
		return err_set(e, "--listen: give a path or HOST:PORT");
	o->listen = value;
	return 0;
}

static int take_group(struct options *o, const char *value, struct err *e)
{
	(void)e;
	o->group = value;
	return 0;
}

static int take_number(const char *name, const char *value, int base, long max, long *out, struct err *e)
{
	char *end;

	errno = 0;
	*out = strtol(value, &end, base);
	if (errno != 0 || end == value || *end != '\0' || *out < 0 || *out > max)
		return err_set(
			e, base == 8 ? "%s: '%s' is no octal number of 0 to %lo" : "%s: '%s' is no number of 0 to %ld",
			name, value, max);
	return 0;
}

static int take_mode(struct options *o, const char *value, struct err *e)
{
	long n;

	if (take_number("--mode", value, 8, 0777, &n, e) < 0)
		return -1;
	o->mode = (mode_t)n;
	return 0;
}

static int take_workers(struct options *o, const char *value, struct err *e)
{
	long n;

	if (take_number("--workers", value, 10, OPTIONS_WORKERS_MAX, &n, e) < 0)
		return -1;
	if (n > 0)
		o->workers = (unsigned)n;
	return 0;
}

static int take_drain(struct options *o, const char *value, struct err *e)
{
	long n;

	if (take_number("--drain", value, 10, DRAIN_MAX_S, &n, e) < 0)
		return -1;
	o->drain_ms = n * 1000;
	return 0;
}

static int take_log_level(struct options *o, const char *value, struct err *e)
{
	if (log_level_parse(value, &o->log_level) < 0)
		return err_set(e, "--log-level: '%s' is none of DEBUG, INFO, WARNING, ERROR, CRITICAL", value);
	o->log_level_given = true;
	return 0;
}

static int take_log_target(struct options *o, const char *value, struct err *e)
{
	if (log_target_parse(value, &o->log_target) == 0)
		return 0;
	return err_set(e, "--log-target: '%s' is none of stderr, syslog, journal", value);
}

static int take_help(struct options *o, const char *value, struct err *e)
{
	(void)value, (void)e;
	o->action = OPTIONS_HELP;
	return 0;
}

static int take_version(struct options *o, const char *value, struct err *e)
{
	(void)value, (void)e;
	o->action = OPTIONS_VERSION;
	return 0;
}

static const struct row {
	const char *name, *value, *help;
	take_fn *take;
} rows[] = {
	{"run-dir", "DIR", "where tt-agentd publishes its state (" OPTIONS_RUN_DIR ")", take_run_dir},
	{"listen", "PATH|HOST:PORT",
         "where the web server connects; without it a socket that was handed over\n"
         "(systemd, spawn-fcgi), else " OPTIONS_SOCKET,
         take_listen},
	{"mode", "OCTAL", "access mode of the socket (0660)", take_mode},
	{"group", "NAME", "group of the socket, usually the web server's", take_group},
	{"workers", "N", "worker processes (0 = one a core, the default)", take_workers},
	{"drain", "SECONDS", "how long answers may go on after SIGTERM or SIGHUP (300)", take_drain},
	{"log-level", "LEVEL", "DEBUG, INFO, WARNING, ERROR or CRITICAL (as the configuration says)", take_log_level},
	{"log-target", "TARGET", "stderr, syslog or journal (stderr)", take_log_target},
	{"help", NULL, "or -h: show this help", take_help},
	{"version", NULL, "or -V: show the version", take_version},
};
#define ROWS (sizeof rows / sizeof rows[0])

void options_help(void)
{
	const char *line, *next;

	printf("Usage: tt-agent-fcgi [OPTION...]\n"
	       "Answers the FastCGI requests of nginx or lighttpd.\n\n");
	for (size_t i = 0; i < ROWS; i++) {
		int n = printf("  --%s%s%s", rows[i].name, rows[i].value != NULL ? " " : "",
		               rows[i].value != NULL ? rows[i].value : "");

		printf("%*s", n < 26 ? 26 - n : 1, "");
		for (line = rows[i].help; (next = strchr(line, '\n')) != NULL; line = next + 1)
			printf("%.*s\n%26s", (int)(next - line), line, "");
		printf("%s\n", line);
	}
	printf("\nSIGTERM ends it when the running answers have ended; SIGHUP starts it anew in place\n"
	       "without refusing a connection.\n");
}

static unsigned cores(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > OPTIONS_WORKERS_MAX ? OPTIONS_WORKERS_MAX : (unsigned)n;
}

int responder_options_parse(struct options *o, int argc, char **argv, struct err *e)
{
	struct option longs[ROWS + 1] = {0};
	int at;

	*o = (struct options){.run_dir = OPTIONS_RUN_DIR,
	                      .mode = 0660,
	                      .workers = cores(),
	                      .drain_ms = DRAIN_DEFAULT_S * 1000,
	                      .log_level = LOG_INFO_};
	for (size_t i = 0; i < ROWS; i++)
		longs[i] = (struct option){rows[i].name, rows[i].value != NULL ? required_argument : no_argument, NULL,
		                           (int)i + 256};
	opterr = 0;
	while ((at = getopt_long(argc, argv, ":hV", longs, NULL)) != -1) {
		if (at == ':')
			return err_set(e, "%s needs a value (--help shows all options)", argv[optind - 1]);
		if (at == 'h' || at == 'V') {
			o->action = at == 'h' ? OPTIONS_HELP : OPTIONS_VERSION;
			continue;
		}
		if (at < 256)
			return err_set(e, "unknown option %s (--help shows all options)", argv[optind - 1]);
		if (rows[at - 256].take(o, optarg, e) < 0)
			return -1;
	}
	if (optind < argc)
		return err_set(e, "unexpected argument '%s' (--help shows all options)", argv[optind]);
	return 0;
}
