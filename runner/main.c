/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agent-runner: runs the code of chat turns in local sandboxes. A process of its own,
 * because the responder's hardening forbids the namespaces that sandboxes are made of. */
#include "config.h"

#include "core/base/log.h"
#include "core/base/process.h"
#include "core/base/systemd.h"
#include "runner/self_test.h"
#include "runner/service.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/tt-agent-runner/runner.sock"

struct options {
	const char *socket, *user;
	struct sandbox_limits limits;
	size_t most;
	bool only_test;
	bool socket_is_ours;
};

static const char usage[] =
	"usage: tt-agent-runner [options]\n"
	"  --socket PATH     where it listens (default " DEFAULT_SOCKET
	";\n"
	"                    a socket handed over by systemd goes first)\n"
	"  --user NAME       whom it becomes when it is started as root (default nobody)\n"
	"  --timeout S       longest run (default 60)\n"
	"  --cpu S           CPU time of one run (default 10)\n"
	"  --memory MIB      address space of one process (default 1024)\n"
	"  --files MIB       size of /tmp and of the largest file (default 32)\n"
	"  --processes N     processes of one run (default 64)\n"
	"  --output KIB      what one run may print (default 256)\n"
	"  --sandboxes N     runs at once (default 8)\n"
	"  --test            test the sandbox and exit: 0 = it isolates\n"
	"  --version, --help\n";

enum {
	OPT_SOCKET = 256,
	OPT_USER,
	OPT_TIMEOUT,
	OPT_CPU,
	OPT_MEMORY,
	OPT_FILES,
	OPT_PROCESSES,
	OPT_OUTPUT,
	OPT_SANDBOXES
};

static int number(const char *name, const char *text, int64_t scale, int64_t *out)
{
	char *end;
	long long n = strtoll(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n < 1 || n > 1000000) {
		fprintf(stderr, "tt-agent-runner: --%s takes a whole number from 1 to 1000000, not '%s'\n", name, text);
		return -1;
	}
	*out = n * scale;
	return 0;
}

/* 0 go on, 1 all is done (--help), -1 usage */
static int parse(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{"socket", required_argument, NULL, OPT_SOCKET},
		{"timeout", required_argument, NULL, OPT_TIMEOUT},
		{"cpu", required_argument, NULL, OPT_CPU},
		{"memory", required_argument, NULL, OPT_MEMORY},
		{"files", required_argument, NULL, OPT_FILES},
		{"processes", required_argument, NULL, OPT_PROCESSES},
		{"output", required_argument, NULL, OPT_OUTPUT},
		{"sandboxes", required_argument, NULL, OPT_SANDBOXES},
		{"user", required_argument, NULL, OPT_USER},
		{"test", no_argument, NULL, 't'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int64_t most = (int64_t)o->most;
	const struct {
		const char *name;
		int64_t scale, *out;
	} numbers[] = {
		{"timeout", 1000, &o->limits.timeout_ms},
		{"cpu", 1, &o->limits.cpu_s},
		{"memory", 1 << 20, &o->limits.memory_bytes},
		{"files", 1 << 20, &o->limits.file_bytes},
		{"processes", 1, &o->limits.processes},
		{"output", 1 << 10, &o->limits.output_bytes},
		{"sandboxes", 1, &most},
	};
	int c;

	while ((c = getopt_long(argc, argv, "hV", longs, NULL)) != -1) {
		if (c >= OPT_TIMEOUT && c <= OPT_SANDBOXES) {
			size_t i = (size_t)(c - OPT_TIMEOUT);

			if (number(numbers[i].name, optarg, numbers[i].scale, numbers[i].out) < 0)
				return -1;
		} else if (c == OPT_SOCKET) {
			o->socket = optarg;
		} else if (c == OPT_USER) {
			o->user = optarg;
		} else if (c == 't') {
			o->only_test = true;
		} else if (c == 'h' || c == 'V') {
			fputs(c == 'h' ? usage : "tt-agent-runner " PACKAGE_VERSION "\n", stdout);
			return 1;
		} else {
			return -1;
		}
	}
	o->most = (size_t)most;
	if (optind < argc) {
		fprintf(stderr, "tt-agent-runner: %s: not understood\n", argv[optind]);
		return -1;
	}
	return 0;
}

static void on_signal(evutil_socket_t signal_number, short what, void *arg)
{
	(void)signal_number;
	(void)what;
	event_base_loopbreak(arg);
}

/* The kernel exempts root from the limit of processes: code must not run under it. */
static int drop_root(const char *user, struct err *e)
{
	const struct passwd *who;

	if (geteuid() != 0)
		return 0;
	who = getpwnam(user);
	if (who == NULL)
		return err_set(e, "--user %s: there is no such user", user);
	if (setgroups(0, NULL) < 0 || setgid(who->pw_gid) < 0 || setuid(who->pw_uid) < 0)
		return err_set_errno(e, errno, "can't become user %s", user);
	return 0;
}

static int serve(const struct options *o, int listen_fd, struct err *e)
{
	struct event_base *base = event_base_new();
	struct event *term = base == NULL ? NULL : evsignal_new(base, SIGTERM, on_signal, base);
	struct event *interrupt = base == NULL ? NULL : evsignal_new(base, SIGINT, on_signal, base);
	struct service *service = NULL;

	if (term == NULL || interrupt == NULL)
		err_set(e, "no memory");
	else
		service = service_new(base, o->socket_is_ours ? o->socket : NULL, listen_fd, &o->limits, o->most, e);
	if (service != NULL) {
		evsignal_add(term, NULL);
		evsignal_add(interrupt, NULL);
		log_info("ready", L_STR("socket", o->socket), L_INT("sandboxes", o->most));
		systemd_notify_ready();
		event_base_dispatch(base);
		systemd_notify_stopping();
		log_info("stopped", L_STR("why", "signal"));
		service_free(service);
	}
	if (term != NULL)
		event_free(term);
	if (interrupt != NULL)
		event_free(interrupt);
	if (base != NULL)
		event_base_free(base);
	return err_is_set(e) ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct options o = {
		.socket = DEFAULT_SOCKET,
		.user = "nobody",
		.limits = {.timeout_ms = 60000,
	                   .cpu_s = 10,
	                   .memory_bytes = INT64_C(1) << 30,
	                   .file_bytes = 32 << 20,
	                   .processes = 64,
	                   .output_bytes = 256 << 10},
		.most = 8,
	};
	struct err e = ERR_INIT;
	int parsed, listen_fd = -1;

	process_no_core_dumps();
	parsed = parse(&o, argc, argv);
	if (parsed != 0) {
		if (parsed < 0)
			fputs("tt-agent-runner --help lists the options\n", stderr);
		return parsed < 0 ? 2 : 0;
	}
	log_open("tt-agent-runner", LOG_TO_STDERR, LOG_INFO_);
	signal(SIGPIPE, SIG_IGN);
	if (!o.only_test) {
		o.socket_is_ours = systemd_socket(&listen_fd, &e) == 1;
		if (o.socket_is_ours)
			listen_fd = service_bind(o.socket, &e);
	}
	if (err_is_set(&e) || drop_root(o.user, &e) < 0 || self_test(&o.limits, &e) < 0 ||
	    (!o.only_test && serve(&o, listen_fd, &e) < 0)) {
		log_critical("no_sandbox", L_STR("error", e.text));
		return 1;
	}
	if (o.only_test)
		puts("the sandbox isolates");
	return 0;
}
