/* SPDX-License-Identifier: Apache-2.0 */
/* Documents that the daemon rendered once and published. */
#ifndef TT_FCGI_ENDPOINTS_PUBLISHED_DOCUMENT_H
#define TT_FCGI_ENDPOINTS_PUBLISHED_DOCUMENT_H

#include "fcgi/connection.h"
#include "fcgi/published.h"
#include "fcgi/worker.h"

/* The client may see everything, whatever http.public_status is. */
bool published_document_is_for_admin(const struct connection *c);
/* The others see the brief documents. */
bool published_document_is_brief(struct published *p, bool admin);

/* The document as it is now, marked as stale if it is. free(); NULL: out of memory. */
char *published_document_copy(struct published *p, enum published_document which, bool brief, size_t *len);

void published_document_answer(struct worker *w, struct connection *c, enum published_document which);

#endif
