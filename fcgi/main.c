/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agent-fcgi: answers the requests that nginx or lighttpd pass on by FastCGI. */
#include "core/base/process.h"
#include "fcgi/options.h"
#include "fcgi/parent.h"

#include "config.h"

#include <signal.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct options o;
	struct err e = ERR_INIT;

	process_no_core_dumps();
	signal(SIGPIPE, SIG_IGN); /* the reader of the log may close it */
	if (responder_options_parse(&o, argc, argv, &e) < 0) {
		fprintf(stderr, "tt-agent-fcgi: %s\n", e.text);
		return 2;
	}
	if (o.action == OPTIONS_HELP) {
		options_help();
		return 0;
	}
	if (o.action == OPTIONS_VERSION) {
		printf("tt-agent-fcgi %s\n", PACKAGE_VERSION);
		return 0;
	}
	log_open("tt-agent-fcgi", o.log_target, o.log_level);
	process_raise_descriptor_limit(); /* each stream needs two */
	return parent_run(&o, argv);
}
