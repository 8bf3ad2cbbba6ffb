/* SPDX-License-Identifier: Apache-2.0 */
/* Documents that the daemon rendered once and published. */
#ifndef TT_FCGI_ENDPOINTS_PUBLISHED_DOCUMENT_H
#define TT_FCGI_ENDPOINTS_PUBLISHED_DOCUMENT_H

#include "fcgi/connection.h"
#include "fcgi/published.h"
#include "fcgi/worker.h"

/* Whether http.public_status keeps the whole documents from the client. */
bool published_document_is_brief(struct published *p, bool admin);

/* The document as it is now, marked as stale if it is. free(); NULL: out of memory. */
char *published_document_copy(struct published *p, enum published_document which, bool brief, size_t *len);

void published_document_answer(struct worker *w, struct connection *c, enum published_document which);

#endif
