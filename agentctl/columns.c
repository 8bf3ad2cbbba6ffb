/* SPDX-License-Identifier: Apache-2.0 */
#include "agentctl/columns.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS_MAX 16
#define GAP         2

struct cell {
	char *text;
	size_t width; /* code points */
	enum colour colour;
};

struct columns {
	size_t count; /* columns */
	size_t widths[COLUMNS_MAX];
	struct cell *cells; /* headings first, row by row */
	size_t used, room;
};

static const char *const codes[] = {
	[COLOUR_NONE] = "",           [COLOUR_BOLD] = "\033[1m", [COLOUR_GREEN] = "\033[32m",
	[COLOUR_YELLOW] = "\033[33m", [COLOUR_RED] = "\033[31m", [COLOUR_DIM] = "\033[2m",
};

static bool is_continuation(char c)
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text != '\0'; text++)
		width += !is_continuation(*text);
	return width;
}

/* C0, DEL and, as UTF-8, C1: what a terminal would act on. */
static void disarm(char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text, next = (unsigned char)text[1];

		if (c < ' ' || c == 0x7f)
			*text = '?';
		else if (c == 0xc2 && next >= 0x80 && next < 0xa0)
			text[0] = text[1] = '?';
	}
}

static void shorten(char *text, size_t limit)
{
	size_t width = 0;
	char *p = text;

	if (limit < 4 || width_of(text) <= limit)
		return;
	for (; *p != '\0'; p++) {
		if (is_continuation(*p))
			continue;
		if (width++ == limit - 3)
			break;
	}
	memcpy(p, "...", 4); /* three code points or more stand here */
}

struct columns *columns_new(const char *const *headings)
{
	struct columns *t = calloc(1, sizeof *t);

	if (t == NULL)
		return NULL;
	while (headings[t->count] != NULL && t->count < COLUMNS_MAX)
		t->count++;
	for (size_t i = 0; i < t->count; i++)
		columns_add(t, COLOUR_BOLD, 0, headings[i]);
	return t;
}

void columns_free(struct columns *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->used; i++)
		free(t->cells[i].text);
	free(t->cells);
	free(t);
}

void columns_add(struct columns *t, enum colour colour, size_t limit, const char *text)
{
	size_t column;
	struct cell *c;

	if (t == NULL)
		return;
	if (t->used == t->room) {
		size_t room = t->room == 0 ? 64 : t->room * 2;
		struct cell *cells = realloc(t->cells, room * sizeof *cells);

		if (cells == NULL)
			return;
		t->cells = cells;
		t->room = room;
	}
	column = t->used % t->count;
	c = &t->cells[t->used];
	*c = (struct cell){.text = strdup(text == NULL || *text == '\0' ? "-" : text), .colour = colour};
	if (c->text == NULL)
		return;
	disarm(c->text);
	shorten(c->text, limit);
	c->width = width_of(c->text);
	if (c->width > t->widths[column])
		t->widths[column] = c->width;
	t->used++;
}

void columns_addf(struct columns *t, enum colour colour, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	columns_add(t, colour, 0, text);
}

static void put(FILE *out, bool coloured, enum colour colour, const char *text)
{
	if (coloured && colour != COLOUR_NONE)
		fprintf(out, "%s%s\033[0m", codes[colour], text);
	else
		fputs(text, out);
}

void columns_print(const struct columns *t, FILE *out, bool coloured)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->used; i++) {
		const struct cell *c = &t->cells[i];
		bool last = i % t->count == t->count - 1 || i + 1 == t->used;

		put(out, coloured, c->colour, c->text);
		if (last)
			fputc('\n', out);
		else
			fprintf(out, "%*s", (int)(t->widths[i % t->count] - c->width + GAP), "");
	}
}

void columns_text(FILE *out, bool coloured, enum colour colour, const char *text)
{
	char *copy = strdup(text);

	if (copy == NULL)
		return;
	disarm(copy);
	put(out, coloured, colour, copy);
	free(copy);
}
