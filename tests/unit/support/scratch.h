/* SPDX-License-Identifier: Apache-2.0 */
/* A directory for each test, or for all of a file: its setup and teardown. Its path is in scratch, and the state. */
#ifndef TT_TESTS_UNIT_SCRATCH_H
#define TT_TESTS_UNIT_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>

static char scratch[32];

static inline int scratch_make(void **state)
{
	snprintf(scratch, sizeof scratch, "/tmp/tt-unit-XXXXXX");
	*state = mkdtemp(scratch);
	return *state == NULL ? -1 : 0;
}

static inline int scratch_remove(void **state)
{
	char command[64];

	snprintf(command, sizeof command, "rm -rf %s", (char *)*state);
	return system(command) == 0 ? 0 : -1;
}

#endif
