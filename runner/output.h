/* SPDX-License-Identifier: Apache-2.0 */
/* What code prints, as text: bytes in any pieces become whole characters. What is no
 * UTF-8, and NUL, is told as '?'. Pure. */
#ifndef TT_RUNNER_OUTPUT_H
#define TT_RUNNER_OUTPUT_H

#include <stddef.h>

struct output {
	char rest[3]; /* the beginning of a character whose end has not come */
	size_t len;
};

/* The text of the next bytes (none: the end, what is left comes); free(). "" where there
 * is none yet; NULL: no memory, these bytes are lost. */
char *output_text(struct output *o, const char *bytes, size_t len);

#endif
