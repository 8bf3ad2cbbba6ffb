/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration makes possible: the one place that says which tools a model can
 * really be offered, for the documents and for the turns alike. Pure. */
#ifndef TT_CONFIG_FEATURES_H
#define TT_CONFIG_FEATURES_H

#include "core/config/config.h"

/* The tools' names, as models call them and as GET /status lists them. */
#define FEATURE_WEB_SEARCH "tavily_search_results_json"
#define FEATURE_CODE       "code_interpreter"
#define FEATURE_TOOLS      2

/* Fills names with the tools that c provides and returns how many they are. */
size_t features_tools(const struct config *c, const char *names[FEATURE_TOOLS]);

bool features_web_search(const struct config *c); /* any service of search.order is configured */
bool features_code(const struct config *c);
bool features_e2b(const struct config *c);

/* One service of search.order: "tavily", "searxng", "brave". */
bool features_search_service(const struct config *c, const char *service);

#endif
