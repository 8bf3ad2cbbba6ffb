/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agentd's command line. */
#ifndef TT_AGENTD_OPTIONS_H
#define TT_AGENTD_OPTIONS_H

#include "core/base/options.h"

#define OPTIONS_DEFAULT_FILE "/etc/tt-agent/tt-agent.conf"

struct agentd_options {
	const char *file; /* NULL: no configuration file */
	const char *run_dir;
	struct option_list sets; /* KEY=VALUE */
	bool only_test, as_service, only_print_config;
};

extern const struct program agentd_program;

#endif
