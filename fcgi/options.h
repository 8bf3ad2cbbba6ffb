/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of tt-agent-fcgi. */
#ifndef TT_FCGI_OPTIONS_H
#define TT_FCGI_OPTIONS_H

#include "core/base/err.h"
#include "core/base/log.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define OPTIONS_RUN_DIR     "/run/tt-agent"
#define OPTIONS_SOCKET      "/run/tt-agent-fcgi/fcgi.sock"
#define OPTIONS_WORKERS_MAX 256

struct options {
	const char *run_dir;
	const char *listen; /* path or HOST:PORT; NULL: inherited, else OPTIONS_SOCKET */
	mode_t mode;        /* of the socket */
	const char *group;  /* that owns the socket; NULL: as it comes */
	unsigned workers;
	int64_t drain_ms;
	enum log_level log_level;
	bool log_level_given; /* else the published configuration says */
	enum log_target log_target;
	enum { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION } action;
};

/* Strings point into argv. -1 with a message for the user. */
int responder_options_parse(struct options *o, int argc, char **argv, struct err *e);
void options_help(void); /* to stdout */

#endif
