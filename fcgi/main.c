/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agent-fcgi: answers the requests that nginx or lighttpd pass on by FastCGI. */
#include "core/base/privacy.h"
#include "fcgi/options.h"
#include "fcgi/parent.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

/* Descriptors are what streams are made of: take as many as we may. */
static void raise_descriptor_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

static unsigned cores(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > OPTIONS_WORKERS_MAX ? OPTIONS_WORKERS_MAX : (unsigned)n;
}

int main(int argc, char **argv)
{
	struct fcgi_options o = {0};
	int status;

	privacy_no_core_dumps();
	signal(SIGPIPE, SIG_IGN); /* the reader of the log may close it */
	status = options_main(&fcgi_program, &o, argc, argv);
	if (status >= 0)
		return status;
	if (o.workers == 0)
		o.workers = cores();
	log_open("tt-agent-fcgi", o.log_target, o.log_level);
	raise_descriptor_limit();
	return parent_run(&o, argv);
}
