/* SPDX-License-Identifier: Apache-2.0 */
#include "core/config/features.h"

#include <string.h>

static const struct {
	const char *service;
	enum cfg_key key;
} services[] = {
	{"tavily", CFG_SEARCH_TAVILY_KEY},
	{"searxng", CFG_SEARCH_SEARXNG_URL},
	{"brave", CFG_SEARCH_BRAVE_KEY},
};

static bool is_given(const struct config *c, enum cfg_key key)
{
	const char *value = cfg_str(c, key);

	return value != NULL && *value != '\0';
}

bool features_search_service(const struct config *c, const char *service)
{
	for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
		if (strcmp(services[i].service, service) == 0)
			return is_given(c, services[i].key);
	return false;
}

bool features_web_search(const struct config *c)
{
	const struct cfg_list *order = cfg_list(c, CFG_SEARCH_ORDER);

	for (size_t i = 0; i < order->count; i++)
		if (features_search_service(c, order->items[i]))
			return true;
	return false;
}

bool features_e2b(const struct config *c)
{
	return is_given(c, CFG_CODE_E2B_KEY);
}

bool features_code(const struct config *c)
{
	return features_e2b(c) || cfg_bool(c, CFG_CODE_LOCAL);
}

size_t features_tools(const struct config *c, const char *names[FEATURE_TOOLS])
{
	size_t count = 0;

	if (features_web_search(c))
		names[count++] = FEATURE_WEB_SEARCH;
	if (features_code(c))
		names[count++] = FEATURE_CODE;
	return count;
}
