/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the backend can search documents, where the configuration wants it to (documents.enabled): it is asked
 * to, every discovery.interval. Older backends have no such endpoint. */
#ifndef TT_AGENTD_DOCUMENT_CHECK_H
#define TT_AGENTD_DOCUMENT_CHECK_H

#include "agentd/services.h"

struct document_check;

/* changed: document_check_problem returns something else. Never from within document_check_new. */
struct document_check *document_check_new(struct services *s, void (*changed)(void *arg), void *arg);
void document_check_free(struct document_check *d); /* before the HTTP client; NULL is fine */

/* To call once a second, and where the configuration has changed. */
void document_check_tick(struct document_check *d);

/* Why it cannot search, a text that lasts until the next check; NULL: it can, or need not. */
const char *document_check_problem(const struct document_check *d);

#endif
