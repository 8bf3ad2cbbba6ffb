/* SPDX-License-Identifier: Apache-2.0 */
/* Any path is refused or becomes a plain one; no client gets an admin endpoint without the right. */
#include "fcgi/endpoint.h"
#include "fcgi/route.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_plain(const char *path)
{
	if (path[0] != '/' || strstr(path, "//") != NULL || strstr(path, "/./") != NULL || strstr(path, "/../") != NULL)
		abort();
}

/* Without the right, and with what it holds freed. */
static void check_found(struct route found)
{
	if (found.status == 200 &&
	    (found.endpoint->right == ENDPOINT_ADMIN || found.endpoint->right == ENDPOINT_MONITOR))
		abort();
	if (found.status != 200 && found.status != 400 && found.status != 403 && found.status != 404 &&
	    found.status != 405)
		abort();
	free(found.rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *uri = malloc(len + 1), *script_name, prefix[] = "/agent", path[ROUTE_PATH_MAX];
	char *const prefixes[] = {prefix};
	struct route_request r = {.method = "POST"};

	if (uri == NULL)
		abort();
	memcpy(uri, data, len);
	uri[len] = '\0';
	script_name = strchr(uri, '\n'); /* an input may hold both */
	if (script_name != NULL)
		*script_name++ = '\0';
	for (int encoded = 0; encoded < 2; encoded++)
		if (route_normalise(uri, encoded != 0, path) == 0)
			check_plain(path);
	r.uri = uri;
	r.script_name = script_name;
	check_found(route_find(&r, prefixes, 1));
	r.uri = NULL;
	r.path_info = uri;
	check_found(route_find(&r, prefixes, 1));
	r.script_name = uri;
	r.path_info = "";
	r.prefix = script_name;
	check_found(route_find(&r, prefixes, 1));
	free(uri);
	return 0;
}
