/* SPDX-License-Identifier: Apache-2.0 */
#include "core/tools/search_service.h"

#include <stdio.h>
#include <stdlib.h>

static int request(const struct config *c, const char *query, struct search_request *out)
{
	char *q = search_parameter("q", query);
	char *all = NULL;

	if (q != NULL && asprintf(&all, "%s&count=%lld", q, (long long)cfg_int(c, CFG_SEARCH_MAX_RESULTS)) < 0)
		all = NULL;
	out->method = "GET";
	out->url = all == NULL ? NULL : search_url(cfg_str(c, CFG_SEARCH_BRAVE_URL), "/res/v1/web/search", all);
	if (asprintf(&out->header, "X-Subscription-Token: %s", cfg_str(c, CFG_SEARCH_BRAVE_KEY)) < 0)
		out->header = NULL;
	free(q);
	free(all);
	return out->url == NULL || out->header == NULL ? -1 : 0;
}

static int parse(const json_t *answer, size_t max, struct search_hits *out, struct err *e)
{
	if (!json_is_object(answer))
		return err_set(e, "the answer is not an object");
	search_hits_add(out, max, json_object_get(json_object_get(answer, "web"), "results"), "description");
	return 0;
}

const struct search_service search_brave = {
	.name = "brave",
	.enabled_by = CFG_SEARCH_BRAVE_KEY,
	.request = request,
	.parse = parse,
};
