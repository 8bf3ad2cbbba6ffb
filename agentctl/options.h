/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of tt-agentctl. */
#ifndef TT_AGENTCTL_OPTIONS_H
#define TT_AGENTCTL_OPTIONS_H

#include "core/base/options.h"

struct ctl_options {
	const char *run_dir; /* NULL: as the environment says */
	int64_t timeout_ms;  /* 0: the command's own */
	bool json;
	const char *since; /* of events, usage; NULL: not given */
	bool follow;
	bool batch; /* of top */
	unsigned count;
	int64_t delay_ms;
	const char *token_env, *model, *proxy, *ca; /* of probe; NULL: not given */
	const char *by;                             /* of usage; NULL: not given */
	bool all_hosts;                             /* likewise */
	const char *thread;                         /* of chat; NULL: not given */
	const char *url;                            /* of chat and doctor; NULL: not given */
	bool changed;                               /* of config */
	bool try_services;
};

extern const struct program agentctl_program;

#endif
