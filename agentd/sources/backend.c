/* SPDX-License-Identifier: Apache-2.0 */
/* The TT-Studio backend, which knows what it deployed. */
#include "agentd/discovery.h"

#include <stdio.h>
#include <string.h>

static bool is_enabled(const struct config *c)
{
	return cfg_bool(c, CFG_DISCOVERY_ENABLED) && cfg_str(c, CFG_DISCOVERY_BACKEND_URL) != NULL;
}

static char *url(const struct config *c)
{
	const char *backend = cfg_str(c, CFG_DISCOVERY_BACKEND_URL);
	size_t len = strlen(backend);
	char *text = NULL;

	while (len > 0 && backend[len - 1] == '/')
		len--;
	return asprintf(&text, "%.*s/models/deployed/", (int)len, backend) >= 0 ? text : NULL;
}

const struct source source_backend = {
	.name = "backend",
	.request = "the backend's answer to GET /models/deployed/",
	.kind = LLM_DISCOVERED,
	.timeout = CFG_DISCOVERY_TIMEOUT,
	.is_enabled = is_enabled,
	.url = url,
	.parse = deployments_parse,
};
