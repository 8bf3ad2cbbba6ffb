/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/search_service.h"

#include <stdlib.h>

static int request(const struct config *c, const char *query, struct search_request *out)
{
	json_t *body =
		json_pack("{s:s, s:s, s:s, s:b, s:I}", "query", query, "search_depth", "basic", "topic", "general",
	                  "include_answer", 1, "max_results", (json_int_t)cfg_int(c, CFG_SEARCH_MAX_RESULTS));

	out->method = "POST";
	out->url = search_url(cfg_str(c, CFG_SEARCH_TAVILY_URL), "/search", NULL);
	out->body = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
	out->bearer = cfg_str(c, CFG_SEARCH_TAVILY_KEY);
	json_decref(body);
	return out->url == NULL || out->body == NULL ? -1 : 0;
}

static int parse(const json_t *answer, size_t max, struct search_hits *out, struct err *e)
{
	const json_t *results = json_object_get(answer, "results");

	if (!json_is_array(results))
		return err_set(e, "the answer has no results");
	out->answer = json_string_value(json_object_get(answer, "answer"));
	search_hits_add(out, max, results, "content");
	return 0;
}

const struct search_service search_tavily = {
	.name = "tavily",
	.enabled_by = CFG_SEARCH_TAVILY_KEY,
	.request = request,
	.parse = parse,
};
