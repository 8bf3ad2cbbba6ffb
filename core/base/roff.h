/* SPDX-License-Identifier: Apache-2.0 */
/* Text in manual pages. */
#ifndef TT_BASE_ROFF_H
#define TT_BASE_ROFF_H

#include <stdio.h>

/* Prints text at the beginning of a line, escaped so that roff shows it unchanged. */
void roff_text(FILE *out, const char *text);

#endif
