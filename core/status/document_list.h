/* SPDX-License-Identifier: Apache-2.0 */
/* The long lists of documents, written as text at once: with thousands of LLMs a tree of
 * JSON values is what a publication would spend its time on. */
#ifndef TT_STATUS_DOCUMENT_LIST_H
#define TT_STATUS_DOCUMENT_LIST_H

#include "core/base/buf.h"
#include "core/status/view.h"

#include <jansson.h>

/* Adds {"name":...} of every discovered LLM, separated by commas. -1: no memory. */
int document_list_available(struct buf *out, const struct status_view *v, long current); /* available_models */
int document_list_summary(struct buf *out, const struct status_view *v);                 /* llms of the summary */

/* doc (free'd) with the elements of list in place of its empty array "name":[]; NULL: no
 * memory, or doc is NULL. */
char *document_list_insert(char *doc, const char *name, const struct buf *list);

/* A string as JSON, null for NULL. What is no UTF-8 is shown with question marks. */
json_t *document_string(const char *s);

/* Seconds as people count them; "never" is a plain 0. */
json_t *document_seconds(int64_t ms);

#endif
