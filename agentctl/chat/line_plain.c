/* SPDX-License-Identifier: Apache-2.0 */
/* Without libedit. */
#include "agentctl/chat/line_editor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct line_editor {
	FILE *in, *out;
	char *line;
	size_t size;
};

struct line_editor *line_editor_new(FILE *in, FILE *out)
{
	struct line_editor *e = calloc(1, sizeof *e);

	if (e != NULL)
		*e = (struct line_editor){.in = in, .out = out};
	return e;
}

void line_editor_free(struct line_editor *e)
{
	if (e == NULL)
		return;
	free(e->line);
	free(e);
}

/* The terminal drops the line itself when Ctrl-C comes, and says nothing of it: the signal ends the reading. */
const char *line_editor_read(struct line_editor *e, const char *prompt)
{
	ssize_t len;

	fputs(prompt, e->out);
	fflush(e->out);
	len = getline(&e->line, &e->size, e->in);
	if (len < 0)
		return NULL;
	e->line[strcspn(e->line, "\r\n")] = '\0';
	return e->line;
}

void line_editor_remember(struct line_editor *e, const char *line)
{
	(void)e, (void)line;
}
