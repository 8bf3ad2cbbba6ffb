/* SPDX-License-Identifier: Apache-2.0 */
/* GET /.well-known/oauth-protected-resource: whose tokens /mcp takes. */
#include "fcgi/endpoints/oauth_protected_resource.h"

#include "fcgi/api.h"
#include "fcgi/endpoint.h"
#include "fcgi/response.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH      "/.well-known/oauth-protected-resource"
#define MCP_PATH  "/mcp"
#define NOT_THERE "Nothing is said here of tokens: http.mcp, http.mcp_url and access.jwt_issuer say whether there is"

/* The URL of /mcp for clients that may get a token; NULL: there is none to get. */
static const char *resource(const struct config *c)
{
	if (c == NULL || !cfg_bool(c, CFG_HTTP_MCP) || cfg_str(c, CFG_ACCESS_JWT_ISSUER) == NULL)
		return NULL;
	return cfg_str(c, CFG_HTTP_MCP_URL);
}

/* It is beside /mcp, below the same prefix. */
void oauth_protected_resource_challenge(const struct config *c, char *out, size_t size)
{
	const char *url = resource(c);
	size_t len = url != NULL ? strlen(url) : 0;

	if (url == NULL)
		return;
	if (len >= sizeof MCP_PATH - 1 && strcmp(url + len - (sizeof MCP_PATH - 1), MCP_PATH) == 0)
		len -= sizeof MCP_PATH - 1;
	snprintf(out, size, "WWW-Authenticate: Bearer resource_metadata=\"%.*s" PATH "\"\r\n", (int)len, url);
}

static void answer(struct worker *w, struct connection *c)
{
	const struct config *config = published_config(worker_published(w));
	const char *url = resource(config), *rest = connection_rest(c);
	json_t *document;
	char *body;

	/* Some clients look for it below the path of the resource. */
	if (url == NULL || (rest != NULL && *rest != '\0' && strcmp(rest, "mcp") != 0)) {
		response_detail(c, 404, "", NOT_THERE);
		return;
	}
	document = json_pack("{s:s, s:[s], s:[s]}", "resource", url, "authorization_servers",
	                     cfg_str(config, CFG_ACCESS_JWT_ISSUER), "bearer_methods_supported", "header");
	body = document != NULL ? json_dumps(document, JSON_COMPACT) : NULL;
	if (body != NULL)
		response_json_with(c, 200, "Access-Control-Allow-Origin: *\r\n", body, strlen(body));
	else
		response_detail(c, 500, "", "Out of memory");
	free(body);
	json_decref(document);
}

const struct endpoint endpoint_oauth_protected_resource = {
	.path = PATH,
	.methods = "GET, HEAD",
	.takes_rest = true,
	.right = ENDPOINT_OPEN,
	.help = "Whose tokens /mcp takes, for clients that get one by themselves (RFC 9728).",
	.answer = answer,
};
