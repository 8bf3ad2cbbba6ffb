/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agentctl: asks tt-agentd and shows its answer. */
#include "agentctl/admin.h"
#include "agentctl/documents.h"
#include "core/base/process.h"

#include "config.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct option options[] = {
	{"run-dir", required_argument, NULL, 'r'}, {"json", no_argument, NULL, 'j'},
	{"timeout", required_argument, NULL, 't'}, {"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},       {NULL, 0, NULL, 0},
};

static int64_t parse_timeout(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	return *end == '\0' && end != text && seconds > 0 && seconds <= 3600 ? (int64_t)(seconds * 1000) + 1 : -1;
}

/* Whether people look at it who like colours. */
static bool wants_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && (no == NULL || *no == '\0') && term != NULL && strcmp(term, "dumb") != 0;
}

/* -1: go on; else the exit status. */
static int parse_options(struct admin *a, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "r:jt:hV", options, NULL)) != -1) {
		switch (c) {
		case 'r':
			a->run_dir = optarg;
			break;
		case 'j':
			a->output = &admin_json;
			break;
		case 't':
			a->deadline_ms = parse_timeout(optarg);
			if (a->deadline_ms < 0) {
				fprintf(stderr, "tt-agentctl: --timeout %s: allowed: seconds up to 3600\n", optarg);
				return ADMIN_USAGE;
			}
			break;
		case 'h':
			admin_print_help(stdout);
			return ADMIN_OK;
		case 'V':
			printf("tt-agentctl %s\n", PACKAGE_VERSION);
			return ADMIN_OK;
		default:
			fprintf(stderr, "tt-agentctl --help lists options and commands\n");
			return ADMIN_USAGE;
		}
	}
	return -1;
}

int main(int argc, char **argv)
{
	const char *run_dir = getenv("TT_AGENT_RUN_DIR");
	struct admin a = {
		.run_dir = run_dir != NULL && *run_dir != '\0' ? run_dir : ADMIN_RUN_DIR,
		.output = &admin_text,
		.out = stdout,
		.err = stderr,
	};
	int status;

	process_no_core_dumps();
	signal(SIGPIPE, SIG_IGN); /* a daemon that hangs up is an error message, not a death */
	a.colour = wants_colour();
	status = parse_options(&a, argc, argv);
	if (status >= 0)
		return status;
	status = (int)admin_run(&a, argv + optind, (size_t)(argc - optind));
	if (fflush(stdout) != 0 && status == ADMIN_OK)
		status = ADMIN_REFUSED;
	return status;
}
