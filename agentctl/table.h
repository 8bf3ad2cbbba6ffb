/* SPDX-License-Identifier: Apache-2.0 */
/* A table for people, by libsmartcols, with cells that are safe to show on a terminal. */
#ifndef TT_AGENTCTL_TABLE_H
#define TT_AGENTCTL_TABLE_H

#include "agentctl/text.h"

struct table_column {
	const char *heading;
	size_t limit; /* wider cells are cut and end with "..."; 0: none, 4 or more */
	bool wraps;   /* on a terminal that is too narrow, instead of being cut */
};

struct table;

/* For a->out; without limits where a->whole is set. NULL: no memory; the other functions
 * then do nothing. */
struct table *table_new(const struct ctl *a, const struct table_column *columns, size_t count);
void table_free(struct table *t);

/* The next cell, row by row; text is copied, NULL or "" is "-". */
void table_add(struct table *t, enum colour colour, const char *text);
void table_addf(struct table *t, enum colour colour, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

void table_print(struct table *t);

/* After table_print: its rows are gone, and those that follow are printed without the headings. */
void table_go_on(struct table *t);

#endif
