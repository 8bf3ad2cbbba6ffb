/* SPDX-License-Identifier: Apache-2.0 */
/* What `threads list`, `stat` and `show` say as text. */
#ifndef TT_AGENTCTL_THREADS_TEXT_H
#define TT_AGENTCTL_THREADS_TEXT_H

#include "agentctl/ctl.h"

/* A list: its table, and a row of it. */
struct table;
struct table *threads_text_table(const struct ctl *a);
void threads_text_row(struct table *t, const json_t *thread);

void threads_text_stat(const struct ctl *a, const json_t *document);
void threads_text_show(const struct ctl *a, const json_t *document);

#endif
