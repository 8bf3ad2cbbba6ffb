/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/search_service.h"

#include "core/base/utf8.h"

#include <stdio.h>
#include <stdlib.h>

static int request(const struct config *c, const char *query, struct search_request *out)
{
	char *q = search_parameter("q", query);
	char *all = NULL;

	if (q != NULL && asprintf(&all, "%s&format=json", q) < 0)
		all = NULL;
	out->method = "GET";
	out->url = all == NULL ? NULL : search_url(cfg_str(c, CFG_SEARCH_SEARXNG_URL), "/search", all);
	free(q);
	free(all);
	return out->url == NULL ? -1 : 0;
}

/* Nothing found while engines did not answer is a failure, not "no hits". */
static int check_engines(const json_t *answer, struct err *e)
{
	const json_t *engines = json_object_get(answer, "unresponsive_engines");
	const json_t *first = json_array_get(engines, 0);
	const char *name = json_string_value(json_array_get(first, 0));
	const char *why = json_string_value(json_array_get(first, 1));

	if (json_array_size(engines) == 0)
		return 0;
	name = name == NULL ? "?" : name;
	why = why == NULL ? "?" : why;
	return err_set(e, "none of its engines answered (%.*s: %.*s)", (int)utf8_cut(name, 40), name,
	               (int)utf8_cut(why, 80), why);
}

static int parse(const json_t *answer, size_t max, struct search_hits *out, struct err *e)
{
	const json_t *results = json_object_get(answer, "results");
	const json_t *first = json_array_get(json_object_get(answer, "answers"), 0);

	if (!json_is_array(results))
		return err_set(e, "the answer has no results");
	out->answer =
		json_is_object(first) ? json_string_value(json_object_get(first, "answer")) : json_string_value(first);
	search_hits_add(out, max, results, "content");
	return out->count == 0 && out->answer == NULL ? check_engines(answer, e) : 0;
}

const struct search_service search_searxng = {
	.name = "searxng",
	.enabled_by = CFG_SEARCH_SEARXNG_URL,
	.request = request,
	.parse = parse,
};
