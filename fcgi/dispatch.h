/* SPDX-License-Identifier: Apache-2.0 */
/* From a whole request to its endpoint. */
#ifndef TT_FCGI_DISPATCH_H
#define TT_FCGI_DISPATCH_H

#include "fcgi/worker.h"

void dispatch_request(struct worker *w, struct connection *c);

/* The endpoints; each answers c, now or later. head: the method is HEAD. */
typedef void endpoint_fn(struct worker *w, struct connection *c, bool head);
endpoint_fn serve_root, serve_status;                                                /* documents.c */
endpoint_fn serve_test_llm, serve_refresh, serve_select_model, serve_refresh_config; /* admin_endpoints.c */
endpoint_fn serve_poll_requests;                                                     /* poll_requests.c */

#endif
