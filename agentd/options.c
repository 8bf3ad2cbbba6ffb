/* SPDX-License-Identifier: Apache-2.0 */
#include "agentd/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTION_RUN_DIR = 256, OPTION_SET, OPTION_PRINT_CONFIG };

static const struct {
	struct option option;
	const char *argument, *help;
} table[] = {
	{{"config", required_argument, NULL, 'c'},
         "FILE",
         "configuration file (default " OPTIONS_DEFAULT_FILE " where it exists)"},
	{{"run-dir", required_argument, NULL, OPTION_RUN_DIR},
         "DIR",
         "status file, sockets and published configuration (default " OPTIONS_DEFAULT_RUN_DIR ")"},
	{{"set", required_argument, NULL, OPTION_SET},
         "KEY=VALUE",
         "one setting, before file and environment, but no secret; may be repeated"},
	{{"test", no_argument, NULL, 't'}, NULL, "test the configuration, say what is wrong with it, and exit 0 or 1"},
	{{"print-config", no_argument, NULL, OPTION_PRINT_CONFIG},
         NULL,
         "print the effective configuration with the origin of each value (no secrets)"},
	{{"version", no_argument, NULL, 'V'}, NULL, "print the version"},
	{{"help", no_argument, NULL, 'h'}, NULL, "print this text"},
};
#define OPTION_COUNT (sizeof table / sizeof table[0])

void options_print_help(void)
{
	printf("Usage: tt-agentd [option...]\n\n"
	       "Finds LLMs, watches them, and publishes which one to use.\n\n");
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		char left[64];
		int val = table[i].option.val;

		snprintf(left, sizeof left, "%c%c%s --%s%s%s", val < 256 ? '-' : ' ', val < 256 ? val : ' ',
		         val < 256 ? "," : " ", table[i].option.name, table[i].argument != NULL ? " " : "",
		         table[i].argument != NULL ? table[i].argument : "");
		printf("  %-24s  %s\n", left, table[i].help);
	}
	printf("\nSIGHUP reads the configuration again, SIGTERM ends it.\n");
}

static int apply(struct options *o, int option, const char *value, struct err *e)
{
	switch (option) {
	case 'c':
		o->file = value;
		return 0;
	case OPTION_RUN_DIR:
		o->run_dir = value;
		return 0;
	case OPTION_SET:
		if (strchr(value, '=') == NULL || value[0] == '=')
			return err_set(e, "--set takes KEY=VALUE, for example --set polling.interval=30");
		o->sets[o->set_count++] = value;
		return 0;
	case 't':
		o->action = OPTIONS_TEST;
		return 0;
	case OPTION_PRINT_CONFIG:
		o->action = OPTIONS_PRINT_CONFIG;
		return 0;
	case 'V':
		o->action = OPTIONS_VERSION;
		return 0;
	case 'h':
		o->action = OPTIONS_HELP;
		return 0;
	default:
		return err_set(e, "unknown option or missing argument; tt-agentd --help lists the options");
	}
}

int options_parse(struct options *o, int argc, char **argv, struct err *e)
{
	struct option longs[OPTION_COUNT + 1] = {{.name = NULL}};
	int option;

	for (size_t i = 0; i < OPTION_COUNT; i++)
		longs[i] = table[i].option;
	memset(o, 0, sizeof *o);
	o->run_dir = OPTIONS_DEFAULT_RUN_DIR;
	o->sets = calloc((size_t)argc + 1, sizeof *o->sets);
	if (o->sets == NULL)
		return err_set(e, "out of memory");
	optind = 1;
	while ((option = getopt_long(argc, argv, "c:thV", longs, NULL)) != -1)
		if (apply(o, option, optarg, e) != 0)
			return -1;
	if (optind < argc)
		return err_set(e, "%s: not understood; tt-agentd --help lists the options", argv[optind]);
	if (o->file == NULL && access(OPTIONS_DEFAULT_FILE, F_OK) == 0)
		o->file = OPTIONS_DEFAULT_FILE;
	return 0;
}

void options_free(struct options *o)
{
	free(o->sets);
	memset(o, 0, sizeof *o);
}
