/* SPDX-License-Identifier: Apache-2.0 */
/* The documents of `threads list`, `stat` and `show` as text. */
#ifndef TT_AGENTCTL_THREADS_TEXT_H
#define TT_AGENTCTL_THREADS_TEXT_H

#include "agentctl/ctl.h"

void threads_text_list(const struct ctl *a, const json_t *document);
void threads_text_stat(const struct ctl *a, const json_t *document);
void threads_text_show(const struct ctl *a, const json_t *document);

#endif
