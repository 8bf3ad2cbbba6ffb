/* SPDX-License-Identifier: Apache-2.0 */
/* The tool document_search: what TT-Studio's backend finds in a collection of documents. Its request and answer,
 * pure, because the daemon makes the same request to check whether the backend can. */
#ifndef TT_TOOLS_DOCUMENT_SEARCH_H
#define TT_TOOLS_DOCUMENT_SEARCH_H

#include "core/base/err.h"
#include "core/config/config.h"

#include <jansson.h>
#include <stddef.h>

#define DOCUMENT_SEARCH_ANSWER_MAX (4u << 20)

/* Where c has documents searched (free()), and with what body (free()). NULL: no memory. */
char *document_search_url(const struct config *c);
char *document_search_body(const struct config *c, const char *query);

/* The documents in the answer, an array of strings (new reference), best first. NULL with e: it is no such list,
 * or out of memory. */
json_t *document_search_read(const char *body, size_t len, struct err *e);

#endif
