/* SPDX-License-Identifier: Apache-2.0 */
/* GET /openapi.json: what the table of endpoints says, and of each what fcgi/openapi/NAME.json adds. */
#include "fcgi/endpoint.h"

#include "config.h"
#include "fcgi/response.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* A file of fcgi/openapi; "document" is all that belongs to no endpoint. */
struct openapi_part {
	const char *name;
	const unsigned char *text;
	size_t len;
};

#include "fcgi/openapi/parts.h"

#define RIGHTS "x-tt-agent-right"

static json_t *part(const char *name)
{
	for (size_t i = 0; i < sizeof openapi_parts / sizeof openapi_parts[0]; i++)
		if (strcmp(openapi_parts[i].name, name) == 0)
			return json_loadb((const char *)openapi_parts[i].text, openapi_parts[i].len, 0, NULL);
	return NULL;
}

static const char *right_text(enum endpoint_right r)
{
	static const char *const texts[] = {[ENDPOINT_OPEN] = "everybody",
	                                    [ENDPOINT_PAGE] = "everybody",
	                                    [ENDPOINT_PUBLIC] = "everybody",
	                                    [ENDPOINT_ADMIN] = "admin",
	                                    [ENDPOINT_MONITOR] = "admin or metrics"};

	return texts[r];
}

/* What the table says of each operation. An endpoint without a file of its own has at least that. */
static void complete(json_t *operation, const char *name, const char *method, const struct endpoint *e)
{
	json_t *responses = json_object_get(operation, "responses"), *response, *headers;
	const char *status;
	char id[100];

	snprintf(id, sizeof id, "%s_%s", method, name);
	json_object_set_new(operation, "operationId", json_string(id));
	json_object_set_new(operation, "summary", json_string(e->help));
	json_object_set_new(operation, RIGHTS, json_string(right_text(e->right)));
	if (responses == NULL) {
		responses = json_object();
		json_object_set_new(operation, "responses", responses);
	}
	json_object_foreach(responses, status, response)
	{
		headers = json_object_get(response, "headers");
		if (headers == NULL && json_object_get(response, "$ref") == NULL)
			json_object_set_new(
				response, "headers",
				json_pack("{s:{s:s}}", "X-Request-Id", "$ref", "#/components/headers/X-Request-Id"));
	}
	if (e->right != ENDPOINT_OPEN)
		json_object_set_new(responses, "403", json_pack("{s:s}", "$ref", "#/components/responses/NotAllowed"));
	json_object_set_new(responses, "default", json_pack("{s:s}", "$ref", "#/components/responses/Error"));
}

static json_t *path_item(const char *name, const struct endpoint *e)
{
	json_t *item = part(name);
	const char *from = e->methods;
	char method[16];
	size_t len;

	if (item == NULL)
		item = json_object();
	for (; *from != '\0'; from += len + strspn(from + len, ", ")) {
		len = strcspn(from, ",");
		for (size_t i = 0; i < sizeof method; i++)
			method[i] = i < len ? (char)tolower((unsigned char)from[i]) : '\0';
		method[sizeof method - 1] = '\0';
		if (strcmp(method, "head") == 0)
			continue;
		if (json_object_get(item, method) == NULL)
			json_object_set_new(item, method, json_object());
		complete(json_object_get(item, method), name, method, e);
	}
	return item;
}

static char *document(void)
{
#define ENDPOINT(name) {#name, &endpoint_##name},
	static const struct {
		const char *name;
		const struct endpoint *endpoint;
	} all[] = {
#include "fcgi/endpoints/endpoints.def"
	};
#undef ENDPOINT
	json_t *j = part("document"), *paths = json_object_get(j, "paths");
	char *text;

	json_object_set_new(json_object_get(j, "info"), "version", json_string(PACKAGE_VERSION));
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		json_object_set_new(paths, all[i].endpoint->path, path_item(all[i].name, all[i].endpoint));
	text = j != NULL ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	return text;
}

static void answer(struct worker *w, struct connection *c)
{
	static char *text; /* made for the first request */

	(void)w;
	if (text == NULL)
		text = document();
	response_document(c, text, text != NULL ? strlen(text) : 0);
}

const struct endpoint endpoint_openapi = {
	.path = "/openapi.json",
	.methods = "GET, HEAD",
	.right = ENDPOINT_PUBLIC,
	.help = "This interface as an OpenAPI 3.1 document.",
	.answer = answer,
};
