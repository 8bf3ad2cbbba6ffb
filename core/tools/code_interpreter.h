/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TT_TOOLS_CODE_INTERPRETER_H
#define TT_TOOLS_CODE_INTERPRETER_H

#include "core/config/config.h"

/* The tool code_interpreter: Python in a sandbox, E2B's where a key is configured, else the
 * local one. Code never runs outside a sandbox. */

/* Where the tt-agent-runner listens that runs code under c; NULL: none does, because
 * code.local is off or E2B runs it. */
const char *code_interpreter_runner_socket(const struct config *c);

#endif
