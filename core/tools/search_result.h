/* SPDX-License-Identifier: Apache-2.0 */
/* A search service's answer as the result of the tool. Pure. */
#ifndef TT_TOOLS_SEARCH_RESULT_H
#define TT_TOOLS_SEARCH_RESULT_H

#include "core/tools/search_backend.h"
#include "core/tools/tool.h"

/* body: of a 200 of service b. out gets what the model reads, JSON within the limits of
 * search.*, and the sources. -1 with e (out is to be cleared all the same): the service
 * failed although it said 200, or no memory. */
int search_result(const struct search_backend *b, const struct config *c, const char *body, size_t len,
                  struct tool_result *out, struct err *e);

#endif
