/* SPDX-License-Identifier: Apache-2.0 */
/* The only user of libedit. */
#include "agentctl/chat/line_editor.h"

#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define HISTORY 1000

struct line_editor {
	EditLine *edit;
	History *history;
	char prompt[64];
	char *line;
};

static char *prompt_of(EditLine *edit)
{
	struct line_editor *e = NULL;

	el_get(edit, EL_CLIENTDATA, &e);
	return e->prompt;
}

/* Ctrl-C: the terminal sends it as a character. */
static unsigned char interrupt(EditLine *edit, wint_t key)
{
	const LineInfo *line = el_line(edit);
	int length = (int)(line->lastchar - line->buffer);

	(void)key;
	if (length == 0)
		return CC_EOF;
	el_cursor(edit, (int)(line->lastchar - line->cursor));
	el_deletestr(edit, length);
	return CC_REFRESH;
}

struct line_editor *line_editor_new(FILE *in, FILE *out)
{
	struct line_editor *e = calloc(1, sizeof *e);
	HistEvent event;

	if (e == NULL)
		return NULL;
	e->edit = el_init("tt-agentctl", in, out, stderr);
	e->history = history_init();
	if (e->edit == NULL || e->history == NULL) {
		line_editor_free(e);
		return NULL;
	}
	history(e->history, &event, H_SETSIZE, HISTORY);
	history(e->history, &event, H_SETUNIQUE, 1);
	el_set(e->edit, EL_CLIENTDATA, e);
	el_set(e->edit, EL_PROMPT, prompt_of);
	el_set(e->edit, EL_HIST, history, e->history);
	el_set(e->edit, EL_EDITOR, "emacs");
	el_set(e->edit, EL_SETTY, "-d", "-isig", NULL);
	/* el_set would lose copies of the two texts. */
	el_wset(e->edit, EL_ADDFN, L"tt-interrupt", L"Empties the line, or leaves", interrupt);
	el_set(e->edit, EL_BIND, "^C", "tt-interrupt", NULL);
	el_set(e->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
	el_source(e->edit, NULL); /* ~/.editrc */
	return e;
}

void line_editor_free(struct line_editor *e)
{
	if (e == NULL)
		return;
	if (e->history != NULL)
		history_end(e->history);
	if (e->edit != NULL)
		el_end(e->edit);
	free(e->line);
	free(e);
}

const char *line_editor_read(struct line_editor *e, const char *prompt)
{
	const char *line;
	int count = 0;

	snprintf(e->prompt, sizeof e->prompt, "%s", prompt);
	line = el_gets(e->edit, &count);
	free(e->line);
	e->line = line != NULL && count > 0 ? strndup(line, strcspn(line, "\r\n")) : NULL;
	return e->line;
}

void line_editor_remember(struct line_editor *e, const char *line)
{
	HistEvent event;

	history(e->history, &event, H_ENTER, line);
}
