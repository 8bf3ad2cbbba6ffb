/* SPDX-License-Identifier: Apache-2.0 */
/* The long lists of documents, written directly as text: with thousands of LLMs a publication
 * would spend most of its time on a tree of JSON values. */
#ifndef TT_STATUS_DOCUMENT_LIST_H
#define TT_STATUS_DOCUMENT_LIST_H

#include "core/base/buf.h"
#include "core/status/view.h"

#include <jansson.h>

/* Adds an object for every discovered LLM, separated by commas. -1: out of memory. */
int document_list_available(struct buf *out, const struct status_view *v, long current); /* available_models */
int document_list_summary(struct buf *out, const struct status_view *v);                 /* llms of the summary */

/* doc (which is freed) with the elements of list in its empty array "name":[]. NULL: out of
 * memory, or doc is NULL. */
char *document_list_insert(char *doc, const char *name, const struct buf *list);

/* A string as JSON, null for NULL. Non-ASCII bytes of invalid UTF-8 become question marks. */
json_t *document_string(const char *s);

/* Seconds; "never" is a plain 0. */
json_t *document_seconds(int64_t ms);

#endif
