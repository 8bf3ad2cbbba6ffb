/* SPDX-License-Identifier: Apache-2.0 */
/* Lines that a person types at a terminal: with history and editing where libedit was there at compile time
 * (line_editor.c), else as the terminal has them (line_plain.c). */
#ifndef TT_AGENTCTL_CHAT_LINE_EDITOR_H
#define TT_AGENTCTL_CHAT_LINE_EDITOR_H

#include <stdbool.h>
#include <stdio.h>

struct line_editor;

struct line_editor *line_editor_new(FILE *in, FILE *out); /* NULL: out of memory */
void line_editor_free(struct line_editor *e);

/* The next line without its end, until the next call; NULL: Ctrl-D, or Ctrl-C on an empty line. Ctrl-C on another one
 * empties it. */
const char *line_editor_read(struct line_editor *e, const char *prompt);

/* What the arrow keys bring back. It is never written to a file. */
void line_editor_remember(struct line_editor *e, const char *line);

#endif
