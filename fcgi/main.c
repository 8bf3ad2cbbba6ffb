/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agent-fcgi: answers the requests that nginx or lighttpd pass on by FastCGI. */
#include "core/base/process.h"
#include "fcgi/options.h"
#include "fcgi/parent.h"

#include <signal.h>
#include <unistd.h>

static unsigned cores(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > OPTIONS_WORKERS_MAX ? OPTIONS_WORKERS_MAX : (unsigned)n;
}

int main(int argc, char **argv)
{
	struct fcgi_options o = {0};
	int status;

	process_no_core_dumps();
	signal(SIGPIPE, SIG_IGN); /* the reader of the log may close it */
	status = options_main(&fcgi_program, &o, argc, argv);
	if (status >= 0)
		return status;
	if (o.workers == 0)
		o.workers = cores();
	log_open("tt-agent-fcgi", o.log_target, o.log_level);
	log_set_format(o.log_format);
	process_raise_descriptor_limit(); /* each stream needs two */
	return parent_run(&o, argv);
}
