/* SPDX-License-Identifier: Apache-2.0 */
/* Documents that the daemon rendered once and published. */
#ifndef TT_FCGI_ENDPOINTS_PUBLISHED_DOCUMENT_H
#define TT_FCGI_ENDPOINTS_PUBLISHED_DOCUMENT_H

#include "fcgi/connection.h"
#include "fcgi/published.h"
#include "fcgi/worker.h"

void published_document_answer(struct worker *w, struct connection *c, enum published_document which);

#endif
