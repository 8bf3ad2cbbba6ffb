/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of tt-agent-runner. */
#ifndef TT_RUNNER_OPTIONS_H
#define TT_RUNNER_OPTIONS_H

#include "core/base/log.h"
#include "core/base/options.h"
#include "runner/sandbox.h"

struct runner_options {
	const char *socket, *owner, *user;
	struct sandbox_limits limits;
	unsigned sandboxes; /* at once */
	bool only_test;
	const char *mcp; /* file of MCP servers to start, in place of sandboxes; NULL: none */
	int64_t reply_bytes;
	enum log_format log_format;
};

extern const struct program runner_program;

#endif
