/* SPDX-License-Identifier: Apache-2.0 */
/* The web page, and what it requests of its own. */
#ifndef TT_FCGI_ENDPOINTS_UI_H
#define TT_FCGI_ENDPOINTS_UI_H

#include "fcgi/connection.h"
#include "fcgi/worker.h"

/* Whether the setting http.ui keeps the page from this client: then the request has been answered. */
bool ui_refuse(struct worker *w, struct connection *c);

/* Another one after an upgrade. */
const char *ui_tag(void);

#endif
