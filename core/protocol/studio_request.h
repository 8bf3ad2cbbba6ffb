/* SPDX-License-Identifier: Apache-2.0 */
/* Request bodies of TT-Studio, checked as FastAPI checks them. Pure. */
#ifndef TT_PROTOCOL_STUDIO_REQUEST_H
#define TT_PROTOCOL_STUDIO_REQUEST_H

#include "core/protocol/request.h"

#include <stddef.h>

/* The body of POST /poll_requests. 0 with r filled; 422 with *detail a new reference: the
 * whole {"detail":[...]} answer in FastAPI's shape; -1: no memory. */
int studio_request_parse(const char *body, size_t len, struct chat_request *r, json_t **detail);

/* The answer to a body that is not declared as JSON. */
void studio_request_not_json(const char *body, size_t len, json_t **detail); /* NULL: no memory */

/* The same check of /select_model: the id from the query (may be NULL) or from a JSON
 * body {"deploy_id":"ID"}. 0 with *deploy_id (free()), 422 with *detail, -1. */
int studio_request_parse_select(const char *query_deploy_id, const char *body, size_t len, char **deploy_id,
                                json_t **detail);

#endif
