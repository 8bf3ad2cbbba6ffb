/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of tt-agent-fcgi. */
#ifndef TT_FCGI_OPTIONS_H
#define TT_FCGI_OPTIONS_H

#include "core/base/log.h"
#include "core/base/options.h"
#include "core/config/config.h"

#include <sys/types.h>

#define OPTIONS_SOCKET      "/run/tt-agent-fcgi/fcgi.sock"
#define OPTIONS_WORKERS_MAX 256

struct fcgi_options {
	const char *run_dir;
	const char *listen; /* path or HOST:PORT; NULL: inherited, else OPTIONS_SOCKET */
	mode_t mode;        /* of the socket */
	const char *group;  /* that owns the socket; NULL: unchanged */
	unsigned workers;   /* 0: one per core */
	int64_t drain_ms;
	bool no_keeper;
	enum log_level log_level;
	bool log_level_given; /* else the published configuration says */
	enum log_format log_format;
	bool log_format_given; /* likewise */
	enum log_target log_target;
};

/* Sets level and format of the log: as given, else as configured. */
void options_apply_log(const struct fcgi_options *o, const struct config *c);

extern const struct program fcgi_program;

#endif
