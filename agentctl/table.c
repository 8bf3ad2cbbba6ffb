/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/table.h"

#include "core/base/utf8.h"

#include <libsmartcols.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

struct table {
	const struct ctl *a;
	const struct table_column *columns;
	size_t count, next; /* columns; cells of the last line */
	struct libscols_table *table;
	struct libscols_line *line;
};

struct table *table_new(const struct ctl *a, const struct table_column *columns, size_t count)
{
	struct table *t = calloc(1, sizeof *t);

	if (t == NULL)
		return NULL;
	*t = (struct table){.a = a, .columns = columns, .count = count, .next = count, .table = scols_new_table()};
	if (t->table == NULL) {
		free(t);
		return NULL;
	}
	scols_table_set_stream(t->table, a->out);
	scols_table_set_termforce(t->table, a->terminal ? SCOLS_TERMFORCE_AUTO : SCOLS_TERMFORCE_NEVER);
	scols_table_enable_colors(t->table, a->colour);
	scols_table_set_column_separator(t->table, "  ");
	for (size_t i = 0; i < count; i++) {
		struct libscols_column *c = scols_table_new_column(t->table, columns[i].heading, 0,
		                                                   columns[i].wraps   ? SCOLS_FL_WRAP
		                                                   : columns[i].limit ? SCOLS_FL_TRUNC
		                                                                      : 0);

		if (c != NULL)
			scols_cell_set_color(scols_column_get_header(c), text_colour_sequence(COLOUR_BOLD));
	}
	return t;
}

void table_free(struct table *t)
{
	if (t == NULL)
		return;
	scols_unref_table(t->table);
	free(t);
}

/* Cuts text, in place, to limit columns of a terminal. */
static void shorten(char *text, size_t limit)
{
	char *cut = text, *p = text;
	size_t width = 0;
	mbstate_t state = {0};
	wchar_t wide;

	while (*p != '\0' && width <= limit) {
		size_t len = mbrtowc(&wide, p, strlen(p), &state);
		int columns = len < (size_t)-2 ? wcwidth(wide) : 1;

		width += columns > 0 ? (size_t)columns : 0;
		p += len < (size_t)-2 ? len : 1;
		if (width + 3 <= limit)
			cut = p;
	}
	if (width > limit)
		memcpy(cut, "...", 4); /* not longer than what it replaces */
}

void table_add(struct table *t, enum colour colour, const char *text)
{
	const struct table_column *column;
	struct libscols_cell *cell;
	char *copy;

	if (t == NULL)
		return;
	if (t->next == t->count) {
		t->line = scols_table_new_line(t->table, NULL);
		t->next = 0;
	}
	column = &t->columns[t->next];
	cell = t->line != NULL ? scols_line_get_cell(t->line, t->next) : NULL;
	t->next++;
	copy = strdup(text == NULL || *text == '\0' ? "-" : text);
	if (cell == NULL || copy == NULL) {
		free(copy);
		return;
	}
	utf8_disarm(copy);
	if (column->limit > 0 && !t->a->whole)
		shorten(copy, column->limit);
	scols_cell_refer_data(cell, copy); /* takes it */
	if (colour != COLOUR_NONE)
		scols_cell_set_color(cell, text_colour_sequence(colour));
}

void table_addf(struct table *t, enum colour colour, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	table_add(t, colour, text);
}

void table_print(struct table *t)
{
	if (t != NULL)
		scols_print_table(t->table);
}

void table_go_on(struct table *t)
{
	if (t == NULL)
		return;
	scols_table_remove_lines(t->table);
	scols_table_enable_noheadings(t->table, 1);
	t->line = NULL;
	t->next = t->count;
}
