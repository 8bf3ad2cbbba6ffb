/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TT_TOOLS_WEB_SEARCH_H
#define TT_TOOLS_WEB_SEARCH_H

#include "core/tools/tool.h"

/* tavily_search_results_json: the name that TT-Studio and its prompts know, whatever
 * service answers. */
extern const struct tool tool_web_search;

#endif
