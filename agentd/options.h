/* SPDX-License-Identifier: Apache-2.0 */
/* tt-agentd's command line. */
#ifndef TT_AGENTD_OPTIONS_H
#define TT_AGENTD_OPTIONS_H

#include "core/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum options_action { OPTIONS_RUN, OPTIONS_TEST, OPTIONS_PRINT_CONFIG, OPTIONS_HELP, OPTIONS_VERSION };

struct options {
	enum options_action action;
	const char *file; /* NULL: no configuration file */
	const char *run_dir;
	const char **sets; /* borrowed strings, owned array */
	size_t set_count;
};

#define OPTIONS_DEFAULT_FILE    "/etc/tt-agent/tt-agent.conf"
#define OPTIONS_DEFAULT_RUN_DIR "/run/tt-agent"

/* Strings are borrowed from argv. */
int options_parse(struct options *o, int argc, char **argv, struct err *e);
void options_free(struct options *o);

void options_print_help(void);

#endif
