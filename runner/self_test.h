/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the sandbox isolates on this machine: tried at start, by code that searches for
 * a way out. If it finds one, no code is ever run. */
#ifndef TT_RUNNER_SELF_TEST_H
#define TT_RUNNER_SELF_TEST_H

#include "runner/sandbox.h"

#include <stdio.h>

/* Prints a line for each thing that was tried to report, unless it is NULL. 0 with limits->proc set to what works here;
 * -1 with e: what does not hold. Waits for the tests' end (a second or two). */
int self_test(struct sandbox_limits *limits, struct groups *groups, FILE *report, struct err *e);

#endif
