/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agentctl: sends a command to tt-agentd and shows its answer. */
#include "agentctl/ctl.h"
#include "agentctl/options.h"
#include "core/base/process.h"

#include <getopt.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DELAY_MIN_MS 100

/* NO_COLOR: see no-color.org. */
static bool wants_colour(void)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && (no == NULL || *no == '\0') && term != NULL && strcmp(term, "dumb") != 0;
}

/* All text is UTF-8, whatever the locale is: also over ssh with LANG=C. Returns whether it is the locale's. */
static bool use_utf8(void)
{
	if (setlocale(LC_CTYPE, "") != NULL && strcmp(nl_langinfo(CODESET), "UTF-8") == 0)
		return true;
	setlocale(LC_CTYPE, "C.UTF-8");
	return false;
}

int main(int argc, char **argv)
{
	const char *run_dir = getenv("TT_AGENT_RUN_DIR");
	struct ctl_options o = {0};
	struct ctl a = {.out = stdout, .err = stderr, .terminal = isatty(STDOUT_FILENO) != 0, .colour = wants_colour()};
	int status;

	process_no_core_dumps();
	signal(SIGPIPE, SIG_IGN); /* a daemon that closes the connection must not kill this program */
	a.utf8 = use_utf8();
	status = options_main(&agentctl_program, &o, argc, argv);
	if (status >= 0)
		return status;
	a.run_dir = o.run_dir != NULL ? o.run_dir : run_dir != NULL && *run_dir != '\0' ? run_dir : OPTIONS_RUN_DIR;
	a.output = o.json ? &ctl_json : &ctl_text;
	a.deadline_ms = o.timeout_ms;
	a.token_env = o.token_env;
	a.model = o.model;
	a.proxy = o.proxy;
	a.ca = o.ca;
	a.by = o.by;
	a.all_hosts = o.all_hosts;
	a.changed = o.changed;
	a.url = o.url;
	a.thread = o.thread;
	a.try_services = o.try_services;
	a.since = o.since;
	a.follow = o.follow;
	a.batch = o.batch;
	a.count = o.count;
	a.delay_ms = o.delay_ms > DELAY_MIN_MS ? o.delay_ms : DELAY_MIN_MS;
	status = (int)ctl_run(&a, argv + optind, (size_t)(argc - optind));
	if (fflush(stdout) != 0 && status == CTL_OK)
		status = CTL_REFUSED;
	return status;
}
