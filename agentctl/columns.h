/* SPDX-License-Identifier: Apache-2.0 */
/* Text in aligned columns, safe to show on a terminal: what comes from outside cannot
 * move the cursor or change its colours. */
#ifndef TT_AGENTCTL_COLUMNS_H
#define TT_AGENTCTL_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum colour { COLOUR_NONE, COLOUR_BOLD, COLOUR_GREEN, COLOUR_YELLOW, COLOUR_RED, COLOUR_DIM };

struct columns;

/* Headings end with NULL. NULL: no memory; the other functions then do nothing. */
struct columns *columns_new(const char *const *headings);
void columns_free(struct columns *t);

/* The next cell, row by row; text is copied, NULL is "-". Cells longer than limit code
 * points (0: none) end with "...". */
void columns_add(struct columns *t, enum colour colour, size_t limit, const char *text);
void columns_addf(struct columns *t, enum colour colour, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

void columns_print(const struct columns *t, FILE *out, bool coloured);

/* One piece of text, with control characters replaced. */
void columns_text(FILE *out, bool coloured, enum colour colour, const char *text);

#endif
